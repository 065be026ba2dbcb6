"""The arguments of a call that are no choices: what they may be, and errors that say so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from prunery.errors import ChoiceError, MasksError, ModelError, PatternError


def device_of(
    model: nn.Module, *, masks: Any, exclude: Any, options: Any, seed: Any, device: Any
) -> torch.device | None:
    """The device asked for, or None; raises a PruneryError for the first argument that cannot be."""
    if not isinstance(model, nn.Module):
        found = f"{getattr(model, '__name__', 'it')} is {_kind(model)}"
        raise ModelError("a model to prune", found, "give an instance of torch.nn.Module")
    if any(p.is_meta for p in model.parameters()):
        raise ModelError("a model to prune", "its weights are on the meta device", "load them first")
    if not (masks is None or hasattr(masks, "check")):
        found = f"they are {_kind(masks)}"
        raise MasksError("the masks to go on from", found, "give what prune or Masks.load returned")
    if not isinstance(exclude, str | Sequence) or not all(isinstance(p, str) for p in exclude):
        raise PatternError(f"exclude={exclude!r}", "it is no list of patterns", "give, say, ['@output']")
    if not (options is None or isinstance(options, Mapping)):
        raise ChoiceError(f"options={options!r}", "they are no mapping", "give, say, {'temperature': 200}")
    if not isinstance(seed, int):
        raise ChoiceError(f"seed={seed!r}", f"it is {_kind(seed)}", "give a whole number")
    return None if device is None else _device(device)


def _device(asked: Any) -> torch.device:
    try:
        found = torch.device(asked)
        torch.empty(1, device=found)
    except (RuntimeError, AssertionError, TypeError) as error:
        said = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        raise ChoiceError(f"device {asked!r}", said, "name one that this torch has, such as cpu") from error
    return found


def _kind(value: Any) -> str:
    return f"of type {type(value).__name__}"
