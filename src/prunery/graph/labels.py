"""Labels: which channel each element of a tensor belongs to, and how they move with it.

A label is an array with as many axes as its tensor, of size 1 where the channel does not depend on the
position. A tensor may have several: an element goes when any of its channels does.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from prunery.graph.channels import Channels, Ids

Labels = tuple[Ids, ...]


def support(ids: Ids) -> tuple[int, ...]:
    """Return the axes along which the channel depends on the position."""
    return tuple(axis for axis, size in enumerate(ids.shape) if size > 1)


def narrowed(ids: Ids, channels: Channels) -> Ids:
    """Return the label by the channels that stand for others, without axes that make no difference."""
    ids = channels.find(ids)
    for axis in support(ids):
        first = ids.take([0], axis=axis)
        if np.array_equal(np.broadcast_to(first, ids.shape), ids):
            ids = first
    return ids


def axis_label(ids: Ids, axis: int, ndim: int) -> Ids:
    """Return a label along one axis."""
    return ids.reshape([-1 if i == axis else 1 for i in range(ndim)])


def spread(ids: Ids, shape: Sequence[int]) -> Ids:
    """Return the label with leading axes of size 1 added, for a tensor that is broadcast to `shape`."""
    return ids.reshape((1,) * (len(shape) - ids.ndim) + ids.shape)


def viewed(ids: Ids, old: Sequence[int], new: Sequence[int]) -> Ids:
    """Return the label of a tensor of shape `old` seen in shape `new`."""
    wide, narrow = list(ids.shape), list(new)
    for before, after in _blocks(old, new):
        if any(ids.shape[axis] > 1 for axis in before):
            for axis in before:
                wide[axis] = old[axis]
        else:
            for axis in after:
                narrow[axis] = 1
    if prod(wide) != prod(narrow):  # a part of a block is of size 1
        wide, narrow = list(old), list(new)
    return np.broadcast_to(ids, wide).reshape(narrow)


def _blocks(old: Sequence[int], new: Sequence[int]) -> list[tuple[list[int], list[int]]]:
    """Return the least runs of axes of both shapes that hold equally many elements, in order."""
    blocks: list[tuple[list[int], list[int]]] = []
    i = j = 0
    while i < len(old) and j < len(new):
        before, after, a, b = [i], [j], old[i], new[j]
        while a != b:
            if a < b:
                i += 1
                before.append(i)
                a *= old[i]
            else:
                j += 1
                after.append(j)
                b *= new[j]
        blocks.append((before, after))
        i, j = i + 1, j + 1
    rest = (list(range(i, len(old))), list(range(j, len(new))))  # all of size 1
    return [*blocks, rest] if any(rest) else blocks


def permuted(ids: Ids, axes: Sequence[int]) -> Ids:
    """Return the label of a tensor whose axes are put in another order."""
    return ids.transpose([axis % ids.ndim for axis in axes])


def sliced(ids: Ids, axis: int, positions: slice | Sequence[int] | int) -> Ids:
    """Return the label of a part of a tensor along one axis; an int drops the axis."""
    if ids.shape[axis] == 1:
        return ids.squeeze(axis) if isinstance(positions, int) else ids
    return ids[(slice(None),) * axis + (positions,)]


def expanded_to(ids: Ids, axis: int, size: int) -> Ids:
    """Return the label of full size along one axis."""
    shape = [size if i == axis else n for i, n in enumerate(ids.shape)]
    return np.broadcast_to(ids, shape)
