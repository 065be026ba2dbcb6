"""Which units cannot matter: the greatest set whose uses all lie within it, or are 0, or are constant."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from prunery.export.reads import Flags, Read
from prunery.graph.channels import Ids
from prunery.graph.coupling import Graph, Group


@dataclass(frozen=True)
class Options:
    """What may be done beside removing what is 0: constants folded and merged, duplicates merged."""

    fold: bool = True
    merge: bool = True


@dataclass(frozen=True)
class Plan:
    """What goes.

    removed: the units that go. idle: units that do not matter and stay because one of a group must; they are
    read nowhere. merged: a constant unit that goes -> the one that stands for it.
    """

    graph: Graph
    reads: Sequence[Read]
    removed: Ids
    idle: Ids
    merged: dict[int, int] = field(default_factory=dict)
    folds: bool = True

    @property
    def gone(self) -> Ids:
        """Return the units that are read nowhere any more."""
        return np.concatenate([self.removed, self.idle])


def plan_of(graph: Graph, reads: Sequence[Read], options: Options) -> Plan:
    """Return which units of the free groups go."""
    search = _Search(graph, reads, options)
    merged = search.merged() if options.fold and options.merge else {}
    kept = set(merged.values())
    while True:
        gone = search.greatest(merged, kept)
        goes = graph.flow.channels.among(gone)
        whole = [group for group in graph.free if goes[group.roots].all()]
        stuck = {int(group.roots[0]) for group in whole if not search.silenced(int(group.roots[0]))}
        if not stuck:
            break
        kept |= stuck
    idle = np.asarray([group.roots[0] for group in whole], np.int64)
    removed = np.setdiff1d(gone, idle)
    merged = {unit: other for unit, other in merged.items() if unit in set(removed.tolist())}
    return Plan(graph, reads, removed, idle, merged, options.fold)


def never_read(graph: Graph, reads: Sequence[Read]) -> Ids:
    """Return the greatest set of units whose uses all lie within it, or read what is always 0."""
    return _Search(graph, reads, Options(fold=False, merge=False)).greatest({}, set())


class _Search:
    def __init__(self, graph: Graph, reads: Sequence[Read], options: Options) -> None:
        self.graph, self.options = graph, options
        free = np.unique(np.concatenate([np.zeros(0, np.int64), *(g.roots for g in graph.free)]))
        self.free = np.setdiff1d(free, _all_there_is(graph))
        self.is_free = graph.flow.channels.among(self.free)
        self.reads = [read for read in reads if self.is_free[read.columns].any()]
        self._edges: dict[tuple[int, bool], _Edges] = {}

    def folds(self, read: Read) -> Flags:
        """Return the columns of a read that are folded into its bias when they go."""
        return read.known & (read.folds and self.options.fold)

    def excused(self, read: Read, *, loose: bool) -> Flags:
        """Return the columns that do not keep a unit; loose: nor do constants that could be merged."""
        excused = ~read.matters | self.folds(read)
        return excused | (read.known & _editable(read)) if loose else excused

    def greatest(self, merged: dict[int, int], kept: set[int], *, loose: bool = False) -> Ids:
        """Return the units that may go. merged: those whose constants another one has. kept: not these."""
        alive = ~self.is_free
        alive[list(kept)] = True
        spared = self.graph.flow.channels.among(np.asarray(list(merged), np.int64))
        edges = [self._edge(number, loose, spared) for number in reversed(range(len(self.reads)))]
        before = -1
        while before != (before := int(alive.sum())):
            for edge in edges:
                alive[edge.units[edge.used[alive[edge.rows]].any(0)]] = True
        return np.asarray(self.free[~alive[self.free]])

    def _edge(self, number: int, loose: bool, spared: Flags) -> _Edges:
        read = self.reads[number]
        if not loose and spared[read.columns].any():
            excused = np.where(
                spared[read.columns], self.excused(read, loose=True), self.excused(read, loose=False)
            )
            return _edges(read, self.is_free, excused)
        if (number, loose) not in self._edges:
            self._edges[number, loose] = _edges(read, self.is_free, self.excused(read, loose=loose))
        return self._edges[number, loose]

    def merged(self) -> dict[int, int]:
        """Return the constant units that could go if another one stood for them -> that one."""
        strict = self.greatest({}, set())
        more = np.setdiff1d(self.greatest({}, set(), loose=True), strict)
        found: dict[int, int] = {}
        for group in self.graph.free:
            units = np.intersect1d(group.roots, more)
            if len(units) > 1:
                found |= self._merged_into_one(units)
        return found

    def _merged_into_one(self, units: Ids) -> dict[int, int]:
        """Return, for units of a group, those that one can stand for: the one farthest from 0."""
        least, own = np.full(len(units), np.inf), self.graph.flow.channels.among(units)
        for read in self.reads:
            needed = read.matters & ~self.folds(read) & own[read.columns]
            if needed.any():
                value = np.abs(np.where(read.known, read.value, 0))
                for i, unit in enumerate(units):
                    places = read.columns == unit
                    least[i] = min(least[i], value[places].max() if places.any() else 0)
        best = int(least.argmax())
        if not least[best]:
            return {}
        return {int(unit): int(units[best]) for i, unit in enumerate(units) if i != best}

    def silenced(self, unit: int) -> bool:
        """Return whether no product need read a unit any more: its columns can be set to 0."""
        return all(
            read.weight is not None and read.weight.editable
            for read in self.reads
            if (read.matters & (read.columns == unit) & _foreign(read, unit)).any()
        )


def _all_there_is(graph: Graph) -> Ids:
    """Return the units that are all there is along an axis of some tensor, so that it cannot lose them."""
    flow, found = graph.flow, set[int]()
    tensors = [tensor for call in graph.program.calls for tensor in call.outputs()]
    for ids in (*flow.axes.values(), *(ids for tensor in tensors for ids in flow.labels(tensor))):
        roots = flow.channels.find(ids).reshape(-1)
        if (roots == roots[0]).all():
            found.add(int(roots[0]))
    return np.asarray(sorted(found), np.int64)


def _foreign(read: Read, unit: int) -> Flags:
    """Return the columns that other rows than the unit's own use."""
    return np.asarray(read.used[read.rows != unit].any(0))


def _editable(read: Read) -> bool:
    return read.weight is not None and read.weight.editable and read.weight.groups == 1


@dataclass(frozen=True)
class _Edges:
    """Which units a product uses for which: used[row, unit]."""

    units: Ids
    rows: Ids
    used: Flags


def _edges(read: Read, is_free: Flags, excused: Flags) -> _Edges:
    columns = np.flatnonzero(~excused & is_free[read.columns])
    if not len(columns):
        return _Edges(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros((0, 0), np.bool_))
    order = columns[np.argsort(read.columns[columns], kind="stable")]
    units, starts = np.unique(read.columns[order], return_index=True)
    used = np.logical_or.reduceat(read.used[:, order], starts, axis=1)
    line = np.where(is_free[read.rows], read.rows, 0)
    order = np.argsort(line, kind="stable")
    rows, starts = np.unique(line[order], return_index=True)
    return _Edges(units, rows, np.logical_or.reduceat(used[order], starts, axis=0))


def by_group(graph: Graph, units: Ids) -> Iterator[tuple[Group, int]]:
    """Yield each free group, and how many of these units it has."""
    own = graph.flow.channels.among(units)
    for group in graph.free:
        yield group, int(own[group.roots].sum())
