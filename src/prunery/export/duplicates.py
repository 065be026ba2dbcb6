"""Units that compute the same: one of them can do the work of all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from torch import Tensor

from prunery.export.reads import Read
from prunery.export.removable import Plan
from prunery.graph.channels import Ids
from prunery.graph.coupling import Group
from prunery.graph.shrink import Removal


def duplicates(plan: Plan, values: Mapping[str, Tensor], rows: Mapping[str, Ids]) -> dict[int, int]:
    """Return the units that are made by the same numbers as another one -> that one.

    values: the parameters and buffers by name, those of `rows` too: new biases, with the unit of each place.
    What belongs to units that go is left out. Only groups whose units are read by plain products have any.
    """
    removal, found = Removal(plan.graph.flow, plan.removed), dict[int, int]()
    for group in plan.graph.free:
        units = np.setdiff1d(group.roots, plan.gone)
        reads = [read for read in plan.reads if np.isin(read.columns, units).any()]
        if len(units) > 1 and all(_plain(read, units) for read in reads):
            found |= _equal(group, units, reads, removal, values, rows)
    return found


def _plain(read: Read, units: Ids) -> bool:
    """Return whether columns of a read can be added up, or each unit is read for itself alone."""
    if read.weight is None or not read.weight.editable:
        return False
    return read.weight.groups == 1 or np.array_equal(read.columns, read.rows)


def _equal(
    group: Group,
    units: Ids,
    reads: list[Read],
    removal: Removal,
    values: Mapping[str, Tensor],
    rows: Mapping[str, Ids],
) -> dict[int, int]:
    axes = {(read.weight.name, read.weight.axis) for read in reads if read.weight is not None}
    made_by = [(s.name, s.axis) for s in group.slices if (s.name, s.axis) not in axes]
    made_by += [(name, 0) for name, line in rows.items() if np.isin(line, units).any()]
    candidates = np.arange(len(units))
    for beginning in (True, False):  # most units differ at once
        keys = [b""] * len(units)
        for name, axis in made_by:
            ids = rows[name] if name in rows else removal.flow.channels.find(removal.flow.axes[name, axis])
            tensor = _cut(removal, name, axis, values[name])
            for i, line in _lines(tensor, axis, ids, units[candidates], beginning=beginning):
                keys[candidates[i]] += line
        twins: dict[bytes, list[int]] = {}
        for i in candidates.tolist():
            twins.setdefault(keys[i], []).append(i)
        candidates = np.asarray([i for same in twins.values() if len(same) > 1 for i in same], np.int64)
        if not len(candidates) or not made_by:
            return {}
    return {int(units[i]): int(units[same[0]]) for same in twins.values() if len(same) > 1 for i in same[1:]}


def _cut(removal: Removal, name: str, axis: int, tensor: Tensor) -> Tensor:
    """Return what stays of a parameter, with all of one axis."""
    for other, places in enumerate(removal.index(name, tensor.ndim)):
        if places is not None and other != axis:
            tensor = tensor.index_select(other, places.to(tensor.device))
    return tensor


def _lines(
    tensor: Tensor, axis: int, ids: Ids, units: Ids, *, beginning: bool
) -> Iterator[tuple[int, bytes]]:
    """Yield the numbers that each unit has along an axis of a parameter, or the first few of them."""
    for i, unit in enumerate(units.tolist()):
        line = tensor.index_select(axis, torch.from_numpy(np.flatnonzero(ids == unit)).to(tensor.device))
        line = line.reshape(-1)[:8] if beginning else line
        yield i, line.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
