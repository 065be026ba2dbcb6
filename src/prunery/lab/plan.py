"""From a spec to the steps that answer it: pure and instant, no torch, no disk.

    init ─▶ train ─▶ prune ─▶ recover ─▶ measure        at: trained
      └───────────▶ prune ─▶ recover ─▶ measure         at: init
                      ▲         └── and on to the next prune, for schedules that recover between cuts

Equal work has one key in every study: the dense network is trained once per seed, iterative chains share
their beginnings, and a second study finds what the first one did.

A step starts from the model of its first parent. A recover step that resets weights to their initial values
has the init step as its second parent; a cut of a sanity arm has the cut that it is held against.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from prunery.lab.spec import Spec
from prunery.lab.spec_parts import Method, plain
from prunery.lab.step import Cell, Kind, Plan, Role, Step, key_of
from prunery.registry import Choice
from prunery.train.settings import Training

__all__ = ["Cell", "Kind", "Plan", "Role", "Step", "key_of", "plan"]

ARMS = {"shuffle": "shuffled in each layer", "reinit": "re-initialised", "invert": "inverted"}
"""What tables add to a method's name for each sanity arm (Frankle et al. 2021, section 5)."""


def plan(spec: Spec) -> Plan:
    """The plan of a study; its controls are added.

    Dense, and dense with each recovery's training; and what `Spec.controls` names.
    """
    building = _Building(spec)
    for seed in spec.seeds:
        building.add_seed(seed)
    return Plan(spec.name, building.steps, tuple(building.cells))


@dataclass(frozen=True)
class _Extra:
    """What a control is trained after (or instead of) the dense training."""

    training: Training
    rounds: int
    from_start: bool

    def epochs(self, dense: int) -> int:
        """All that it is trained for, where dense has so many behind it."""
        return self.training.epochs if self.from_start else dense + self.rounds * self.training.epochs

    def name(self) -> str:
        """What tables call the control."""
        if self.from_start:
            return f"dense, {self.training.epochs} epochs"
        times = f"{self.rounds}×" if self.rounds > 1 else ""
        return f"dense + {times}{self.training.epochs} epochs"


@dataclass
class _Building:
    """A plan while it grows."""

    spec: Spec
    steps: dict[str, Step] = field(default_factory=dict)
    cells: list[Cell] = field(default_factory=list)
    names: dict[_Extra, str] = field(default_factory=dict)
    measured: dict[tuple[str, ...], str] = field(default_factory=dict)  # controls: path -> measure step

    def add_seed(self, seed: int) -> None:
        """The controls and every method at every sparsity, for one seed."""
        init = self._step("init", self._base(seed), ())
        train = self._train("train", (init,), self.spec.task.training, seed=seed, phase=0)
        dense = self._cell("dense", "dense", seed, (init, train))
        for method in self.spec.compared:
            for sparsity in self.spec.sparsities_of(method):
                path = self._path(method, sparsity, seed, (init, train))
                extra = self._extra(method, sparsity, seed, (init, train), dense)
                before = self._before(method, path, seed)
                at: dict[str, Any] = {"sparsity": sparsity, "dense": dense, "extra": extra}
                self._cell(method.name, "pruned", seed, path, before=before, **at)
                for arm in _arms(self.spec, method):
                    name = f"{method.name} ({ARMS[arm]})"
                    other = self._path(method, sparsity, seed, (init, train), arm=arm, like=path)
                    self._cell(name, "sanity", seed, other, of=method.name, arm=arm, **at)
        self._as_long(seed, init, dense)

    def _path(
        self,
        method: Method,
        sparsity: float,
        seed: int,
        trained: tuple[str, ...],
        *,
        arm: str | None = None,
        like: Sequence[str] = (),
    ) -> tuple[str, ...]:
        """The steps of a method's cell; with `arm`, those of that sanity arm of the cell with path `like`."""
        path = trained[:1] if method.at == "init" else trained
        originals = [key for key in like if self.steps[key].kind == "prune"]
        if arm == "reinit":  # the method's own last masks, on fresh weights
            phase = len(path) - 2 + len(originals)
            path = tuple(like[: like.index(originals[-1]) + 1])
            return path + self._recovered(method, path[-1], trained[0], arm, seed=seed, phase=phase)
        first = len(path) - 1  # trainings that the network has behind it
        for number, (level, schedule) in enumerate(_cuts(method, sparsity)):
            cut = {**self._task(seed), **_choices(method), "schedule": schedule, "sparsity": level}
            if arm is not None:
                path += (self._step("prune", cut | {"sanity": arm}, (path[-1], originals[number])),)
            else:
                path += (self._step("prune", cut, path[-1:]),)
            path += self._recovered(method, path[-1], trained[0], arm, seed=seed, phase=first + number)
        return path

    def _recovered(
        self, method: Method, cut: str, init: str, arm: str | None, *, seed: int, phase: int
    ) -> tuple[str, ...]:
        """What follows a cut: one step, or none."""
        recovery = method.after_cut()
        if recovery.estimate:
            return (self._step("recover", self._task(seed) | {"estimate": True}, (cut,)),)
        if not recovery.train:
            return ()
        reset = "reinit" if arm == "reinit" else recovery.reset
        parents = (cut, init) if reset == "init" else (cut,)
        training = self.spec.training_of(method)
        return (self._train("recover", parents, training, seed=seed, phase=phase, reset=reset),)

    def _before(self, method: Method, path: tuple[str, ...], seed: int) -> str:
        """The measure step between the last cut and its recovery, if the spec asks for one."""
        if not self.spec.before_recovery or self.steps[path[-1]].kind != "recover":
            return ""
        return self._step("measure", self._measured(seed), path[-2:-1])

    def _extra(self, method: Method, sparsity: float, seed: int, trained: tuple[str, ...], dense: str) -> str:
        """The control that is trained as long as the method's network but never pruned; "" if dense is it."""
        extra = _extra_of(method, sparsity, self.spec.training_of(method), self.spec.task.training)
        if extra is None:
            return ""
        path = trained
        if extra.from_start:
            path = (trained[0], self._train("train", trained[:1], extra.training, seed=seed, phase=0))
        else:
            for number in range(extra.rounds):
                path += (self._train("recover", path[-1:], extra.training, seed=seed, phase=1 + number),)
        if path not in self.measured:
            self.measured[path] = self._cell(
                self._name(extra, method), "dense_extra", seed, path, dense=dense
            )
        return self.measured[path]

    def _as_long(self, seed: int, init: str, dense: str) -> None:
        """Dense controls for what is pruned at init and trained longer than dense, where none is as long."""
        start = self.spec.task.training.epochs
        there = {start, *(extra.epochs(start) for extra in self.names)}
        for method in self.spec.compared:
            training = self.spec.training_of(method)
            if method.at == "trained" or not method.after_cut().train:
                continue
            for sparsity in self.spec.sparsities_of(method):
                epochs = len(_cuts(method, sparsity)) * training.epochs
                if epochs > start and epochs not in there:
                    there.add(epochs)
                    longer = training.model_copy(update={"epochs": epochs})
                    path = (init, self._train("train", (init,), longer, seed=seed, phase=0))
                    self._cell(f"dense, {epochs} epochs", "dense_extra", seed, path, dense=dense)

    def _name(self, extra: _Extra, method: Method) -> str:
        """Its name; that of a second one of as many epochs says which settings differ, or whose it is."""
        if extra not in self.names:
            name = extra.name()
            first = next((other for other, taken in self.names.items() if taken == name), None)
            if first is not None:
                name += f" ({_differing(extra.training, first.training) or f'as {method.name}'})"
            taken = name in self.names.values()
            self.names[extra] = f"{name} (as {method.name})" if taken else name
        return self.names[extra]

    def _cell(
        self,
        method: str,
        role: Role,
        seed: int,
        path: tuple[str, ...],
        *,
        sparsity: float = 0.0,
        dense: str = "",
        extra: str = "",
        before: str = "",
        of: str = "",
        arm: str = "",
    ) -> str:
        key = self._step("measure", self._measured(seed), path[-1:])
        self.cells.append(
            Cell(method, role, sparsity, seed, key, (*path, key), dense or key, extra, before, of, arm)
        )
        return key

    def _train(
        self,
        kind: Literal["train", "recover"],
        parents: tuple[str, ...],
        training: Training,
        *,
        seed: int,
        phase: int,
        reset: str = "nothing",
    ) -> str:
        args = {**self._task(seed), "training": training.stored(), "phase": phase}
        args["test_curves"] = self.spec.test_curves
        return self._step(kind, args | ({"reset": reset} if kind == "recover" else {}), parents)

    def _base(self, seed: int) -> dict[str, Any]:
        task = self.spec.task
        base = {"model": task.model, "data": task.data, "classes": task.classes}
        return {**base, "seed": seed, "threads": self.spec.threads}

    def _task(self, seed: int) -> dict[str, Any]:
        task = self.spec.task
        return {**self._base(seed), "validation": task.validation, "images": task.images}

    def _measured(self, seed: int) -> dict[str, Any]:
        return {**self._task(seed), "corruptions": list(self.spec.corruptions)}

    def _step(self, kind: Kind, args: Mapping[str, Any], parents: tuple[str, ...]) -> str:
        key = key_of(kind, args, parents)
        self.steps.setdefault(key, Step(key, kind, args, parents))
        return key


def _differing(training: Training, other: Training) -> str:
    """`learning rate 0.01, batch 64`: the settings in which a training differs from another."""
    mine, others = training.stored(), other.stored()
    return ", ".join(f"{k.replace('_', ' ')} {v}" for k, v in mine.items() if v != others[k])


def _arms(spec: Spec, method: Method) -> list[str]:
    """The sanity arms that mean something for a method: random pruning has no order, no training no start."""
    if method.criterion.name == "random":
        return []
    return [arm for arm in spec.arms if arm != "reinit" or method.after_cut().train]


def _extra_of(method: Method, sparsity: float, training: Training, dense: Training) -> _Extra | None:
    recovery = method.after_cut()
    if method.at == "init" or not recovery.train or training.epochs == 0:
        return None
    if recovery.reset == "nothing":
        return _Extra(training, len(_cuts(method, sparsity)), from_start=False)
    return None if training == dense else _Extra(training, 1, from_start=True)


def _choices(method: Method) -> dict[str, Any]:
    axes = {axis: plain(getattr(method, axis)) for axis in ("criterion", "granularity", "scope")}
    return {**axes, "exclude": list(method.exclude), "floor": method.floor}


def _cuts(method: Method, sparsity: float) -> list[tuple[float, Any]]:
    """The level and schedule of each prune step: one step a cut where recovery runs between cuts."""
    schedule = method.bound_schedule()
    if not schedule.facts["between"]:
        return [(sparsity, plain(Choice(schedule.name, schedule.given)))]
    return [(level, "one_shot") for level in method.levels(sparsity)]
