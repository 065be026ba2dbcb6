"""What each factor of a study changes: differences between its levels with all else alike, with intervals.

A main effect is the mean over the cells (context and sparsity) in which every level that is compared ended
well in every seed. Seeds are its repetitions; with fewer than three of them, the contexts are, and the
interval then says nothing about other seeds.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from prunery.comparisons import Difference, Pair, compared
from prunery.lab.factors import Factor, factors_of
from prunery.report.results.groups import Group
from prunery.stats import FEW

Values = Mapping[int, float]


@dataclass(frozen=True)
class Effect:
    """The difference between two levels of a factor: `better` minus `worse`, in points.

    over: "seeds" or "contexts", what its interval repeats. contexts: pairs of methods that differ in nothing
    else. left_out: levels that are not compared, for too little of them ended well where others did. epochs:
    the total of both levels, where known.
    """

    factor: Factor
    better: str
    worse: str
    difference: Difference
    over: str
    contexts: int
    sparsities: tuple[float, ...]
    left_out: tuple[str, ...]
    epochs: tuple[tuple[int, ...], tuple[int, ...]]
    singles: tuple[float, ...]  # by repetition

    @property
    def unequal(self) -> bool:
        """Return whether the two levels had different epochs of training in all."""
        return self.epochs[0] != self.epochs[1]


@dataclass(frozen=True)
class _Levels:
    """The levels of a factor that are compared, and the mean of each by repetition."""

    factor: Factor
    means: Mapping[str, Values]
    over: str
    contexts: int
    sparsities: tuple[float, ...]
    epochs: Mapping[str, tuple[int, ...]]

    @property
    def best(self) -> str:
        """Return the level with the highest mean."""
        return max(self.means, key=lambda level: statistics.fmean(self.means[level].values()))


@dataclass(frozen=True)
class _Cell:
    """The groups of one context at one sparsity, by level."""

    context: int
    sparsity: float
    groups: Mapping[str, Group]

    @property
    def same_run(self) -> bool:
        """Return whether two levels are one run here, as the first cut of a chain and a cut at once are."""
        keys = [run.key for group in self.groups.values() for run in group.runs if run.key]
        return len(set(keys)) < len(keys)


def effects_of(spec: Mapping[str, Any], groups: Sequence[Group]) -> list[Effect]:
    """Return each factor's best level minus each other, in points; their intervals hold together."""
    by_cell = {(g.method, g.sparsity): g for g in groups if g.role == "pruned"}
    known = [levels for factor in factors_of(spec) if (levels := _levels(factor, by_cell)) is not None]
    known = [k for k in known if not (k.factor.equal_epochs and _plain(k, known))]
    pairs = [
        (levels, Pair(number, one, other, levels.means[one], levels.means[other]))
        for number, levels in enumerate(known)
        for one, other in combinations(levels.means, 2)
    ]
    step = max((group.step for group in groups), default=0.0)
    made = []
    for (levels, pair), difference in zip(pairs, compared([p for _, p in pairs], step=step), strict=True):
        if difference is not None and levels.best in (pair.arm, pair.reference):
            made.append(_effect(levels, pair, difference))
    return made


def _plain(levels: _Levels, known: Sequence[_Levels]) -> bool:
    """Return whether the same factor is known from methods with equal epochs anyway."""
    same = [k for k in known if k.factor.name == levels.factor.name and not k.factor.equal_epochs]
    return any(len(set(k.epochs.values())) == 1 for k in same)


def _effect(levels: _Levels, pair: Pair, difference: Difference) -> Effect:
    better, worse = str(pair.arm), str(pair.reference)
    if better != levels.best:
        better, worse, difference = worse, better, difference.turned
    left_out = tuple(level for level in levels.factor.levels if level not in levels.means)
    epochs = levels.epochs[better], levels.epochs[worse]
    means = levels.means[better], levels.means[worse]
    singles = tuple(means[0][each] - means[1][each] for each in sorted(means[0].keys() & means[1].keys()))
    about = (levels.over, levels.contexts, levels.sparsities, left_out, epochs, singles)
    return Effect(levels.factor, better, worse, difference, *about)


def _levels(factor: Factor, by_cell: Mapping[tuple[str, float], Group]) -> _Levels | None:
    """Return the means of a factor's levels over the cells that they share; None where they share none."""
    every = _cells(factor, by_cell)
    levels = _enough(factor, every)
    cells = [c for c in every if all(_sound(c, level) for level in levels)]
    if factor.equal_epochs:
        cells = [c for c in cells if len({_total(c.groups[level]) for level in levels}) == 1]
    if len(levels) < 2 or not cells:
        return None
    seeds = sorted(set.intersection(*(set(c.groups[level].values) for c in cells for level in levels)))
    sparsities = tuple(sorted({c.sparsity for c in cells}))
    contexts = len({c.context for c in cells})
    over = "seeds" if len(seeds) >= FEW or contexts < FEW else "contexts"
    means = {level: _means(cells, level, seeds, over) for level in levels}
    epochs = {level: tuple(sorted({_total(c.groups[level]) for c in cells})) for level in levels}
    return _Levels(factor, means, over, contexts, sparsities, epochs) if seeds else None


def _cells(factor: Factor, by_cell: Mapping[tuple[str, float], Group]) -> list[_Cell]:
    """Return the groups of each context and sparsity, where two levels or more have one."""
    cells = [
        _Cell(place, s, {v: by_cell[method, s] for v, method in context.items() if (method, s) in by_cell})
        for place, context in enumerate(factor.contexts)
        for s in sorted({sparsity for _, sparsity in by_cell})
    ]
    return [cell for cell in cells if len(cell.groups) > 1 and not cell.same_run]


def _enough(factor: Factor, cells: Sequence[_Cell]) -> list[str]:
    """Return the levels that ended well in at least half as many cells as the level that did so most."""
    counts = {level: sum(_sound(cell, level) for cell in cells) for level in factor.levels}
    return [level for level, count in counts.items() if count and 2 * count >= max(counts.values())]


def _sound(cell: _Cell, level: str) -> bool:
    return level in cell.groups and cell.groups[level].sound


def _total(group: Group) -> int:
    return sum(group.epochs or (0, 0))


def _means(cells: Sequence[_Cell], level: str, seeds: Sequence[int], over: str) -> Values:
    """Return the mean of a level by seed, or by context where those are the repetitions."""
    values: dict[int, list[float]] = {}
    for cell in cells:
        for seed in seeds:
            repetition = seed if over == "seeds" else cell.context
            values.setdefault(repetition, []).append(cell.groups[level].values[seed])
    return {repetition: statistics.fmean(each) for repetition, each in values.items()}
