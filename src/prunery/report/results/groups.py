"""The cells of one method and sparsity as one group over seeds, and what it may be compared with.

Only cells with the status `done` enter a mean. Collapsed, diverged and failed ones are counted and named,
and a group that has collapsed or diverged cells gets no verdict: what is left of it is a selection.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from prunery.comparisons import Difference, Pair, compared
from prunery.report.results.cell_records import NOTE_BREAK
from prunery.report.results.columns import TOP1, Column
from prunery.stats import Summary, summary

if TYPE_CHECKING:
    import pandas as pd

BROKEN = ("collapsed", "diverged")
AT_SPARSITY = ("pruned", "sanity")  # roles whose groups are told apart by their sparsity
REFERENCES = ("dense", "dense_extra", "random", "shuffled")
ABSENT = ("failed", "blocked", "missing")


@dataclass(frozen=True)
class Run:
    """One cell: its seed, its value in % (None without a record), what became of it, and its records."""

    seed: int
    value: float | None
    status: str
    notes: tuple[str, ...]
    key: str
    dense_key: str
    extra_key: str
    row: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True)
class Against:
    """A group minus a reference, paired by seed; its interval holds together with those of the table."""

    reference: str
    difference: Difference
    epochs: int | None = None  # of training in all, that the reference had
    singles: tuple[float, ...] = ()  # the difference of each seed

    @property
    def verdict(self) -> str | None:
        """Return `higher`, `lower` or `not shown`; None without an interval."""
        return self.difference.verdict


Runs = Mapping[int, Run]
"""Runs by seed."""


@dataclass(frozen=True)
class Group:
    """All seeds of one method at one sparsity."""

    method: str
    role: str
    sparsity: float
    runs: tuple[Run, ...]
    against: Mapping[str, Against] = field(default_factory=dict)
    metric: Column = TOP1

    @property
    def values(self) -> dict[int, float]:
        """Return seed to value in %, of the cells that are done."""
        return {r.seed: r.value for r in self.runs if r.status == "done" and r.value is not None}

    @property
    def summary(self) -> Summary | None:
        """Return mean and interval in %, of the cells that are done, or None."""
        bounds = (0.0, 100.0) if self.metric.unit == "%" else (-math.inf, math.inf)
        return summary(list(self.values.values()), step=self.step, bounds=bounds)

    @property
    def step(self) -> float:
        """Return what one test image more or less changes, in %; 0 for other metrics."""
        images = self.first("test_images") if self.metric.per_image else None
        return 100 / images if images else 0.0

    def having(self, status: str) -> list[Run]:
        """Return the runs with this status."""
        return [r for r in self.runs if r.status == status]

    @property
    def sound(self) -> bool:
        """Return whether something is done and nothing collapsed or diverged, as a verdict needs."""
        return bool(self.values) and not any(self.having(status) for status in BROKEN)

    def first(self, column: str) -> Any:
        """Return the value of a column in the first run that has one; None where none has."""
        return next((r.row[column] for r in self.runs if r.row.get(column) is not None), None)

    @property
    def epochs(self) -> tuple[int, int] | None:
        """Return training epochs before and after the first cut; None before any cell is done."""
        before, after = self.first("epochs_before"), self.first("epochs_after")
        return None if before is None or after is None else (int(before), int(after))


def measured(group: Group) -> list[Run]:
    """Return the runs that have a measure record, whatever became of them."""
    return [run for run in group.runs if run.status in ("done", *BROKEN)]


def absent(value: Any) -> bool:
    """Return whether a table's value is missing (None, NaN or pandas' NA)."""
    from pandas import isna

    return bool(isna(value))


def groups_of(frame: pd.DataFrame, *, metric: Column = TOP1) -> list[Group]:
    """Return the groups of a frame in its order, compared by seed with each of REFERENCES.

    `metric` is a column of the frame. The intervals against each reference hold together.
    """
    runs_by_group: dict[tuple[str, str, float], list[Run]] = {}
    for row in frame.to_dict("records"):
        key = (str(row["method"]), str(row["role"]), float(row["sparsity_requested"]))
        clean = {str(k): None if absent(v) else v for k, v in row.items()}
        runs_by_group.setdefault(key, []).append(_run(clean, metric.name))
    plain = [Group(*key, tuple(runs), metric=metric) for key, runs in runs_by_group.items()]
    return _compared(plain)


def arms(groups: Iterable[Group], role: str) -> list[str]:
    """Return the names of the methods with this role, in order."""
    return list(dict.fromkeys(g.method for g in groups if g.role == role))


def sparsities(groups: Iterable[Group]) -> list[float]:
    """Return the requested sparsities of the pruned groups, ascending."""
    return sorted({g.sparsity for g in groups if g.role == "pruned"})


def _run(row: Mapping[str, Any], metric: str) -> Run:
    value = None if row[metric] is None else float(row[metric])
    notes = tuple(n for n in str(row["notes"] or "").split(NOTE_BREAK) if n)
    key, dense_key, extra_key = (str(row[name] or "") for name in ("key", "dense_key", "extra_key"))
    return Run(int(row["seed"]), value, str(row["status"]), notes, key, dense_key, extra_key, row)


def _compared(plain: list[Group]) -> list[Group]:
    done = {r.key: r for g in plain for r in g.runs if r.status == "done"}
    extra = _extra_by_epochs(plain)
    runs_for: dict[str, Callable[[Group], Runs]] = {
        "dense": lambda group: _at(done, {r.seed: r.dense_key for r in group.runs}),
        "dense_extra": lambda group: _at(done, _extra_keys(done, extra, group)),
        "random": lambda group: _random(plain, group),
        "shuffled": lambda group: _shuffled(plain, group),
    }
    against: dict[int, dict[str, Against]] = {}
    for name in REFERENCES:
        for index, comparison in _family(plain, name, runs_for[name]).items():
            against.setdefault(index, {})[name] = comparison
    return [replace(group, against=against.get(i, {})) for i, group in enumerate(plain)]


def _family(plain: list[Group], reference: str, runs_for: Callable[[Group], Runs]) -> dict[int, Against]:
    """Return every group that can be compared with one reference, by its index, as one family."""
    found: dict[int, tuple[Pair, int | None]] = {}
    for index, group in enumerate(plain):
        runs = runs_for(group) if group.role == "pruned" and group.sound else {}
        baseline = {seed: run.value for seed, run in runs.items() if run.value is not None}
        if group.values.keys() & baseline.keys():
            whose = tuple(sorted(run.key for run in runs.values()))
            pair = Pair(group.sparsity, group.method, whose, group.values, baseline)
            found[index] = pair, _total(next(iter(runs.values())))
    step = max((plain[i].step for i in found), default=0.0)
    differences = compared([pair for pair, _ in found.values()], step=step, together=True)
    return {
        i: Against(reference, difference, epochs, tuple(pair.differences))
        for (i, (pair, epochs)), difference in zip(found.items(), differences, strict=True)
        if difference is not None
    }


def _at(done: Mapping[str, Run], keys: Mapping[int, str]) -> Runs:
    """Return the runs, by seed, of the cells with these keys that are done."""
    return {seed: done[key] for seed, key in keys.items() if key in done}


def _total(run: Run) -> int | None:
    epochs = run.row.get("epochs")
    return None if epochs is None else int(epochs)


def _extra_by_epochs(plain: list[Group]) -> dict[tuple[int, int | None], str]:
    """Return the first dense control of each seed and total number of epochs, by its key."""
    keys: dict[tuple[int, int | None], str] = {}
    for run in (r for g in plain if g.role == "dense_extra" for r in g.runs):
        keys.setdefault((run.seed, _total(run)), run.key)
    return keys


def _extra_keys(
    done: Mapping[str, Run], extra: Mapping[tuple[int, int | None], str], group: Group
) -> dict[int, str]:
    """Return the dense control with the same training: the planner's, or dense itself, or another as long."""
    keys = {}
    for run in group.runs:
        epochs = _total(run)
        if run.extra_key:
            keys[run.seed] = run.extra_key
        elif epochs is not None and run.dense_key in done and epochs == _total(done[run.dense_key]):
            keys[run.seed] = run.dense_key
        elif epochs is not None and (run.seed, epochs) in extra:
            keys[run.seed] = extra[run.seed, epochs]
    return keys


def _random(plain: list[Group], group: Group) -> Runs:
    """Return the random control at the same sparsity: the one as long trained, with the same choices."""
    if group.role != "pruned" or group.first("criterion") == "random":
        return {}
    same = [g for g in plain if g.role == "pruned" and g.sparsity == group.sparsity]
    controls = [g for g in same if g.first("criterion") == "random" and g.sound]
    choices = ("epochs", "cuts", "epochs_before", "granularity", "scope", "schedule", "recovery")
    ranked = sorted(controls, key=lambda g: [g.first(c) != group.first(c) for c in choices])
    return _done(ranked[0]) if ranked else {}


def _shuffled(plain: list[Group], group: Group) -> Runs:
    """Return its own masks shuffled in each layer, at the same sparsity."""
    arms = (g for g in plain if g.first("arm") == "shuffle" and g.sparsity == group.sparsity and g.sound)
    return next((_done(g) for g in arms if g.first("of") == group.method), {})


def _done(group: Group) -> Runs:
    return {r.seed: r for r in group.runs if r.status == "done" and r.value is not None}


def mean_of(group: Group, column: str) -> float | None:
    """Return the mean of a column over the runs that were measured."""
    values = [run.row.get(column) for run in group.runs]
    known = [float(value) for value in values if value is not None]
    return statistics.fmean(known) if known else None
