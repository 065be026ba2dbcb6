"""What the records of a cell's path say beside its numbers: cuts, floor, device, how training ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from prunery.lab.plan import Cell, Plan, Step
    from prunery.lab.record import Record
    from prunery.report.results.frame import Records

UNKNOWN = "device not recorded"
_KINDS = {"cuts": "Int64", "threads": "Int64", "floor": "float64", "train_rise": "float64"}
_KINDS |= {
    "train_fall": "float64",
    "images": "Int64",
    "classes": "Int64",
    "learning_rate": "float64",
    "batch": "Int64",
}
_LAST = 0.1  # the part of a training's epochs that says whether it still moves


def with_facts(frame: pd.DataFrame, plan: Plan, store: Records) -> pd.DataFrame:
    """The frame with one more column per fact; columns that it has already stay as they are.

    cuts: prune steps on the path. at: where the first one is made, "init" or "trained". floor: the least
    density of any layer at the last cut. optimizer, learning_rate (its highest), batch: of the last training.
    images, classes: how many of the training images and classes were used, where not all. threads, device: of
    all steps with a cost. train_rise (points of train top-1 per epoch) and train_fall (nats of train loss per
    epoch): over the last tenth of the last training's epochs.
    """
    import pandas as pd

    known: dict[str, Record] = {}
    for key in {key for cell in plan.cells for key in cell.path}:
        if store.has(key):
            known[key] = store.record(key)
    rows = pd.DataFrame([_facts(plan, cell, known) for cell in plan.cells], index=frame.index)
    typed = rows.astype({name: kind for name, kind in _KINDS.items() if name in rows})
    return frame.join(typed[[c for c in typed.columns if c not in frame.columns]])


def _place(steps: Sequence[Step]) -> str:
    kinds = [step.kind for step in steps]
    return "" if "prune" not in kinds else "trained" if "train" in kinds[: kinds.index("prune")] else "init"


def _facts(plan: Plan, cell: Cell, known: Mapping[str, Record]) -> dict[str, Any]:
    steps = [plan.steps[key] for key in cell.path]
    cuts = [step for step in steps if step.kind == "prune"]
    trainings = [step for step in steps if "training" in step.args]
    records = [known[key] for key in cell.path if key in known]
    last = trainings[-1].args["training"] if trainings else {"optimizer": ""}
    rise, fall = _movement(known.get(trainings[-1].key)) if trainings else (None, None)
    return {
        "cuts": len(cuts),
        "at": _place(steps),
        "floor": cuts[-1].args.get("floor", 0.0) if cuts else None,
        **{name: last.get(name) for name in ("optimizer", "learning_rate", "batch")},
        **{name: steps[-1].args.get(name) for name in ("images", "classes")},
        "threads": _threads(steps),
        "device": ", ".join(_devices(records)) if len(records) == len(steps) else "",
        "train_rise": rise,
        "train_fall": fall,
    }


def _threads(steps: Sequence[Step]) -> int:
    return int(steps[-1].args.get("threads", 1))


def _devices(records: Sequence[Record]) -> list[str]:
    """The names of the devices that the path's costs were measured on."""
    timed = [r.environment for r in records if r.cost.get("seconds")]
    return list(dict.fromkeys(str(e.get("device_name") or UNKNOWN) for e in timed))


def _movement(record: Record | None) -> tuple[float | None, float | None]:
    """How much train top-1 rose (points) and train loss fell (nats) per epoch at the end of a training."""
    rows = record.tables.get("epochs", []) if record else []
    if len(rows) < 2:
        return None, None
    span = max(1, round(_LAST * len(rows)))
    first, last = rows[-1 - span], rows[-1]
    if not (first["train_total"] and last["train_total"]):
        return None, None
    rise = 100 * (last["train_correct"] / last["train_total"] - first["train_correct"] / first["train_total"])
    return rise / span, (first["train_loss"] - last["train_loss"]) / span
