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
        own = plan.graph.flow.channels.among(units)
        reads = [read for read in plan.reads if own[read.columns].any()]
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
    own = removal.flow.channels.among(units)
    made_by += [(name, 0) for name, line in rows.items() if own[line].any()]
    if not made_by:
        return {}
    twins = [np.arange(len(units))]
    for most in (8, None):  # most units differ at once
        for name, axis in made_by:
            candidates = np.concatenate([np.zeros(0, np.int64), *twins])
            if not len(candidates):
                return {}
            ids = rows[name] if name in rows else removal.flow.channels.find(removal.flow.axes[name, axis])
            tensor = _cut(removal, name, axis, values[name], most)
            lines = dict(_lines(tensor, axis, ids, units, candidates))
            twins = [part for same in twins for part in _alike(same, lines)]
    return {int(units[i]): int(units[same[0]]) for same in twins for i in same[1:]}


def _alike(candidates: Ids, lines: Mapping[int, bytes]) -> Iterator[Ids]:
    """Yield the candidates that have the same line as another one, those with one line together."""
    parts: dict[bytes, list[int]] = {}
    for i in candidates.tolist():
        parts.setdefault(lines[i], []).append(i)
    yield from (np.asarray(part, np.int64) for part in parts.values() if len(part) > 1)


def _cut(removal: Removal, name: str, axis: int, tensor: Tensor, most: int | None) -> Tensor:
    """Return what stays of a parameter, with all of one axis and at most so many places of the others."""
    for other, places in enumerate(removal.index(name, tensor.ndim)):
        if other == axis:
            continue
        if places is not None:
            tensor = tensor.index_select(other, places[:most].to(tensor.device))
        elif most is not None:
            tensor = tensor.narrow(other, 0, min(most, tensor.shape[other]))
    return tensor


def _lines(tensor: Tensor, axis: int, ids: Ids, units: Ids, candidates: Ids) -> Iterator[tuple[int, bytes]]:
    """Yield the numbers that each candidate among units has along an axis."""
    order = np.argsort(ids, kind="stable")
    first, last = (np.searchsorted(ids[order], units[candidates], side) for side in ("left", "right"))
    matrix = tensor.detach().movedim(axis, 0)
    for times in np.unique(last - first).tolist():  # how often a unit is along the axis
        some = np.flatnonzero(last - first == times)
        places = order[first[some, None] + np.arange(times)].reshape(-1)
        lines = matrix.index_select(0, torch.from_numpy(places).to(tensor.device)).cpu()
        flat = lines.reshape(len(some), -1).contiguous().view(torch.uint8).numpy()
        yield from zip(candidates[some].tolist(), map(bytes, flat), strict=True)
