"""Accuracy and cost as curves over sparsity: points that leave them, and what a point's neighbours say."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from prunery.audit.findings import CHECKS, Finding, finding, percent
from prunery.audit.table.numbers import median
from prunery.audit.table.sheet import Entry, Sheet, grouped

_FLOOR = 1.0  # points below which no value is odd
_NOISE = 8.0  # times the noise of the table's plateaus
_SHARE = 0.15  # of what has been lost already: curves that fall are rough
_USUAL_NOISE = 0.15  # points; where a table has too few plateaus to tell
_SAME_KEPT = 0.06  # relative, of the weights kept
_COST = 0.12  # relative, for MACs


_LAYER_NAME = re.compile(r"(conv|layer|features|block|module|fc)[\w.]*\.\d+|\.weight$|^(conv|fc)\d*$")


def of_one_layer(entry: Entry) -> bool:
    """Return whether one layer is pruned at a time: few channels make steps, many layers change little."""
    return bool(entry.layer) or any(_LAYER_NAME.search(text) for text in entry.labels.values())


@dataclass(frozen=True, eq=False)
class Point:
    """All runs of one arm at one sparsity."""

    order: float
    entries: tuple[Entry, ...]

    @cached_property
    def middle(self) -> float:
        """The median of its values."""
        return median([e.value for e in self.entries])


def curves(sheet: Sheet, *kinds: str) -> Iterator[list[Point]]:
    """Yield each arm's points by sparsity; a dense row of its own stands first in every arm of its place."""
    entries = [e for e in sheet.entries_of(*kinds) if e.order is not None and not sheet.log]
    for arm in grouped((e for e in entries if not e.dense), lambda e: e.arm):
        first = [
            d for d in sheet.references.dense_of(arm[0]) if d.place == arm[0].place and d.order is not None
        ]
        dense = [e for e in first if e.method == arm[0].method] or first
        grid = grouped([*dense, *arm], lambda e: 0.0 if e.dense else e.order)
        points = [Point(0.0 if g[0].dense else g[0].order or 0.0, tuple(g)) for g in grid]
        yield sorted(points, key=lambda p: p.order)


@CHECKS.add(says="a value that leaves the curve of its own method, up or down", weak=True)
def off_the_curve(sheet: Sheet) -> Iterator[Finding]:
    """Accuracy may fall with sparsity as it likes; one point far above or below both neighbours is odd."""
    odd_of_line: dict[int, list[tuple[Entry, str]]] = {}
    if sheet.noisy:
        return
    for group in grouped(curves(sheet, "accuracy"), lambda points: _scope(points[0].entries[0])):
        for entry, bad in _leaving(group):
            mine = odd_of_line.setdefault(entry.line, [])
            if all(entry is not other for other, _ in mine):
                mine.append((entry, bad))
    for pairs in (
        f
        for mine in odd_of_line.values()
        for f in grouped(mine, lambda pair: (pair[0].method, pair[0].order))
    ):
        entries, (first, bad) = [entry for entry, _ in pairs], pairs[0]
        agreed = "; its other splits agree: the run went so, it is no misprint"
        alone = len({e.metric.split for e in entries}) == 1
        yield finding("off_the_curve", entries, f"{first.described} {bad}{'' if alone else agreed}")


def _leaving(group: Sequence[Sequence[Point]]) -> Iterator[tuple[Entry, str]]:
    """(entry, how it leaves its curve), among curves of one metric of one network."""
    top = max(p.middle for points in group for p in points)
    noise, bumps = _NOISE * _noise(group), _Bumps(group)
    for points in group:
        apart: list[Apart] = []
        for place, point in enumerate(points):
            rough = 3 * bumps.elsewhere(points, place)
            for entry in (e for e in point.entries if not e.special):
                if bad := _apart(points, place, entry, max(_allowed(entry), noise, rough), top):
                    apart.append(Apart(place, entry, *bad))
        far = {id(f.entry): f.far for f in apart}
        guilty = [f for f in apart if not _innocent(points, f, far, noise, top)]
        yield from ((f.entry, f.text) for f in guilty or apart)


class Apart(NamedTuple):
    """An entry that leaves its curve, how far, and as text."""

    place: int
    entry: Entry
    far: float
    text: str


def _allowed(entry: Entry) -> float:
    few = 3 if entry.metric.split == "validation" else 1  # images
    return max(_FLOOR * few, 4 * (entry.number.spread or 0))


def _innocent(
    points: Sequence[Point], apart: Apart, far: Mapping[int, float], noise: float, top: float
) -> bool:
    """Return whether an entry stands apart only from neighbours that stand farther apart.

    Of an end and the point before it, as far from each other, the one with two neighbours is the odd one.
    """
    place = apart.place
    end = place in (0, len(points) - 1)
    near = points[max(0, place - 3) : place + 4]
    mended = []
    for point in near:
        beside = point is not points[place]
        odd = [
            e for e in point.entries if beside and far.get(id(e), -1.0) > apart.far - (1e-9 if end else 0.0)
        ]
        kept = tuple(e for e in point.entries if all(e is not other for other in odd))
        mended += [point] if len(kept) == len(point.entries) else [Point(point.order, kept)] if kept else []
    if len(mended) == len(near) and all(a is b for a, b in zip(mended, near, strict=True)):
        return False
    place = next(i for i, p in enumerate(mended) if p is points[place])
    return _apart(mended, place, apart.entry, max(_allowed(apart.entry), noise), top) is None


def _scope(entry: Entry) -> tuple[object, ...]:
    return (entry.row.report, entry.data_name, entry.model, entry.metric.k, entry.metric.split)


def _noise(group: Sequence[Sequence[Point]]) -> float:
    """Return the standard deviation of plateau points from the mean of their neighbours."""
    away: list[float] = []
    for points in group:
        top = max(p.middle for p in points)
        values = [p.middle for p in points if p.middle > top - 3]
        away += [abs(b - (a + c) / 2) for a, b, c in zip(values, values[1:], values[2:], strict=False)]
    return max(_USUAL_NOISE / 2, 1.2 * median(away)) if len(away) >= 4 else _USUAL_NOISE


class _Bumps:
    """How far points lie outside of their neighbours, where they do."""

    def __init__(self, group: Sequence[Sequence[Point]]) -> None:
        self._out: dict[tuple[int, int], float] = {}
        for points in group:
            for i in range(1, len(points) - 1):
                low, high = sorted((points[i - 1].middle, points[i + 1].middle))
                out = max(low - points[i].middle, points[i].middle - high)
                if out > 0:
                    self._out[id(points), i] = out
        self._sizes = sorted(self._out.values())

    def elsewhere(self, points: Sequence[Point], place: int) -> float:
        """Return the upper quartile of what other points do: how rough these curves are without this one."""
        near = [self._out.get((id(points), i)) for i in (place - 1, place, place + 1)]
        left_out = [out for out in near if out is not None]
        count = len(self._sizes) - len(left_out)
        if count < 3:
            return 0.0
        at = (3 * count) // 4  # among the others; one of those left out that ranks before moves it on
        for out in sorted(left_out):
            at += bisect_left(self._sizes, out) <= at
        return self._sizes[at]


def _apart(
    points: Sequence[Point], place: int, entry: Entry, allowed: float, top: float
) -> tuple[float, str] | None:
    """Return how far, and how, an entry differs from its neighbours; at the end, from its other runs too."""
    beside = [points[i] for i in (place - 1, place + 1) if 0 <= i < len(points)]
    last = place == len(points) - 1 and place > 0
    values = [p.middle for p in beside]
    others = [e.value for e in points[place].entries if e is not entry]
    if last and len(others) >= 2:
        values.append(median(others))
    if place == 0 and len(points) > 2 and entry.dense:
        values.append(points[2].middle)
        allowed = max(2.0, 2 * allowed, 0.3 * (100 - entry.value))
    if len(values) < 2 and not last:
        return None
    low, high = min(values), max(values)
    below = entry.value < low and (not last or len(values) == 2)
    if not below and (entry.value <= high or place == 0):
        return None
    bound = low if below else high
    share = (3 if last else 1) * (2 if of_one_layer(entry) else 1) * _SHARE * (top - min(bound, entry.value))
    if abs(entry.value - bound) <= max(allowed, share):
        return None
    stands = ", ".join(f"{p.middle:g} at {_at(p)}" for p in beside)
    far = abs(entry.value - bound)
    return far, f"is {far:.2f} {'below' if below else 'above'} its neighbours ({stands})"


def _at(point: Point) -> str:
    sparsity = 0.0 if point.order == 0 else point.entries[0].sparsity
    return percent(sparsity) if sparsity is not None else f"{point.order:g}"


@CHECKS.add(says="MACs that leave the curve of their own method", weak=True)
def macs_off_the_curve(sheet: Sheet) -> Iterator[Finding]:
    """MACs fall with sparsity; one far below or above both neighbours is odd."""
    for points in curves(sheet, "macs", "macs_fraction"):
        for before, point, after in zip(points, points[1:], points[2:], strict=False):
            if _near(before, point) or _near(point, after):
                continue
            low, high = sorted((before.middle, after.middle))
            for entry in point.entries:
                if before.middle < after.middle * (1 - _COST) or low * (1 - _COST) <= entry.value <= high * (
                    1 + _COST
                ):
                    continue
                stands = ", ".join(f"{p.entries[0].printed} at {_at(p)}" for p in (before, after))
                message = f"{entry.printed} does not lie between its neighbours ({stands})"
                yield finding("macs_off_the_curve", [entry], message)


def _near(a: Point, b: Point) -> bool:
    """Return whether two sparsities leave nearly the same weights, so that the choice of layers decides."""
    first, second = a.entries[0].sparsity, b.entries[0].sparsity
    if first is None or second is None or a.order == 0:
        return False
    return abs(second - first) < _SAME_KEPT * (1 - min(first, second))


def misfit(sheet: Sheet, entry: Entry) -> float:
    """Return how far an entry is from the nearest sparsities of its report, method and network, or 0."""
    near = [
        e
        for e in sheet.entries_of(entry.kind)
        if (e.row.report, e.data_name, e.model, e.layer)
        == (entry.row.report, entry.data_name, entry.model, entry.layer)
        and e.order is not None
        and entry.order is not None
        and e.order != entry.order
        and (e.method == entry.method or e.dense or entry.dense)
        and e.metric.k == entry.metric.k
    ]
    ranked = sorted(near, key=lambda e: abs((e.order or 0) - (entry.order or 0)))[:2]
    return min((abs(e.value - entry.value) for e in ranked), default=0.0)


@CHECKS.add(says="a sparsity that only one curve has, where all others share a grid")
def off_the_grid(sheet: Sheet) -> Iterator[Finding]:
    """Many curves over one grid, and one of them with one point beside it: a misprinted sparsity."""
    every = [c for c in curves(sheet, *{e.kind for e in sheet.entries}) if len(c) >= 3]
    for group in grouped(every, lambda c: (c[0].entries[0].row.report, c[0].entries[0].family)):
        grids = [frozenset(p.order for p in points if p.order) for points in group]
        common = max(set(grids), key=grids.count)
        if len(grids) < 3 or grids.count(common) < 0.6 * len(grids):
            continue
        for points, grid in zip(group, grids, strict=True):
            extra, missing = sorted(grid - common), sorted(common - grid)
            if len(extra) == len(missing) == 1:
                entries = [e for p in points if p.order == extra[0] for e in p.entries]
                others = f"{grids.count(common)} other curves have {missing[0]:g}"
                message = f"sparsity {extra[0]:g} stands where {others}"
                yield finding("off_the_grid", entries, message)
