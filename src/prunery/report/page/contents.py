"""What a page is made of, and the few ways in which all of its parts look at it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from prunery.report.figures.plots import COLOURS, LINES, RANDOM, Look, looks_of
from prunery.report.results.columns import COLUMNS, Column
from prunery.report.results.effects import Effect, effects_of
from prunery.report.results.groups import Group, Run
from prunery.report.results.published import Published
from prunery.report.text.published_tables import Pair, pairs

if TYPE_CHECKING:
    import pandas as pd

    from prunery.lab.plan import Plan
    from prunery.lab.record import Record
    from prunery.report.results.cell_records import Records


@dataclass(frozen=True)
class Study:
    """A study's records as the report has them.

    spec: as plain data. frame: of `results.frame.frame`, with these columns. groups: of
    `results.groups.groups_of`. published: rows with the fields of `results.published.Published`, of which
    `report` may be left out.
    """

    name: str
    spec: Mapping[str, Any]
    plan: Plan
    store: Records
    frame: pd.DataFrame
    groups: Sequence[Group]
    published: Sequence[Mapping[str, Any]] = ()
    columns: Sequence[Column] = COLUMNS

    @cached_property
    def effects(self) -> list[Effect]:
        """Return what each factor of the study changes in top-1 accuracy on test."""
        return effects_of(self.spec, self.groups)

    @property
    def task(self) -> Mapping[str, Any]:
        """Return the spec's task: model, data, training."""
        task: Mapping[str, Any] = self.spec.get("task", {})
        return task

    def has(self, column: str) -> bool:
        """Return whether the frame has a value in this column."""
        return column in self.frame.columns and bool(self.frame[column].notna().any())

    def record(self, key: str) -> Record | None:
        """Return the step's record, or None."""
        return self.store.record(key) if self.store.has(key) else None

    def pairs(self) -> list[Pair]:
        """Return the published values with our groups beside them."""
        return pairs(self.frame, [Published(**{"report": "without a name", **row}) for row in self.published])

    def places(self) -> int:
        """Return how many devices and numbers of threads the done cells' seconds come from; 1 if not told."""
        known = [c for c in ("device", "threads") if c in self.frame.columns]
        done = self.frame[self.frame["status"] == "done"]
        return max(1, len(done[known].drop_duplicates())) if known else 1

    def index(self, method: str, role: str, sparsity: float | None = None) -> int | None:
        """Return the place in `groups` of a method at a sparsity (its first for None), or None."""
        for place, group in enumerate(self.groups):
            if (group.method, group.role) == (method, role) and sparsity in (None, group.sparsity):
                return place
        return None


def measured(group: Group) -> list[Run]:
    """Return the runs that have a measure record, whatever became of them."""
    return [run for run in group.runs if run.status in ("done", "collapsed", "diverged")]


def series(study: Study) -> list[dict[str, Any]]:
    """Return the pruned methods with the colour, marker and line that `figures.plots` draws them in.

    slot: place in the palette, None for the random control, which is grey wherever it stands.
    """
    drawn = looks_of(study.groups).items()
    return [{"name": name, **_drawn(look)} for name, look in drawn]


def _drawn(look: Look) -> dict[str, Any]:
    if look == RANDOM:
        return {"slot": None, "marker": look.marker, "line": len(LINES)}
    return {"slot": COLOURS.index(look.colour), "marker": look.marker, "line": LINES.index(look.line)}
