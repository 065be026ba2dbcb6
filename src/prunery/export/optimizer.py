"""Carries the state of an optimiser over to a smaller model."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from prunery.errors import CompactError
from prunery.export.edit import registered

Places = dict[str, list[Tensor | None]]
"""The places of each axis of a parameter that are left, by name; None for all."""


def carried(optimizer: Any, model: nn.Module, small: nn.Module, places: Places) -> None:
    """Make `optimizer` train `small` instead of `model`, with its state for what is left.

    State that is shaped like a parameter is cut as that is; single numbers stay. Parameters that are not the
    model's stay as they are; a new bias joins the group of the weight of its module. Raises CompactError,
    with nothing changed, for state of another shape.
    """
    if not hasattr(optimizer, "param_groups") or not hasattr(optimizer, "state"):
        raise _refused(f"it is of type {type(optimizer).__name__}", "give a torch optimiser")
    old, new = registered(model), registered(small)
    names = {id(tensor): name for name, tensor in old.items()}
    state: dict[Any, Any] = {}
    for parameter, values in optimizer.state.items():
        name = names.get(id(parameter))
        if name is None:
            state[parameter] = values
        else:
            state[new[name]] = _cut_state(name, parameter, values, places.get(name, []))
    added = {name for name in new if name not in old}
    groups = [_group(group["params"], names, new, added) for group in optimizer.param_groups]
    for group, parameters in zip(optimizer.param_groups, groups, strict=True):
        group["params"] = parameters
    optimizer.state = defaultdict(dict, state)


def _group(
    parameters: list[Any], names: Mapping[int, str], new: Mapping[str, Tensor], added: set[str]
) -> Any:
    """Return the parameters of a group in the smaller model, with the new biases of its modules."""
    result = []
    for parameter in parameters:
        name = names.get(id(parameter))
        result.append(parameter if name is None else new[name])
        bias = f"{name.rpartition('.')[0]}.bias".lstrip(".") if name is not None else ""
        if bias in added:
            added.discard(bias)
            result.append(new[bias])
    return result


def _cut_state(name: str, parameter: Tensor, values: Any, index: list[Tensor | None]) -> Any:
    if all(places is None for places in index) or not isinstance(values, Mapping):
        return values
    return {key: _cut(name, key, parameter, value, index) for key, value in values.items()}


def _cut(name: str, key: str, parameter: Tensor, value: Any, index: list[Tensor | None]) -> Any:
    if not isinstance(value, Tensor) or value.numel() == 1:
        return value
    if value.shape != parameter.shape:
        found = f"its {key!r} of {name!r} has shape {tuple(value.shape)}, not {tuple(parameter.shape)}"
        raise _refused(found, "leave it out and make a new optimiser for the smaller model")
    with torch.no_grad():
        for axis, places in enumerate(index):
            if places is not None:
                value = value.index_select(axis, places.to(value.device))
    return value.clone()


def _refused(found: str, do: str) -> CompactError:
    return CompactError("an optimiser that is carried over", found, do)
