"""Parts of tensors: cut along an axis, and put together again."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from prunery.graph.channels import Ids
from prunery.graph.flow import Flow, Operand, rule
from prunery.graph.labels import axis_label, sliced, support
from prunery.graph.ops.moves import moved
from prunery.graph.read_torch import Call


@rule.add(ops="slice")
def slice_(flow: Flow, call: Call) -> None:
    """A part along one axis; equal parts of an axis are cut at the same places."""
    source = call.args[0]
    axis = (call.args[1] if len(call.args) > 1 else 0) % source.ndim
    size = source.shape[axis]
    start, end, step = (
        (*call.args[2:], *(None, None, None)[len(call.args) - 2 :])[:3] if len(call.args) > 2 else (None,) * 3
    )
    part = slice(*slice(start, end, step).indices(size))
    for ids in flow.labels(source):
        if ids.shape[axis] > 1 and part != slice(0, size, 1):
            _tie_parts(flow, call, ids, axis, part, size)
    moved(flow, call, lambda ids: sliced(ids, axis, part))


def _tie_parts(flow: Flow, call: Call, ids: Ids, axis: int, part: slice, size: int) -> None:
    """Where a part is one of several equal ones, tie what is at the same place in each."""
    length = part.stop - part.start
    others = [a for a in support(ids) if a != axis]
    if others and part.step == 1 and length == 1:
        flow.channels.tie(ids, [axis], "")
    elif part.step == 1 and length and size % length == 0 and part.start % length == 0 and length > 1:
        _tie_every(flow, ids, axis, size // length)
    elif part.step != 1 and size % part.step == 0:
        flow.pin([ids], call, "every so-manieth channel is taken")


def _tie_every(flow: Flow, ids: Ids, axis: int, parts: int) -> None:
    """Tie the channels at the same place of each of so many equal parts along an axis."""
    shape = list(ids.shape)
    shape[axis : axis + 1] = [parts, ids.shape[axis] // parts]
    flow.channels.tie(ids.reshape(shape), [axis], "")


@rule.add(ops="select")
def select(flow: Flow, call: Call) -> None:
    """One position of an axis, which goes."""
    source, axis, position = call.args[0], call.args[1] % call.args[0].ndim, call.args[2]
    _one_of(flow, call, axis)
    moved(flow, call, lambda ids: sliced(ids, axis, position % source.shape[axis]))


def _one_of(flow: Flow, call: Call, axis: int) -> None:
    """A position of an axis is told by its number: the axis keeps its size."""
    for ids in flow.labels(call.args[0]):
        if ids.shape[axis] > 1:
            if len(support(ids)) > 1:
                flow.channels.tie(ids, [axis], "")
            else:
                flow.pin([ids], call, "one channel is picked by its number")


@rule.add(ops="unbind")
def unbind(flow: Flow, call: Call) -> None:
    """Every position of an axis, as a tensor of its own."""
    source = call.args[0]
    axis = (call.args[1] if len(call.args) > 1 else 0) % source.ndim
    _one_of(flow, call, axis)
    for position, output in enumerate(call.outputs()):
        labels = [sliced(ids, axis, position) for ids in flow.first_labels(source)]
        flow.set(output, labels, uniform=flow.is_uniform(source), weight=flow.is_weight(source))


@rule.add(ops="split split_with_sizes chunk unsafe_split unsafe_chunk unsafe_split_with_sizes tensor_split")
def split(flow: Flow, call: Call) -> None:
    """Parts along one axis; equal ones are cut at the same places."""
    source, outputs = call.args[0], call.outputs()
    axis = (call.args[2] if len(call.args) > 2 else call.kwargs.get("dim", 0)) % source.ndim
    sizes = [output.shape[axis] for output in outputs]
    if len(sizes) > 1 and len(set(sizes)) == 1:
        for ids in flow.labels(source):
            if ids.shape[axis] > 1:
                _tie_every(flow, ids, axis, len(sizes))
    start = 0
    for output, size in zip(outputs, sizes, strict=True):
        part = slice(start, start + size)
        labels = [sliced(ids, axis, part) for ids in flow.first_labels(source)]
        flow.set(output, labels, uniform=flow.is_uniform(source), weight=flow.is_weight(source))
        start += size


@rule.add(ops="cat concat")
def cat(flow: Flow, call: Call) -> None:
    """Tensors one behind the other along an axis; along the others they meet place by place."""
    parts = [t for t in call.args[0] if t.ndim and t.numel()]
    axis = (call.args[1] if len(call.args) > 1 else call.kwargs.get("dim", 0)) % call.output.ndim
    _put_together(flow, call, parts, axis)


@rule.add(ops="stack")
def stack(flow: Flow, call: Call) -> None:
    """Tensors beside each other along a new axis."""
    axis = (call.args[1] if len(call.args) > 1 else call.kwargs.get("dim", 0)) % call.output.ndim
    _put_together(flow, call, call.args[0], axis, new=True)


def _put_together(flow: Flow, call: Call, parts: Sequence[Tensor], axis: int, *, new: bool = False) -> None:
    ndim, line, operands = call.output.ndim, [], []
    for tensor in parts:
        labels = tuple(np.expand_dims(ids, axis) if new else ids for ids in flow.labels(tensor))
        along = np.zeros(1 if new else tensor.shape[axis], np.int64)
        for ids in labels:
            if ids.shape[axis] > 1:
                along = flow.channels.tie(ids, [a for a in support(ids) if a != axis], "").reshape(-1)
        line.append(along)
        shape = tuple(1 if i == axis else n for i, n in enumerate(call.output.shape))
        across = tuple(ids for ids in labels if ids.shape[axis] == 1)
        uniform = flow.is_uniform(tensor)
        operands.append(Operand(None if uniform else shape, across, flow.is_weight(tensor)))
    labels = flow.joined(call, operands, [1 if i == axis else n for i, n in enumerate(call.output.shape)])
    places = np.concatenate(line)
    if places.any():
        labels = (*labels, axis_label(places, axis, ndim))
    flow.set(call.output, labels, weight=all(flow.is_weight(tensor) for tensor in parts))


@rule.add(ops="constant_pad_nd")
def pad(flow: Flow, call: Call) -> None:
    """Equal values put around a tensor."""
    source, amounts = call.args[0], call.args[1]
    widths = {source.ndim - 1 - i // 2: amounts[i : i + 2] for i in range(0, len(amounts), 2)}

    def move(ids: Ids) -> Ids:
        for axis, (before, after) in widths.items():
            if ids.shape[axis] > 1 and (before or after):
                start = max(0, -before), ids.shape[axis] - max(0, -after)
                ids = ids[(slice(None),) * axis + (slice(*start),)]
                around = [(max(0, before), max(0, after)) if i == axis else (0, 0) for i in range(ids.ndim)]
                ids = np.pad(ids, around)
        return ids

    moved(flow, call, move)
