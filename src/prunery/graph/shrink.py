"""Builds the smaller copy of a model that is left when units of its graph are removed."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from prunery.graph.channels import Ids
from prunery.graph.flow import Flow
from prunery.graph.labels import support
from prunery.graph.read_torch import Call
from prunery.graph.sizes import set_sizes_
from prunery.wrappers import named_modules


@dataclass(frozen=True)
class Width:
    """An attribute of a module that holds the size of an axis of a tensor of the run.

    item: its place in a tuple or list; None for a plain number.
    """

    module: str
    attribute: str
    item: int | None
    tensor: Tensor
    axis: int


class Removal:
    """Channels that are removed, and what that leaves of each tensor."""

    def __init__(self, flow: Flow, removed: Ids) -> None:
        self.flow, self.removed = flow, np.unique(removed)
        self._gone = flow.channels.among(self.removed)
        self._shapes: dict[int, tuple[int, ...]] = {}

    def kept(self, ids: Ids) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Return which places of an array of channels stay."""
        return ~self._gone[self.flow.channels.find(ids)]

    def size(self, tensor: Tensor, axis: int) -> int:
        """Return what is left of one axis of a tensor."""
        return self.shape(tensor)[axis]

    def shape(self, tensor: Tensor) -> tuple[int, ...]:
        """Return the shape that a tensor of the run is left with."""
        if id(tensor) not in self._shapes:
            if not self.flow.knows(tensor):
                return tuple(tensor.shape)
            self._shapes[id(tensor)] = self._left_of(tensor)
        return self._shapes[id(tensor)]

    def _left_of(self, tensor: Tensor) -> tuple[int, ...]:
        keep = [np.ones(size, bool) for size in tensor.shape]
        for ids in self.flow.labels(tensor):
            for axis in support(ids):  # several, where a channel is in part of another one's places
                others = tuple(other for other in range(ids.ndim) if other != axis)
                keep[axis] &= self.kept(ids).any(others)
        return tuple(int(k.sum()) for k in keep)

    def index(self, name: str, ndim: int) -> list[Tensor | None]:
        """Return, for each axis of a parameter, the places that stay; None for all."""
        places: list[Tensor | None] = []
        for axis in range(ndim):
            ids = self.flow.axes.get((name, axis))
            keep = None if ids is None else self.kept(ids)
            places.append(None if keep is None or keep.all() else torch.from_numpy(np.flatnonzero(keep)))
        return places

    def cut(self, name: str, tensor: Tensor) -> Tensor:
        """Return what stays of a parameter or buffer; itself where all of it does."""
        for axis, places in enumerate(self.index(name, tensor.ndim)):
            if places is not None:
                tensor = tensor.index_select(axis, places.to(tensor.device))
        return tensor


def shrunk(
    model: nn.Module,
    removal: Removal,
    widths: Sequence[Width] = (),
    *,
    cut: Callable[[str, Tensor], Tensor] | None = None,
    share: bool = False,
) -> nn.Module:
    """Return a copy of `model` without what is removed.

    cut: what makes a parameter's new values, by default what stays of the old ones. share: parameters that
    stay whole are the model's own, not copies.
    """
    cut, memo = cut or removal.cut, dict[int, Any]()
    for name, module in named_modules(model):
        for short, tensor in (*module._parameters.items(), *module._buffers.items()):
            if tensor is not None and id(tensor) not in memo:
                new = cut(f"{name}.{short}".lstrip("."), tensor)
                memo[id(tensor)] = tensor if share and new is tensor else _like(tensor, new)
    small = copy.deepcopy(model, memo)
    modules = dict(named_modules(small))
    in_training = removal.flow.training
    calls = [*removal.flow.program.calls, *(in_training.calls if in_training else ())]
    entered = {call.module: call for call in reversed(calls) if call.args}
    for name, module in modules.items():
        set_sizes_(module, _channels(removal, entered.get(name)))
    for width in widths:
        set_width_(modules[width.module], width, removal.size(width.tensor, width.axis))
    return small


def _channels(removal: Removal, call: Call | None) -> int | None:
    """Return what is left of axis 1 of the first thing that a module looks at."""
    first = call.args[0] if call is not None else None
    return removal.size(first, 1) if isinstance(first, Tensor) and first.ndim > 1 else None


def _like(tensor: Tensor, new: Tensor) -> Tensor:
    if new is tensor:
        new = tensor.detach().clone()
    if isinstance(tensor, nn.Parameter):
        return nn.Parameter(new.detach(), requires_grad=tensor.requires_grad)
    return new


def set_width_(module: nn.Module, width: Width, size: int) -> None:
    """Write the new size of an axis into the attribute that holds it."""
    value: Any = size
    if width.item is not None:
        old = getattr(module, width.attribute)
        value = type(old)(size if i == width.item else n for i, n in enumerate(old))
    setattr(module, width.attribute, value)
