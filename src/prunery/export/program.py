"""A model as a program of torch.export, of any batch size where the model allows it; and its file."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from prunery.errors import ExportError
from prunery.forward import call_of, mapped, no_trace, placed, tensors

_NOISY = ("torch.onnx", "torch.export", "torch._export", "onnxscript", "onnx_ir")


@dataclass(frozen=True)
class Program:
    """A traced model. batch: the only number of examples that it takes at once; None for any."""

    traced: torch.export.ExportedProgram
    batch: int | None


def program_of(model: nn.Module, example: Any) -> Program:
    """Return the model in eval mode as a program of torch.export, of any batch size if it can be.

    The first axis of each tensor in the example is that of the batch where it is as long as the first
    tensor's. ExportError: torch.export cannot trace the model.
    """
    example = placed(example, model)
    size = batch_of(example)
    with quiet(), no_trace(model), torch.no_grad():
        if size is not None:
            try:
                return Program(_traced(model, at_least_two(example), dynamic=True), None)
            except Exception:  # sizes written into the model; whatever torch.export makes of them
                pass
        try:
            return Program(_traced(model, example, dynamic=False), size)
        except Exception as problem:
            found = f"torch.export raises {type(problem).__name__}: {brief(problem)}"
            do = "write its forward so that torch.export can trace it, or export to prunery or safetensors"
            raise ExportError("the model as a program", found, do) from problem


def write_pt2(program: Program, path: str | os.PathLike[str]) -> None:
    """Write a program as torch.export.save does."""
    with quiet():
        torch.export.save(program.traced, os.fspath(path))


def read_pt2(path: str | os.PathLike[str]) -> Callable[..., Any]:
    """Return the model in a file of torch.export.save."""
    with quiet():
        module: Callable[..., Any] = torch.export.load(os.fspath(path)).module()
    return module


def batch_of(example: Any) -> int | None:
    """Return the number of examples in an input: the first axis of its first tensor; None without one."""
    return next((tensor.shape[0] if tensor.ndim else None for tensor in tensors(example)), None)


def at_least_two(example: Any) -> Any:
    """Return the input with its one example twice; torch.export takes a size of 1 to be 1 for good."""
    return taken(example, [0, 0]) if batch_of(example) == 1 else example


def taken(inputs: Any, rows: list[int]) -> Any:
    """Return an input that consists of these examples of another one."""
    size = batch_of(inputs)
    return mapped(lambda t: t[rows] if t.ndim and t.shape[0] == size else t, inputs)


def padded(call: Callable[..., Any], batch: int) -> Callable[[Tensor], Any]:
    """Return a function of up to `batch` examples from one that takes that number and no other."""

    def any_number(x: Tensor) -> Any:
        count = len(x)
        if count == batch:
            return call(x)
        rows = [*range(count), *[0] * (batch - count)]
        return mapped(lambda t: t[:count] if t.ndim and len(t) == batch else t, call(x[rows]))

    return any_number


def brief(problem: Exception) -> str:
    """Return the first line of what an exception says."""
    return next((line.strip() for line in str(problem).splitlines() if line.strip()), "")[:300]


@contextmanager
def quiet() -> Iterator[None]:
    """Within it neither warnings nor loggers of the exporters print anything."""
    loggers = [logging.getLogger(name) for name in _NOISY]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            for logger in loggers:
                logger.setLevel(logging.CRITICAL)
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


def _traced(model: nn.Module, example: Any, *, dynamic: bool) -> torch.export.ExportedProgram:
    args, kwargs = call_of(mapped(lambda tensor: tensor.detach().clone(), example))
    shapes = _shapes(example) if dynamic else None
    return torch.export.export(model, args, kwargs, dynamic_shapes=shapes, strict=False)


def _shapes(example: Any) -> Any:
    """Return which axis of each tensor is as long as the batch, as torch.export wants it."""
    size, batch = batch_of(example), torch.export.Dim("batch", min=1)

    def axes(tensor: Tensor) -> Any:
        return {0: batch} if tensor.ndim and tensor.shape[0] == size else None

    args, kwargs = call_of(example)
    return mapped(axes, kwargs or args)
