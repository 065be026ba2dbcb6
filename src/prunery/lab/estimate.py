"""What a plan will take: steps and epochs, and seconds where records of the same network tell the pace."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from prunery.lab.plan import Plan, Step
from prunery.lab.record import Record


@dataclass(frozen=True)
class Estimate:
    """Of a plan, given the steps that a store has."""

    steps: Mapping[str, int]
    """Steps of each kind."""
    cached: Mapping[str, int]
    """Those of them that the store has."""
    epochs: int
    """Epochs of training in all."""
    epochs_todo: int
    """Epochs that are left to train."""
    unshared_epochs: int
    """Epochs if every cell were trained by itself."""
    seconds: float | None
    """Processor seconds that are left, or None where no record tells."""


def estimate(plan: Plan, cached: Collection[str], records: Iterable[Record]) -> Estimate:
    """What the plan's steps will take, and how much of it is done."""
    todo = [step for key, step in plan.steps.items() if key not in cached]
    return Estimate(
        steps=Counter(step.kind for step in plan.steps.values()),
        cached=Counter(step.kind for key, step in plan.steps.items() if key in cached),
        epochs=plan.epochs(),
        epochs_todo=sum(step.epochs for step in todo),
        unshared_epochs=plan.unshared_epochs(),
        seconds=_seconds(todo, records),
    )


def _seconds(todo: Iterable[Step], records: Iterable[Record]) -> float | None:
    """The sum over the steps of what such steps took: per epoch for training, per step for the rest."""
    spent: dict[tuple[str, ...], float] = defaultdict(float)
    amount: dict[tuple[str, ...], float] = defaultdict(float)
    for record in records:
        pace = alike(record)
        spent[pace] += record.cost.get("seconds", 0.0)
        amount[pace] += record.cost.get("epochs", 1) or 1
    total = 0.0
    for step in todo:
        pace = alike(step)
        if amount[pace]:
            total += spent[pace] / amount[pace] * (step.epochs or 1)
        elif step.epochs:
            return None
    return total


def alike(step: Step | Record) -> tuple[str, ...]:
    """What steps have in common that take equally long."""
    training = step.args.get("training", {})
    choice = step.args.get("criterion", "")
    criterion = choice["name"] if isinstance(choice, Mapping) else choice
    kind = "train" if training else step.kind
    data = [str(step.args.get(name) or "") for name in ("data", "classes", "images")]
    return (kind, step.args["model"], *data, str(training.get("batch", "")), str(criterion))
