"""Calling a model where it is, and leaving no trace of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from prunery.core.inputs import mapped
from prunery.core.quiet import eval_mode

_WRAPPERS = ("_orig_mod", "module")  # torch.compile; DataParallel and DistributedDataParallel


def unwrapped(model: nn.Module) -> nn.Module:
    """The model inside torch.compile's or DataParallel's wrapper, or `model` itself."""
    kinds = (nn.DataParallel, nn.parallel.DistributedDataParallel)
    for name in _WRAPPERS:
        inner = model._modules.get(name)
        if inner is not None and (isinstance(model, kinds) or type(model).__name__ == "OptimizedModule"):
            return unwrapped(inner)
    return model


def placed(example: Any, model: nn.Module) -> Any:
    """`example` on the device of `model`, floating-point tensors in its precision."""
    like = next((p for p in model.parameters() if p.is_floating_point()), None)
    if like is None:
        return example
    dtype, device = like.dtype, like.device
    return mapped(lambda t: t.to(device, dtype if t.is_floating_point() else None), example)


@contextmanager
def no_trace(model: nn.Module) -> Iterator[None]:
    """`model` in eval mode; on exit modes, buffers and the global random state are as they were.

    Modes are set module by module, so that one that was frozen in eval mode stays so. A buffer is written
    back only if it was touched: a write would spoil a backward pass that is still to come.
    """
    buffers = [
        (module, name, buffer, _version(buffer), buffer.clone())
        for module in model.modules()
        for name, buffer in module._buffers.items()
        if buffer is not None
    ]
    devices = {p.device for p in model.parameters() if p.device.type == "cuda"}
    with torch.random.fork_rng(devices=list(devices)), eval_mode(model):
        try:
            yield
        finally:
            _put_back(buffers)


def _version(tensor: Tensor) -> int:
    return -1 if tensor.is_inference() else tensor._version


def _put_back(buffers: list[tuple[nn.Module, str, Tensor, int, Tensor]]) -> None:
    for module, name, buffer, version, before in buffers:
        module._buffers[name] = buffer
        if version == -1 or buffer._version != version:
            with torch.no_grad():
                buffer.copy_(before)
