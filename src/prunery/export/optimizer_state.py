"""The state of an optimiser as tensors and JSON, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from prunery.errors import ContainerError

STATE = "optimizer:"
"""What the names of its tensors begin with."""
_PLAIN = (bool, int, float, str, type(None))


def packed_state(optimizer: torch.optim.Optimizer | None) -> tuple[dict[str, Tensor], Any]:
    """Return the tensors of an optimiser's state by name, and the rest.

    ContainerError: it holds something that is neither a tensor nor a plain value.
    """
    if optimizer is None:
        return {}, None
    state = optimizer.state_dict()
    tensors: dict[str, Tensor] = {}
    plain: dict[str, dict[str, Any]] = {}
    for number, values in state["state"].items():
        for key, value in values.items():
            if isinstance(value, Tensor):
                tensors[f"{STATE}{number}.{key}"] = value.detach().cpu().contiguous()
            else:
                plain.setdefault(str(number), {})[key] = _checked(value, key)
    groups = [{key: _checked(value, key) for key, value in group.items()} for group in state["param_groups"]]
    return tensors, {"state": plain, "param_groups": groups}


def _checked(value: Any, key: str) -> Any:
    """Return a value as JSON has it; a tensor of one element as its number."""
    if isinstance(value, Tensor) and value.numel() == 1:
        return value.item()
    if isinstance(value, tuple | list):
        return [_checked(item, key) for item in value]
    if type(value) in _PLAIN:
        return value
    found = f"its {key!r} is of type {type(value).__name__}"
    raise ContainerError(
        "an optimiser in a file", found, "save the model without it, and the optimiser apart"
    )


def give_state_(
    optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor], rest: Any, path: Any
) -> None:
    """Give an optimiser the state in a file; ContainerError, with nothing changed, where it does not fit."""
    if not isinstance(rest, dict) or not isinstance(rest.get("param_groups"), list):
        raise _unfit(path, "it holds no optimiser's state")
    state: dict[int, dict[str, Any]] = {}
    for name, value in tensors.items():
        number, _, key = name.removeprefix(STATE).partition(".")
        state.setdefault(int(number), {})[key] = value
    for number, values in _mapping(rest.get("state")).items():
        state.setdefault(int(number), {}).update(values)
    _check(optimizer, state, rest["param_groups"], path)
    optimizer.load_state_dict({"state": state, "param_groups": rest["param_groups"]})


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _check(
    optimizer: torch.optim.Optimizer, state: Mapping[int, Mapping[str, Any]], groups: list[Any], path: Any
) -> None:
    own = [len(group["params"]) for group in optimizer.param_groups]
    if own != [len(group.get("params", ())) for group in groups]:
        raise _unfit(path, "the optimiser in it has other groups of parameters")
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    numbers = [number for group in groups for number in group["params"]]
    for number, parameter in zip(numbers, parameters, strict=True):
        for key, value in state.get(number, {}).items():
            if isinstance(value, Tensor) and value.numel() > 1 and value.shape != parameter.shape:
                shapes = f"{tuple(value.shape)}, and the parameter {tuple(parameter.shape)}"
                raise _unfit(path, f"{key!r} of its parameter {number} has shape {shapes}")


def _unfit(path: Any, found: str) -> ContainerError:
    do = "give an optimiser made as the saved one was, of the loaded model's parameters"
    return ContainerError(f"an optimiser from {path}", found, do)
