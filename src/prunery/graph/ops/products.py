"""Products: convolutions and matrix products, which put the channels of their input together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from prunery.graph.channels import Ids
from prunery.graph.flow import Flow, Operand, rule
from prunery.graph.labels import Labels, axis_label, support
from prunery.graph.read_torch import Call


@rule.add(ops="mm bmm matmul mv dot addmm baddbmm addmv addbmm _int_mm")
def product(flow: Flow, call: Call) -> None:
    """Rows by columns, perhaps added to something."""
    added = call.name.startswith("add") or call.name.startswith("badd")
    left, right = call.args[1:3] if added else call.args[:2]
    output = call.output
    flow.note_read(left, [left.ndim - 1])
    flow.note_read(right, [max(0, right.ndim - 2)])
    labels = contracted(flow, call, left, right)
    labels = tuple(
        ids.reshape([n for n, s in zip(ids.shape, _places(left, right), strict=True) if s]) for ids in labels
    )
    if added:
        summand = flow.operand(call.args[0])
        labels = flow.joined(call, [Operand(tuple(output.shape), labels), summand], output.shape)
    weight = flow.is_weight(left) and flow.is_weight(right)
    flow.set(output, labels, weight=weight)


def contracted(flow: Flow, call: Call, left: Tensor, right: Tensor) -> Labels:
    """Return the labels of left @ right, with axes (batch ..., rows, columns)."""
    a = _with_axes(flow, left, left.ndim if left.ndim > 1 else 2, rows=left.ndim > 1)
    b = _with_axes(flow, right, right.ndim if right.ndim > 1 else 2, columns=right.ndim > 1)
    ndim = max(a.ndim, b.ndim)
    shape = np.broadcast_shapes((1,) * (ndim - a.ndim) + a.shape, (1,) * (ndim - b.ndim) + b.shape)
    operands = [
        Operand(None if flow.is_uniform(tensor) else side.shape, side.labels, flow.is_weight(tensor))
        for tensor, side in ((left, a), (right, b))
    ]
    labels = flow.joined(call, operands, shape)
    alone = not (flow.is_weight(left) or flow.is_weight(right)) and bool(a.labels and b.labels)
    for ids in labels:
        batch = all(axis < ndim - 3 for axis in support(ids))
        if (len(support(ids)) > 1 and ids.shape[ndim - 2] > 1) or (alone and batch):
            flow.note_kind(ids, "head")
    labels = flow.reduced(call, labels, [ndim - 2], "")
    return tuple(ids.squeeze(ndim - 2) for ids in labels)


class _Spaced:
    """A factor with axes (batch ..., rows, inner, columns), of size 1 where it has none."""

    def __init__(self, shape: Sequence[int], labels: Labels) -> None:
        self.shape, self.labels, self.ndim = tuple(shape), labels, len(shape)


def _with_axes(
    flow: Flow, tensor: Tensor, ndim: int, *, rows: bool | None = None, columns: bool | None = None
) -> _Spaced:
    """A factor with an axis of size 1 where the other one has its rows or columns."""
    left = rows is not None
    shape, labels = tuple(tensor.shape), flow.labels(tensor)
    if tensor.ndim == 1:  # a vector: no rows on the left, no columns on the right
        place = 0 if left else 1
        shape, labels = _inserted(shape, labels, place)
    place = len(shape) if left else len(shape) - 2
    shape, labels = _inserted(shape, labels, place)
    return _Spaced(shape, labels)


def _inserted(shape: tuple[int, ...], labels: Labels, place: int) -> tuple[tuple[int, ...], Labels]:
    return (*shape[:place], 1, *shape[place:]), tuple(np.expand_dims(ids, place) for ids in labels)


def _places(left: Tensor, right: Tensor) -> list[bool]:
    """Which of the axes (batch ..., rows, columns) the product has."""
    batch = max(left.ndim, right.ndim, 2) - 2
    return [True] * batch + [left.ndim > 1, right.ndim > 1]


@rule.add(ops="convolution _convolution conv1d conv2d conv3d mkldnn_convolution cudnn_convolution")
def convolution(flow: Flow, call: Call) -> None:
    """Filters over an input, in groups."""
    x, weight, bias = call.args[:3]
    transposed = bool(call.args[6])
    given = flow.reduced(call, flow.labels(x), range(2, x.ndim), "positions, not channels, are put together")
    flow.note_read(weight, [0 if transposed else 1])
    into, out = _sides(flow, weight, transposed)
    batch = [ids for ids in given if 1 not in support(ids)]
    incoming = next((ids.reshape(-1) for ids in given if support(ids) == (1,)), None)
    count = call.output.shape[1]
    line = _through(flow, call, incoming, into, out, transposed=transposed)
    labels: Labels = (axis_label(line, 1, x.ndim), *batch) if line is not None else tuple(batch)
    if bias is not None:
        along = Operand(
            (1, count, *(1,) * (x.ndim - 2)),
            tuple(axis_label(ids, 1, x.ndim) for ids in flow.labels(bias)),
            True,
        )
        labels = flow.joined(call, [Operand(tuple(call.output.shape), labels), along], call.output.shape)
    flow.set(call.output, labels)


def _sides(flow: Flow, weight: Tensor, transposed: bool) -> tuple[Ids | None, Ids | None]:
    """Return the channels of a weight along its input and its output axis, and pin the rest."""
    sides: list[Ids | None] = [None, None]
    for ids in flow.labels(weight):
        along = support(ids)
        if along in ((0,), (1,)):
            sides[along[0]] = ids.reshape(-1)
        else:
            flow.pin([ids], None, "")  # a place in a kernel is no channel
    return (sides[0], sides[1]) if transposed else (sides[1], sides[0])


def _through(
    flow: Flow, call: Call, incoming: Ids | None, into: Ids | None, out: Ids | None, *, transposed: bool
) -> Ids | None:
    """Join what goes in to the weight, and return the channels that come out.

    `out` has all output channels and `into` the input channels of one group; of a transposed weight `into`
    has all of them and `out` those of one group.
    """
    inputs, outputs, groups = call.args[0].shape[1], call.output.shape[1], int(call.args[8])
    why = f"it meets values that have no channels: {call}"
    none = np.zeros(1, np.int64)
    given = _by_group(none if incoming is None else incoming, groups, inputs // groups)
    into = _by_group(none if into is None else into, groups, inputs // groups)
    out = _by_group(none if out is None else out, groups, outputs // groups)
    own, shared = (into, out) if transposed else (out, into)
    if groups > 1 and by_groups(inputs, groups):
        flow.pin([shared], None, "")
        line = flow.channels.tie(own, [1], "")
        flow.channels.join(line, given, why)
        return np.broadcast_to(line, out.shape).reshape(-1)
    if groups > 1:
        flow.channels.tie(own, [0], "")
    if into.any() or given.any():
        flow.channels.join(into, given, why)
    return out.reshape(-1) if out.any() else None


def _by_group(ids: Ids, groups: int, per: int) -> Ids:
    """Return channels as (group, channel of the group); all groups share those of one."""
    return ids.reshape(groups, per) if ids.size == groups * per else np.broadcast_to(ids, (groups, per))


def by_groups(inputs: int, groups: int) -> bool:
    """Return whether a grouped convolution loses whole groups; else each group loses as many channels."""
    return inputs // groups <= groups
