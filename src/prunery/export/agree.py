"""Checks that two models compute the same: on real, random, large inputs, other batches and in training."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from prunery.errors import CompactError
from prunery.export.parting import Stage, parting
from prunery.forward import call_of, forked, mapped, no_trace, tensors
from prunery.seeds import stream

_SHARE = {torch.float64: 1e-9, torch.float32: 1e-5, torch.bfloat16: 8e-2, torch.float16: 1e-2}
"""The largest difference that may be rounding, as a share of the largest output."""
_EXACT = 1e-6  # the same of models in float64, whose parameters were rounded to float32


def check(stages: Sequence[Stage], example: Any, *, training: bool) -> None:
    """Raise CompactError unless the model before the first stage and that after the last compute the same.

    training: also in train mode, where the model draws no random numbers. Inputs that the first model cannot
    be called with are left out. Where a difference in single precision is larger than 1e-5 of the largest
    output, it is rounding if there is none in double precision.
    """
    before, after = stages[0].before, stages[-1].after
    for kind, inputs in variations(example):
        expected = outputs(before, inputs)
        if isinstance(expected, Exception):
            continue
        found = outputs(after, inputs)
        problem = _difference(expected, found)
        if problem and _difference_in_double(before, after, inputs, problem):
            raise _parted(stages, kind, inputs, problem)
    if training and (problem := _difference_in_training(before, after, example)):
        raise _parted(stages, "the example in train mode", example, problem)


def _parted(stages: Sequence[Stage], kind: str, inputs: Any, problem: str) -> CompactError:
    where = parting(stages, inputs)
    place = f"; they part at {where}" if where else ""
    do = "keep that layer's zeros out of the masks, or report the network that shows it"
    return CompactError("a smaller model that computes the same", f"on {kind} {problem}{place}", do)


def variations(example: Any) -> Iterator[tuple[str, Any]]:
    """Yield inputs with what they are: the example, random and large ones, and twice the batch."""
    yield "the example", example
    rng = stream(0, "compact", "inputs")
    yield "random inputs", mapped(lambda tensor: _random(tensor, rng), example)
    yield (
        "inputs a thousand times as large",
        mapped(lambda t: t * 1000 if t.is_floating_point() else t, example),
    )
    sizes = [t.shape[0] for t in tensors(example) if t.ndim]
    if sizes:
        yield "twice the batch", mapped(lambda t: _twice(t, sizes[0]), example)


def _random(tensor: Tensor, rng: torch.Generator) -> Tensor:
    """Return other values: of a normal distribution, or whole numbers in the range that was seen."""
    if tensor.is_floating_point():
        return torch.randn(tensor.shape, generator=rng).to(tensor)
    if tensor.is_complex() or tensor.dtype == torch.bool or not tensor.numel():
        return tensor
    low, high = int(tensor.min()), int(tensor.max())
    return torch.randint(low, high + 1, tensor.shape, generator=rng).to(tensor)


def _twice(tensor: Tensor, batch: int) -> Tensor:
    return torch.cat([tensor, tensor]) if tensor.ndim and tensor.shape[0] == batch else tensor


def outputs(model: nn.Module, inputs: Any) -> list[Tensor] | Exception:
    """Return the tensors that a model gives in eval mode, or what it raised."""
    with no_trace(model):
        return called(model, inputs)


def called(model: Callable[..., Any], inputs: Any) -> list[Tensor] | Exception:
    """Return the tensors that a function gives for a copy of the inputs, or what it raised."""
    args, kwargs = call_of(mapped(lambda tensor: tensor.detach().clone(), inputs))
    try:
        with torch.inference_mode(False), torch.no_grad():
            return [tensor.detach() for tensor in tensors(model(*args, **kwargs))]
    except Exception as problem:  # whatever the model's own forward raises
        return problem


def _difference(
    expected: Sequence[Tensor], found: Sequence[Tensor] | Exception, share: float | None = None
) -> str:
    """Return how outputs differ; empty where they are the same but for rounding."""
    if isinstance(found, Exception):
        return f"the smaller model raises {type(found).__name__}: {str(found).splitlines()[0]}"
    if [t.shape for t in expected] != [t.shape for t in found]:
        return f"the outputs have shapes {[tuple(t.shape) for t in found]}, not those of the masked model"
    for one, other in zip(expected, found, strict=True):
        finite = torch.isfinite(one)
        if not torch.equal(finite, torch.isfinite(other)):
            return "the outputs are infinite or not a number in other places"
        if not one.is_floating_point():
            if not torch.equal(one, other):
                return "whole numbers in the outputs differ"
            continue
        gap = (one.double() - other.double()).where(finite, 0).abs().max().item() if one.numel() else 0.0
        largest = one.double().where(finite, 0).abs().max().item() if one.numel() else 0.0
        if gap > (share or _SHARE.get(one.dtype, 1e-5)) * largest + 1e-30:
            return f"the outputs differ by {gap:.3g}, where the largest is {largest:.3g}"
    return ""


def _difference_in_double(before: nn.Module, after: nn.Module, inputs: Any, problem: str) -> str:
    """Return `problem`, unless in double precision nothing but the rounding of the weights differs."""
    try:
        pair = [copy.deepcopy(model).double() for model in (before, after)]
    except Exception:  # a model that is in single precision for good
        return problem
    expected, found = (outputs(model, _double(inputs)) for model in pair)
    if isinstance(expected, Exception) or any(t.dtype == torch.float32 for t in expected):
        return problem
    single = all(p.dtype == torch.float32 for p in before.parameters() if p.is_floating_point())
    return problem if _difference(expected, found, _EXACT if single else None) else ""


def _double(inputs: Any) -> Any:
    return mapped(lambda tensor: tensor.double() if tensor.is_floating_point() else tensor, inputs)


def _difference_in_training(before: nn.Module, after: nn.Module, example: Any) -> str:
    """Return how the outputs differ in train mode; empty where it cannot run or draws random numbers."""
    expected = _trained(before, example, 0)
    if isinstance(expected, Exception):
        return ""
    problem = _difference(expected, _trained(after, example, 0), 1e-5)
    if not problem:
        return ""
    again = _trained(before, example, 1)
    if isinstance(again, Exception) or _difference(expected, again, 1e-12):
        return ""
    exact = _trained(before, example, 0, double=True)
    if isinstance(exact, Exception):
        return problem
    return _difference(exact, _trained(after, example, 0, double=True), 1e-5)


def _trained(model: nn.Module, example: Any, seed: int, *, double: bool = False) -> list[Tensor] | Exception:
    """Return the outputs of a copy of a model in train mode."""
    own, inputs = copy.deepcopy(model).train(), example
    if double:
        own, inputs = own.double(), _double(example)
    where = next((p.device for p in model.parameters()), torch.device("cpu"))
    with forked(seed, where):
        return called(own, inputs)
