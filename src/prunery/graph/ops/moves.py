"""Operations that put elements elsewhere and compute nothing."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from prunery.graph.channels import Ids
from prunery.graph.flow import Flow, rule
from prunery.graph.labels import permuted, spread, viewed
from prunery.graph.read_torch import Call


def moved(flow: Flow, call: Call, move: Callable[[Ids], Ids]) -> None:
    """Give the output the labels of the first argument, moved as its elements are."""
    source = call.args[0]
    labels = [move(ids) for ids in flow.first_labels(source)]
    flow.set(call.output, labels, uniform=flow.is_uniform(source), weight=flow.is_weight(source))


@rule.add(ops="view _unsafe_view reshape _reshape_alias unsqueeze squeeze flatten view_copy")
def view(flow: Flow, call: Call) -> None:
    """Give the same elements, in order, another shape."""
    old, new = call.args[0].shape, call.output.shape
    moved(flow, call, lambda ids: viewed(ids, old, new))


@rule.add(ops="t transpose permute movedim swapaxes numpy_T")
def permute(flow: Flow, call: Call) -> None:
    """Axes in another order."""
    ndim = call.args[0].ndim
    if call.name == "permute":
        axes = [axis % ndim for axis in call.args[1]]
    else:
        axes, (a, b) = list(range(ndim)), (call.args[1:3] if call.name == "transpose" else (0, ndim - 1))
        if ndim:
            axes[a % ndim], axes[b % ndim] = axes[b % ndim], axes[a % ndim]
    moved(flow, call, lambda ids: permuted(ids, axes))


@rule.add(ops="expand expand_as broadcast_to")
def expand(flow: Flow, call: Call) -> None:
    """Elements repeated without a copy."""
    shape = call.output.shape
    moved(flow, call, lambda ids: spread(ids, shape))


@rule.add(ops="repeat tile")
def repeat(flow: Flow, call: Call) -> None:
    """The whole tensor repeated along axes."""
    times = call.args[1]

    def move(ids: Ids) -> Ids:
        ids = spread(ids, call.output.shape)
        return np.tile(ids, [n if size > 1 else 1 for n, size in zip(times, ids.shape, strict=True)])

    moved(flow, call, move)


@rule.add(ops="repeat_interleave")
def repeat_interleave(flow: Flow, call: Call) -> None:
    """Each element repeated a number of times along an axis."""
    times = call.args[1] if len(call.args) > 1 else None
    axis = call.args[2] if len(call.args) > 2 else call.kwargs.get("dim")
    if not isinstance(times, int) or axis is None:
        flow.pin_all(call, "elements are repeated as values say")
        flow.set(call.output, ())
        return
    axis %= call.args[0].ndim
    moved(flow, call, lambda ids: ids.repeat(times, axis) if ids.shape[axis] > 1 else ids)


@rule.add(ops="flip")
def flip(flow: Flow, call: Call) -> None:
    """Axes turned round."""
    axes = tuple(axis % call.args[0].ndim for axis in call.args[1])
    moved(flow, call, lambda ids: np.flip(ids, axes))
