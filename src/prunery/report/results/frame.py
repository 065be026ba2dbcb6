"""One row per cell of a plan: what was asked, what came out, what it cost, and what became of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from prunery.report.results.groups import NOTE_BREAK

if TYPE_CHECKING:
    import pandas as pd

    from prunery.lab.plan import Cell, Plan, Step
    from prunery.lab.record import Number, Record
    from prunery.lab.store import Failure

AXES = ("criterion", "granularity", "scope", "schedule")
SPLITS = ("test", "validation", "train")
COSTS = ("epochs", "samples", "training_macs", "scoring_macs", "seconds")
_COUNTS = ("kept", "total", "test_images", "macs_", "params_", "bytes_", "epochs", "samples", "seed")
_KEYS = ("key", "dense_key", "extra_key", "before_key")
_CELL = ("study", "model", "data", "method", "role", "of", "arm")
_TEXTS = (*_CELL, *AXES, "recovery", "status", "notes", *_KEYS)
NO_PATH = "no path from input to output is left, so it cannot learn"


class Records(Protocol):
    """What a report needs of a store."""

    def has(self, key: str) -> bool:
        """Whether the step is there, whole."""
        ...

    def record(self, key: str) -> Record:
        """The step's record."""
        ...

    def failed(self, key: str) -> Failure | None:
        """Why the step failed, or None."""
        ...


def frame(plan: Plan, store: Records) -> pd.DataFrame:
    """One row per cell, in the plan's order; cells without a record are rows too.

    Accuracies in %, losses in nats, MACs per example; `before_test_top1` and its like are those between the
    last cut and what follows it, where they were measured. `of`, `arm`: the method of a sanity arm, and which
    arm it is. Epochs, samples, training MACs, scoring MACs and seconds are sums over the trainings, cuts and
    recoveries of the cell's path from init. `status` is done, collapsed, diverged, failed (a step of its own
    failed), blocked (a step it shares with dense failed) or missing (no record, no failure).
    """
    import pandas as pd

    records: dict[str, Record | None] = {}
    dense_paths = {cell.key: set(cell.path) for cell in plan.cells if cell.role == "dense"}
    rows = []
    for cell in plan.cells:
        for key in cell.path:
            if key not in records:
                records[key] = store.record(key) if store.has(key) else None
        path = [records[key] for key in cell.path]
        before = store.record(cell.before) if cell.before and store.has(cell.before) else None
        shared = set() if cell.role == "dense" else dense_paths.get(cell.dense, set())
        row = _row(plan, cell, path, _unfinished(plan, cell, store, path, shared))
        rows.append(row | {f"before_{s}_top1": _value(before, "top1", s) for s in SPLITS})
    return _typed(pd.DataFrame(rows))


def _row(
    plan: Plan, cell: Cell, path: Sequence[Record | None], unfinished: tuple[str, str] | None
) -> dict[str, Any]:
    steps = [plan.steps[key] for key in cell.path]
    measured = path[-1]
    status, notes = unfinished or _ending(measured, path)
    row: dict[str, Any] = {
        "study": plan.study,
        "model": steps[0].args["model"],
        "data": steps[0].args["data"],
    }
    row |= {"method": cell.method, "role": cell.role, "of": cell.of, "arm": cell.arm, **_choices(steps)}
    row |= {"sparsity_requested": cell.sparsity, **_achieved(path), "seed": cell.seed}
    row |= _accuracies(measured) | _sizes(measured) | _costs(path)
    row |= {"test_top1_max": _value(_last_training(path), "top1_max", "test")}
    row |= {"seconds_test": measured.cost.get("seconds_test") if measured else None}
    row |= {"status": status, "notes": notes}
    return row | dict(zip(_KEYS, (cell.key, cell.dense, cell.extra, cell.before), strict=True))


def _choices(steps: Sequence[Step]) -> dict[str, str]:
    """The choices of the last cut, and whether training followed, as short names."""
    cuts = [step.args for step in steps if step.kind == "prune"]
    last: Mapping[str, Any] = cuts[-1] if cuts else {}
    recovered = [step for step in steps if step.kind == "recover"]
    trained = any(step.epochs for step in recovered)
    recovery = "retrained" if trained else "norms estimated" if recovered else "none"
    return {axis: _name(last.get(axis)) for axis in AXES} | {"recovery": recovery}


def _name(choice: Any) -> str:
    return str(choice["name"]) if isinstance(choice, Mapping) else str(choice or "")


def _achieved(path: Sequence[Record | None]) -> dict[str, float | None]:
    """Counts of the last cut; None where the cell is dense or that cut is not done."""
    cuts = [r for r in path if r is not None and r.kind == "prune"]
    last = cuts[-1] if cuts and path[-1] is not None else None
    return {name: _value(last, name) for name in ("sparsity_achieved", "kept", "total")}


def _accuracies(measured: Record | None) -> dict[str, float | None]:
    row = {}
    for split in SPLITS:
        for name in ("top1", "top5", "superclass_top1", "loss"):
            row[f"{split}_{name}"] = _value(measured, name, split)
    top1, top5 = (_number(measured, name, "test") for name in ("top1", "top5"))
    row |= {"chance_top1": top1.chance if top1 else None, "chance_top5": top5.chance if top5 else None}
    row |= {"test_corrupted_top1": _value(measured, "corrupted_top1", "test")}
    return row | {"test_images": top1.total if top1 else None}


def _last_training(path: Sequence[Record | None]) -> Record | None:
    """The training at the cell's own sparsity: what comes after its last cut; None where nothing does."""
    done = [r for r in path if r is not None and r.kind in ("train", "prune", "recover")]
    return done[-1] if done and path[-1] is not None and done[-1].kind != "prune" else None


def _sizes(measured: Record | None) -> dict[str, float | None]:
    kinds = ("dense", "kept", "effective")
    names = [f"{what}_{kind}" for what in ("macs", "params") for kind in kinds]
    names += [f"bytes_{kind}" for kind in ("dense", "zipped", "sparse")]
    return {name: _value(measured, name) for name in names}


def _costs(path: Sequence[Record | None]) -> dict[str, float | None]:
    """Sums along the path; None for a cell that is not done, whose sums would be of a part."""
    done = [r for r in path if r is not None]
    if len(done) < len(path):
        return dict.fromkeys(("epochs_before", "epochs_after", *COSTS))
    spent = [r for r in done if r.kind not in ("init", "measure")]  # to look at a network is none of its cost
    sums = {name: sum(r.cost.get(name, 0) for r in spent) for name in COSTS}
    before = sum(r.cost.get("epochs", 0) for r in done if r.kind != "recover")
    return {"epochs_before": before, "epochs_after": sums["epochs"] - before, **sums}


def _unfinished(
    plan: Plan, cell: Cell, store: Records, path: Sequence[Record | None], shared: set[str]
) -> tuple[str, str] | None:
    """Why a cell has no record, as status and reason; None if it has one."""
    if path[-1] is not None:
        return None
    for key, record in zip(cell.path, path, strict=True):
        failure = None if record is not None else store.failed(key)
        if failure is not None:
            reason = f"its {plan.steps[key].kind} step {key} failed: {failure.reason}"
            return "blocked" if key in shared else "failed", reason.replace(NOTE_BREAK, " ")
    return "missing", "no record yet"


def _ending(measured: Record | None, path: Sequence[Record | None]) -> tuple[str, str]:
    """The status of a measured cell, with what its trainings, its last cut and its measure step noted.

    A training that diverged counts if it is the last one: a later one may have started afresh.
    """
    assert measured is not None
    done = [r for r in path if r is not None]
    trainings = [r for r in done if r.kind in ("train", "recover")]
    cuts = [r for r in done if r.kind == "prune"]
    notes = [note for r in (*trainings, *cuts[-1:], measured) for note in r.notes]
    if cuts and _value(measured, "params_effective") == 0:
        notes.append(NO_PATH)
    values = [_value(measured, name, "test") for name in ("top1", "loss")]
    diverged = any(v is None or not math.isfinite(v) for v in values)
    diverged |= any(note.startswith("diverged") for r in trainings[-1:] for note in r.notes)
    status = "diverged" if diverged else "collapsed" if measured.notes else "done"
    return status, NOTE_BREAK.join(dict.fromkeys(notes))


def _number(record: Record | None, name: str, split: str | None = None) -> Number | None:
    return None if record is None else record.number(name, split)


def _value(record: Record | None, name: str, split: str | None = None) -> float | None:
    number = _number(record, name, split)
    return None if number is None else number.value


def _typed(table: pd.DataFrame) -> pd.DataFrame:
    """Counts as integers that may be missing, measures as floats, all else as text."""
    kinds = {}
    for column in map(str, table.columns):
        if column.startswith(_COUNTS):
            kinds[column] = "Int64"
        elif column not in _TEXTS:
            kinds[column] = "float64"
    return table.astype(kinds)
