"""What enters the layers of a model, without a trace left on it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from prunery.errors import ModelError
from prunery.forward import no_trace
from prunery.registry import nearest
from prunery.wrappers import unwrapped


def captured(model: nn.Module, names: Sequence[str], x: Tensor) -> dict[str, Tensor]:
    """Return what enters each named layer when the model is called on `x`, in eval mode and detached.

    names: of modules, or of their weights. The inputs of several calls are joined along the first axis.
    Raises ModelError for a layer that is not there, or that the call does not reach.
    """
    layers = {name: _layer(model, name) for name in names}
    inputs: dict[str, list[Tensor]] = {name: [] for name in names}
    handles = []
    try:
        for name, layer in layers.items():
            handles.append(layer.register_forward_pre_hook(_keeper(inputs[name]), with_kwargs=True))
        with no_trace(model), torch.no_grad():
            model(x)
    finally:
        for handle in handles:
            handle.remove()
    for name, tensors in inputs.items():
        if not tensors:
            raise ModelError(
                f"the inputs of layer {name!r}",
                "the model does not call it as a module",
                "name a layer that it calls",
            )
    return {name: torch.cat(tensors) if len(tensors) > 1 else tensors[0] for name, tensors in inputs.items()}


def _keeper(kept: list[Tensor]) -> Any:
    def keep(layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        value = args[0] if args else next(iter(kwargs.values()), None)
        if isinstance(value, Tensor):
            kept.append(value.detach().clone())  # what comes later may change it in place

    return keep


def _layer(model: nn.Module, name: str) -> nn.Module:
    bare = unwrapped(model)
    modules: dict[str, nn.Module] = dict(bare.named_modules(remove_duplicate=False))
    if name in modules:
        return modules[name]
    if name in dict(bare.named_parameters(remove_duplicate=False)):
        return modules[name.rpartition(".")[0]]
    raise ModelError(
        f"the inputs of layer {name!r}",
        f"the model has no layer of that name{nearest(name, modules)}",
        "name a module of the model, such as 'fc1', or its weight",
    )
