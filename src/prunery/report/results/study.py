"""A study as a report needs it: its spec and plan, its records read once, its cells and groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from prunery.errors import StoreError
from prunery.lab.archive import Archive, plan_of
from prunery.lab.plan import Plan
from prunery.lab.store import Store
from prunery.report.results import published, validity
from prunery.report.results.columns import COLUMNS, TOP1, Column, columns_of_rungs
from prunery.report.results.effects import Effect, effects_of
from prunery.report.results.frame import frame
from prunery.report.results.groups import ABSENT, Group, groups_of
from prunery.report.results.published import Published
from prunery.report.results.user_columns import columns_of

if TYPE_CHECKING:
    import pandas as pd

    from prunery.lab.failure import Failure
    from prunery.lab.record import Record


Source = Store | Archive
Wanted = str | Sequence[str] | None
"""One study, several, or all of a store."""


class Kept:
    """A store's records as they are at this moment: each is read once, and never changes under a report."""

    def __init__(self, store: Source) -> None:
        self._store = store
        self._records: dict[str, Record | None] = {}
        self._failures: dict[str, Failure | None] = {}

    def has(self, key: str) -> bool:
        """Return whether the step is there, whole."""
        if key not in self._records:
            self._records[key] = self._store.record(key) if self._store.has(key) else None
        return self._records[key] is not None

    def record(self, key: str) -> Record:
        """Return the step's record."""
        record = self._records[key] if self.has(key) else None
        return self._store.record(key) if record is None else record

    def failed(self, key: str) -> Failure | None:
        """Return why the step failed, or None."""
        if key not in self._failures:
            self._failures[key] = self._store.failed(key)
        return self._failures[key]


@dataclass(frozen=True)
class Loaded:
    """One study of a store, as its records are now."""

    name: str
    spec: Mapping[str, Any]
    plan: Plan
    store: Kept
    frame: pd.DataFrame
    columns: tuple[Column, ...] = COLUMNS

    @cached_property
    def groups(self) -> list[Group]:
        """Return the cells' groups under top-1 accuracy on test."""
        return self.groups_by(TOP1)

    def groups_by(self, metric: Column) -> list[Group]:
        """Return the cells' groups under a metric; they are made once."""
        if metric.name not in self._groups:
            self._groups[metric.name] = groups_of(self.frame, metric=metric)
        return self._groups[metric.name]

    @cached_property
    def _groups(self) -> dict[str, list[Group]]:
        return {}

    @cached_property
    def effects(self) -> list[Effect]:
        """Return what each factor of the study changes in top-1 accuracy on test."""
        return effects_of(self.spec, self.groups)

    @cached_property
    def published(self) -> list[Published]:
        """Return the published values that belong beside them."""
        return published.rows(self.name, self.frame)

    def has(self, column: str) -> bool:
        """Return whether the frame has a value in this column."""
        return column in self.frame.columns and bool(self.frame[column].notna().any())

    def places(self) -> int:
        """Return how many devices and numbers of threads the done cells' seconds come from; 1 if not told."""
        known = [c for c in ("device", "threads") if c in self.frame.columns]
        done = self.frame[self.frame["status"] == "done"]
        return max(1, len(done[known].drop_duplicates())) if known else 1

    @property
    def statuses(self) -> tuple[str, ...]:
        """Return what became of each cell, in the plan's order."""
        return tuple(map(str, self.frame["status"]))

    @property
    def complete(self) -> bool:
        """Return whether every cell has a record."""
        return not set(ABSENT) & set(self.statuses)


def load(store: Source, name: str, columns: Sequence[str] = ()) -> Loaded:
    """Return the study of that name, with `columns` of the user's own, each written `module:row`.

    StoreError if there is no such study, or if a cell's MACs cannot be. ChoiceError if there is no such row.
    """
    asked = columns_of(columns)
    spec = store.study(name)
    made, kept = plan_of(store, name), Kept(store)
    validity.check(made, kept)
    every = (*COLUMNS, *columns_of_rungs(made), *asked)
    return Loaded(name, spec, made, kept, frame(made, kept, every), every)


def names(store: Source, study: Wanted = None) -> list[str]:
    """Return the studies to report: those asked for, or all; StoreError if there is none."""
    asked = store.studies() if study is None else [study] if isinstance(study, str) else study
    wanted = list(asked)
    if not wanted:
        raise StoreError(f"a report of {store.root}", "no study ran there yet", "run one: prunery run SPEC")
    return wanted
