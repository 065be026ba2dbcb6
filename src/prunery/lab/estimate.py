"""What a plan will take: steps, epochs, seconds and bytes, as far as records or a trial tell."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from prunery.lab.plan import Plan, Step, plan
from prunery.lab.record import Record
from prunery.lab.spec import Spec

Group = tuple[str, ...]

MASK_SHARE = 1 / 32
"""Of the bytes of a network's weights, what its masks take: one bit for a float of 32."""


@dataclass(frozen=True)
class Trial:
    """What a few training steps and a few evaluation batches told on this machine, by the key of a step.

    seconds: what the step will take. bytes: of the weights of its network.
    """

    seconds: Mapping[str, float]
    bytes: Mapping[str, int]


@dataclass
class Rates:
    """Seconds per epoch of steps alike (per step of those that do not train), and bytes of networks."""

    spent: dict[Group, float] = field(default_factory=lambda: defaultdict(float))
    amount: dict[Group, float] = field(default_factory=lambda: defaultdict(float))
    sizes: dict[Group, int] = field(default_factory=dict)

    @staticmethod
    def of_records(records: Iterable[Record]) -> Rates:
        """Return the rates that records tell."""
        rates = Rates()
        for record in records:
            group = alike(record)
            rates.spent[group] += record.cost.get("seconds", 0.0)
            rates.amount[group] += record.cost.get("epochs", 1) or 1
            if (size := record.number("bytes_dense")) is not None:
                rates.sizes[_network(record)] = int(size.value)
        return rates

    def unknown(self, steps: Iterable[Step]) -> list[Step]:
        """Return one step of each group that trains at an unknown rate, with one measurement of each network.

        Empty where every training's rate is known.
        """
        trains: dict[Group, Step] = {}
        measures: dict[Group, Step] = {}
        for step in steps:
            if step.epochs and not self.amount[alike(step)]:
                trains.setdefault(alike(step), step)
            elif step.kind == "measure" and not self.amount[alike(step)]:
                measures.setdefault(alike(step), step)
        return [*trains.values(), *measures.values()] if trains else []

    def learn(self, steps: Iterable[Step], trial: Trial) -> None:
        """Add what a trial of steps told."""
        for step in steps:
            if step.key in trial.seconds:
                self.spent[alike(step)] = trial.seconds[step.key]
                self.amount[alike(step)] = step.epochs or 1
            if step.key in trial.bytes:
                self.sizes[_network(step)] = trial.bytes[step.key]

    def seconds(self, steps: Iterable[Step]) -> float | None:
        """Return the processor seconds that the steps take, or None where a training's rate is unknown.

        Steps that do not train, of a kind of which nothing is known, count as nothing.
        """
        total = 0.0
        for step in steps:
            group = alike(step)
            if self.amount[group]:
                total += self.spent[group] / self.amount[group] * (step.epochs or 1)
            elif step.epochs:
                return None
        return total

    def bytes(self, steps: Iterable[Step]) -> int | None:
        """Return the bytes of weights and masks that the steps keep; None where a network's are unknown."""
        total = 0.0
        for step in steps:
            if not (share := _kept(step)):
                continue
            if _network(step) not in self.sizes:
                return None
            total += share * self.sizes[_network(step)]
        return round(total)


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
    """Processor seconds that are left, or None where nothing tells."""
    bytes: int | None = None
    """Bytes of weights and masks that are left to keep, or None where nothing tells."""


def estimate(plan: Plan, cached: Collection[str], rates: Rates) -> Estimate:
    """Return what the plan's steps will take at these rates, and how much of it is done."""
    todo = [step for key, step in plan.steps.items() if key not in cached]
    return Estimate(
        steps=Counter(step.kind for step in plan.steps.values()),
        cached=Counter(step.kind for key, step in plan.steps.items() if key in cached),
        epochs=plan.epochs(),
        epochs_todo=sum(step.epochs for step in todo),
        unshared_epochs=plan.unshared_epochs(),
        seconds=rates.seconds(todo),
        bytes=rates.bytes(todo),
    )


def control_epochs(spec: Spec, planned: Plan) -> int:
    """Return the epochs of training that `controls: []` would leave out of a spec's plan."""
    if not spec.controls:
        return 0
    without = plan(spec.model_copy(update={"controls": ()})).steps
    return sum(step.epochs for key, step in planned.steps.items() if key not in without)


def alike(step: Step | Record) -> Group:
    """Return what steps have in common that take equally long."""
    training = step.args.get("training", {})
    choice = step.args.get("criterion", "")
    criterion = choice["name"] if isinstance(choice, Mapping) else choice
    kind = "train" if training else step.kind
    data = [str(step.args.get(name) or "") for name in ("data", "classes", "images")]
    speed = (str(training.get("batch", "")), str(training.get("precision", "float32")))
    return (kind, step.args["model"], *data, *speed, str(criterion))


def _network(step: Step | Record) -> Group:
    return tuple(str(step.args.get(name) or "") for name in ("model", "data", "classes"))


def _kept(step: Step) -> float:
    """Return the bytes that a step keeps, as a share of its network's weights."""
    weights, masks = float(step.kind in ("init", "train", "recover")), 0.0
    if step.kind == "prune":
        weights, masks = float(step.epochs > 0), MASK_SHARE
    elif step.kind == "recover":
        masks = MASK_SHARE
    return weights + masks
