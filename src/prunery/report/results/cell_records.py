"""One cell of a plan with the records of its path, and what they say together: what columns read."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

from prunery.lab.actions import choice_in

if TYPE_CHECKING:
    from prunery.lab.failure import Failure
    from prunery.lab.plan import Cell, Plan, Step
    from prunery.lab.record import Number, Record

NOTE_BREAK = " | "
NO_PATH = "no path from input to output is left, so it cannot learn"
UNKNOWN = "device not recorded"
_LAST = 0.1  # the part of a training's epochs that says whether it still moves


class Records(Protocol):
    """What a report needs of a store."""

    def has(self, key: str) -> bool:
        """Return whether the step is there, whole."""
        ...

    def record(self, key: str) -> Record:
        """Return the step's record."""
        ...

    def failed(self, key: str) -> Failure | None:
        """Return why the step failed, or None."""
        ...


@dataclass(frozen=True)
class CellRecords:
    """One cell and the records of its path, from init to its measure step; None where a step has none.

    before: the measure record between the last cut and what follows it. rungs: those after the actions of its
    recovery, by action. unfinished: the status and the reason of a cell without a measure record.
    """

    study: str
    cell: Cell
    steps: tuple[Step, ...]
    records: tuple[Record | None, ...]
    before: Record | None
    rungs: Mapping[str, Record | None]
    unfinished: tuple[str, str] | None

    @property
    def measured(self) -> Record | None:
        """Return the record of its measure step."""
        return self.records[-1]

    def number(self, name: str, split: str | None = None) -> Number | None:
        """Return the measured number of that name and split, or None."""
        return None if self.measured is None else self.measured.number(name, split)

    def value(self, name: str, split: str | None = None) -> float | None:
        """Return the value of the measured number of that name and split, in its unit, or None."""
        return value_of(self.measured, name, split)

    @cached_property
    def cuts(self) -> list[Step]:
        """Return the steps that prune."""
        return [step for step in self.steps if step.kind == "prune"]

    @property
    def cuts_made(self) -> int:
        """Return how many cuts were made: one a step, and as many as its record says of one that trains."""
        pruned = (record for step, record in self._pairs() if step.kind == "prune")
        return sum(int(value_of(record, "cuts") or 1) for record in pruned)

    def choice(self, axis: str) -> str:
        """Return the name of the last cut's choice on an axis; empty where nothing is cut."""
        choice = self.cuts[-1].args.get(axis) if self.cuts else ""
        return str(choice["name"]) if isinstance(choice, Mapping) else str(choice or "")

    @property
    def recovery(self) -> str:
        """Return what followed a cut: none, retrained, norms estimated, or the actions' names."""
        recovered = [step for step in self.steps if step.kind == "recover"]
        if any(step.epochs for step in recovered):
            return "retrained"
        names = dict.fromkeys(choice_in(step.args).name for step in recovered)
        return ", ".join("norms estimated" if name == "bn" else name for name in names) or "none"

    def achieved(self, name: str) -> float | None:
        """Return a number of the last cut's record; None where nothing is cut, or that is not done."""
        cuts = [record for record in self._done if record.kind == "prune"]
        return value_of(cuts[-1], name) if cuts and self.measured is not None else None

    def spent(self, name: str) -> float | None:
        """Return a cost, summed along the path; None for a cell that is not done.

        Building and measuring a network is no part of its cost.
        """
        if len(self._done) < len(self.records):
            return None
        return sum(r.cost.get(name, 0) for r in self._done if r.kind not in ("init", "measure"))

    def epochs(self, *, before: bool) -> float | None:
        """Return the epochs of training before the first cut, or those since; None as for `spent`."""
        spent = self.spent("epochs")
        if spent is None:
            return None
        first = sum(r.cost.get("epochs", 0) for r in self._done if r.kind == "train")
        return first if before else spent - first

    @property
    def top1_max(self) -> float | None:
        """Return the best top-1 on test, in %, of any epoch of the last training at its own sparsity."""
        last = max((i for i, step in enumerate(self.steps) if step.kind == "prune"), default=0)
        trained = [r for step, r in list(self._pairs())[last:] if _trains(step)]
        return value_of(trained[-1], "top1_max", "test") if trained and self.measured else None

    @property
    def place(self) -> str:
        """Return where the first cut is made: "init", "trained", or "" where nothing is cut."""
        kinds = [step.kind for step in self.steps]
        return (
            "" if "prune" not in kinds else "trained" if "train" in kinds[: kinds.index("prune")] else "init"
        )

    def training(self, name: str) -> Any:
        """Return a setting of the last training; None where there is none."""
        trainings = [step.args["training"] for step in self.steps if _trains(step)]
        return trainings[-1].get(name) if trainings else None

    def setting(self, name: str) -> str:
        """Return a setting of the last training as text; empty where there is none."""
        return str(self.training(name) or "")

    @property
    def pretrained(self) -> str:
        """Return the digest of the weights that the dense training started from; empty where it drew them."""
        return next((str(step.args["weights"]) for step in self.steps if "weights" in step.args), "")

    @property
    def device(self) -> str:
        """Return the devices that its costs were measured on; empty for a cell that is not done."""
        if len(self._done) < len(self.records):
            return ""
        timed = [r.environment for r in self._done if r.cost.get("seconds")]
        return ", ".join(dict.fromkeys(str(e.get("device_name") or UNKNOWN) for e in timed))

    @cached_property
    def movement(self) -> tuple[float | None, float | None]:
        """Return how much train top-1 rose (points) and train loss fell (nats) per epoch at the very end."""
        trained = [record for step, record in self._pairs() if _trains(step)]
        rows = trained[-1].tables.get("epochs", []) if trained and trained[-1] else []
        if len(rows) < 2:
            return None, None
        span = max(1, round(_LAST * len(rows)))
        first, last = rows[-1 - span], rows[-1]
        if not (first["train_total"] and last["train_total"]):
            return None, None
        rise = last["train_correct"] / last["train_total"] - first["train_correct"] / first["train_total"]
        return 100 * rise / span, (first["train_loss"] - last["train_loss"]) / span

    @cached_property
    def ending(self) -> tuple[str, str]:
        """Return its status, with what its trainings, its last cut and its measure step noted.

        A training that diverged counts if it is the last one: a later one may have started afresh.
        """
        if self.unfinished is not None:
            return self.unfinished
        assert self.measured is not None
        trainings = [r for r in self._done if r.kind in ("train", "recover") or "training" in r.args]
        cuts = [r for r in self._done if r.kind == "prune"]
        notes = [note for r in (*trainings, *cuts[-1:], self.measured) for note in r.notes]
        if cuts and self.value("params_effective") == 0:
            notes.append(NO_PATH)
        values = [self.value(name, "test") for name in ("top1", "loss")]
        diverged = any(v is None or not math.isfinite(v) for v in values)
        diverged |= any(note.startswith("diverged") for r in trainings[-1:] for note in r.notes)
        status = "diverged" if diverged else "collapsed" if self.measured.notes else "done"
        return status, NOTE_BREAK.join(dict.fromkeys(notes))

    def _pairs(self) -> Iterator[tuple[Step, Record | None]]:
        return zip(self.steps, self.records, strict=True)

    @cached_property
    def _done(self) -> list[Record]:
        return [record for record in self.records if record is not None]


def cell_records(plan: Plan, store: Records) -> Iterator[CellRecords]:
    """Return the cells of a plan with their records, in the plan's order; each record is read once."""
    known: dict[str, Record | None] = {"": None}
    dense_paths = {cell.key: set(cell.path) for cell in plan.cells if cell.role == "dense"}

    def record(key: str) -> Record | None:
        if key not in known:
            known[key] = store.record(key) if store.has(key) else None
        return known[key]

    for cell in plan.cells:
        records = tuple(map(record, cell.path))
        shared = set() if cell.role == "dense" else dense_paths.get(cell.dense, set())
        steps = tuple(plan.steps[key] for key in cell.path)
        unfinished = None if records[-1] else _unfinished(steps, store, records, shared)
        rungs = {label: record(key) for label, key in cell.rungs}
        yield CellRecords(plan.study, cell, steps, records, record(cell.before), rungs, unfinished)


def value_of(record: Record | None, name: str, split: str | None = None) -> float | None:
    """Return the value of a record's number of that name and split, in its unit, or None."""
    number = None if record is None else record.number(name, split)
    return None if number is None else number.value


def _unfinished(
    steps: Sequence[Step], store: Records, records: Sequence[Record | None], shared: set[str]
) -> tuple[str, str]:
    """Return why a cell has no record, as status and reason."""
    for step, record in zip(steps, records, strict=True):
        failure = None if record is not None else store.failed(step.key)
        if failure is not None:
            reason = f"its {step.kind} step {step.key} failed: {failure.reason}"
            return "blocked" if step.key in shared else "failed", reason.replace(NOTE_BREAK, " ")
    return "missing", "no record yet"


def _trains(step: Step) -> bool:
    return "training" in step.args
