"""What a plan knows of a method before it has a seed: its cuts, trainings, drafts of steps, its control."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from prunery.core.granularity import granularity
from prunery.lab.actions import Action, action_of, arguments, label, plain
from prunery.lab.spec import Spec
from prunery.lab.spec_parts import Method
from prunery.lab.step import Arguments, Draft
from prunery.registry import Choice
from prunery.train.settings import Training

ARMS = {"shuffle": "shuffled in each layer", "reinit": "re-initialised", "invert": "inverted"}
"""What tables add to a method's name for each sanity arm (Frankle et al. 2021, section 5)."""

BESIDE = {**ARMS, "scratch": "from scratch"}
"""The same, with what stands beside a method that leaves a smaller network (Liu et al. 2019, section 3)."""


@dataclass(frozen=True)
class Task:
    """The arguments that all steps of a study have, and drafts made from them."""

    base: Arguments
    whole: Arguments
    test_curves: bool
    weights: str | None  # the digest of those that the dense training starts from
    measure: Draft
    shipped: Draft  # measures what a method ends with
    drafts: dict[Any, Draft] = field(default_factory=dict)

    @staticmethod
    def of_spec(spec: Spec) -> Task:
        """Return the arguments that the spec gives to all of its steps."""
        task = spec.task
        base = Arguments(
            {
                "model": task.model,
                "data": task.data,
                "classes": task.classes,
                "seed": None,
                "threads": spec.threads,
            }
        )
        whole = Arguments({"validation": task.validation, "images": task.images}, beside=base)
        measured = {"corruptions": list(spec.corruptions), **_including(spec.included)}
        measuring = Arguments(measured, beside=whole)
        measure = measuring.draft("measure")
        forms = {"forms": list(spec.forms)}
        shipped = Arguments(forms, beside=measuring).draft("measure") if spec.forms else measure
        weights = task.weights.sha256 if task.weights else None
        return Task(base, whole, spec.test_curves, weights, measure, shipped)

    def dense(self, training: Training, *, weights: str | None = None) -> Draft:
        """Return the draft of a dense network's training, from initialisation or from weights."""
        at = ("train", training, weights)
        if at not in self.drafts:
            begun = {} if weights is None else {"weights": weights}
            self.drafts[at] = self._with({**self.trained(training, 0), **begun}).draft("train")
        return self.drafts[at]

    def trained(self, training: Training, phase: int) -> dict[str, Any]:
        """Return the arguments of a training after so many others."""
        return {"training": training.stored(), "phase": phase, "test_curves": self.test_curves}

    def _with(self, args: Mapping[str, Any]) -> Arguments:
        return Arguments(args, beside=self.whole)

    def recovering(self, action: Action, training: Training | None, phase: int) -> Draft:
        """Return the draft of an action's step; see `actions.arguments` for the phase."""
        args = arguments(action, training, phase=phase)
        if training is not None:
            reset = {"reset": args.pop("reset")} if "reset" in args else {}
            args |= {"test_curves": self.test_curves, **reset}
        return self._with(args).draft("recover")


def _including(patterns: Sequence[str] | None) -> dict[str, Any]:
    """Return the argument of patterns; none where there are none, so that older records keep their bytes."""
    return {"include": list(patterns)} if patterns else {}


@dataclass(eq=False)
class Following:
    """An action that follows a cut, with its training and its name, and its drafts by phase."""

    task: Task
    action: Action
    training: Training | None
    label: str = ""
    _drafts: dict[int, Draft] = field(default_factory=dict)

    def draft(self, phase: int) -> Draft:
        """Return the draft of its step."""
        if phase not in self._drafts:
            self._drafts[phase] = self.task.recovering(self.action, self.training, phase)
        return self._drafts[phase]


@dataclass(eq=False)
class Prepared:
    """A method of a study with what its paths are made of, worked out once for all seeds.

    during: the training that its cuts lie in, where the schedule has them inside one. actions, trainings: of
    its recovery, in order; None for an action that does not train.
    """

    method: Method
    task: Task
    actions: tuple[Action, ...]
    trainings: tuple[Training | None, ...]
    during: Training | None
    choices: Arguments
    _cuts: dict[float, list[tuple[float, Any]]] = field(default_factory=dict)
    _drafts: dict[Any, Draft] = field(default_factory=dict)
    _extras: dict[int, Extra | None] = field(default_factory=dict)

    @staticmethod
    def of_method(method: Method, spec: Spec, task: Task) -> Prepared:
        """Return the method of that study, prepared."""
        axes = {axis: plain(getattr(method, axis)) for axis in ("criterion", "granularity", "scope")}
        choices = {**axes, "exclude": list(method.exclude), "floor": method.floor}
        choices |= _including(method.include)
        return Prepared(
            method=method,
            task=task,
            actions=method.actions(),
            trainings=spec.trainings_of(method),
            during=spec.training_during(method),
            choices=Arguments(choices, beside=task.whole),
        )

    @property
    def trains(self) -> bool:
        """Return whether anything is trained during or after its cuts."""
        return self.during is not None or any(action.trains for action in self.actions)

    def cuts(self, sparsity: float) -> list[tuple[float, Any]]:
        """Return the level and schedule of each prune step: one a cut where recovery runs between cuts."""
        if sparsity not in self._cuts:
            schedule = self.method.bound_schedule()
            between = schedule.facts.get("between", False)
            spelling = plain(Choice(schedule.name, schedule.given))
            levels = [(level, "one_shot") for level in self.method.levels(sparsity)] if between else []
            self._cuts[sparsity] = levels or [(sparsity, spelling)]
        return self._cuts[sparsity]

    def cut(self, level: float, schedule: Any, *, phase: int, arm: str | None = None) -> Draft:
        """Return the draft of a cut, or of a sanity arm's; `phase` is the number of trainings behind it."""
        at = (level, str(schedule), phase if self.during else 0, arm)
        if at not in self._drafts:
            args: dict[str, Any] = {"schedule": schedule, "sparsity": level}
            if self.during is not None:
                args |= self.task.trained(self.during, phase)
            args |= {"sanity": arm} if arm else {}
            self._drafts[at] = Arguments(args, beside=self.choices).draft("prune")
        return self._drafts[at]

    def after_cut(self, arm: str | None = None) -> list[Following]:
        """Return what follows each cut; in the arm `reinit`, fresh weights first, which nothing sets back."""
        return self._fresh if arm == "reinit" else self._following

    @cached_property
    def _following(self) -> list[Following]:
        labels = [label(self.method.recovery, place) for place in range(len(self.actions))]
        listed = zip(self.actions, self.trainings, labels, strict=True)
        return [Following(self.task, *each) for each in listed]

    @cached_property
    def _fresh(self) -> list[Following]:
        kept = [f for f in self._following if f.action.resets == "nothing" or f.training is not None]
        kept = [Following(self.task, f.action.without_reset(), f.training) for f in kept]
        if self.during is not None:
            return [Following(self.task, action_of(Choice("reinit")), self.during), *kept]
        first, *others = kept
        if first.action.choice.name == "finetune":
            fresh = action_of(Choice("reinit", first.action.choice.options))
            return [Following(self.task, fresh, first.training), *others]
        return [Following(self.task, action_of(Choice("reinit", {"train": False})), None), *kept]

    def extra(self, sparsity: float, dense: Training) -> Extra | None:
        """Return what dense is trained with on top to be trained as long; None where dense is that itself."""
        rounds = len(self.cuts(sparsity))
        if rounds not in self._extras:
            self._extras[rounds] = self._extra(rounds, dense)
        return self._extras[rounds]

    def _extra(self, rounds: int, dense: Training) -> Extra | None:
        if self.method.at == "init":
            return None
        resets = [place for place, action in enumerate(self.actions) if action.resets != "nothing"]
        behind = [] if resets else [self.during]
        listed = [*behind, *self.trainings[resets[-1] if resets else 0 :]]
        trainings = tuple(t for t in listed if t is not None and t.epochs)
        if not trainings or (resets and trainings == (dense,) and self.task.weights is None):
            return None
        return Extra(trainings, 1 if resets else rounds, from_start=bool(resets))

    def epochs(self, sparsity: float) -> int:
        """Return the epochs of all trainings in and after its cuts."""
        each = sum(t.epochs for t in (self.during, *self.trainings) if t is not None)
        return each * len(self.cuts(sparsity))

    def arms(self, spec: Spec) -> list[str]:
        """Return the sanity arms that mean something: random pruning has no order, no training no start."""
        if self.method.criterion.name == "random":
            return []
        arms = [arm for arm in spec.arms if arm != "reinit" or self.trains]
        return [*arms, "scratch"] if self.removes and spec.controls else arms

    @property
    def removes(self) -> bool:
        """Return whether its units can be cut out, which leaves a smaller network."""
        return bool(granularity[self.method.granularity.name].facts.get("removable"))

    def from_scratch(self, sparsity: float, dense: Training) -> Following:
        """Return the training of a fresh network of the shape that is left: as long as the method trains."""
        epochs = self.epochs(sparsity) + (dense.epochs if self.method.at == "trained" else 0)
        training = dense.model_copy(update={"epochs": epochs or dense.epochs})
        return Following(self.task, action_of(Choice("scratch")), training)


@dataclass(frozen=True)
class Extra:
    """What a control is trained with after (or instead of) the dense training: rounds of trainings."""

    trainings: tuple[Training, ...]
    rounds: int
    from_start: bool

    def epochs(self, dense: int) -> int:
        """Return the epochs that it is trained for in all, where dense has so many behind it."""
        each = sum(training.epochs for training in self.trainings)
        return each if self.from_start else dense + self.rounds * each

    def name(self) -> str:
        """Return what tables call the control."""
        each = sum(training.epochs for training in self.trainings)
        if self.from_start:
            return f"dense, {each} epochs"
        times = f"{self.rounds}×" if self.rounds > 1 else ""
        return f"dense + {times}{each} epochs"


def differing(extra: Extra, other: Extra) -> str:
    """Return `learning rate 0.01, batch 64`: the settings in which one training differs from another."""
    if (len(extra.trainings), len(other.trainings)) != (1, 1):
        return ""
    mine, others = extra.trainings[0].stored(), other.trainings[0].stored()
    return ", ".join(f"{k.replace('_', ' ')} {v}" for k, v in mine.items() if v != others[k])


def longest(trainings: Sequence[Training | None]) -> Training:
    """Return the training with the most epochs, the first of equals."""
    return max((t for t in trainings if t is not None), key=lambda t: t.epochs)
