"""From a spec to the steps that answer it: pure and instant, no torch, no disk.

    init ─▶ train ─▶ prune ─▶ recover ─▶ measure        at: trained
      └───────────▶ prune ─▶ recover ─▶ measure         at: init
                      ▲         └── and on to the next prune, for schedules that recover between cuts

Equal work has one key in every study: the dense network is trained once per seed, iterative chains share
their beginnings, and a second study finds what the first one did. A recovery in several actions is one step
an action. Cuts that lie inside a training are one prune step that trains.

A step starts from the model of its first parent. A recover step whose action needs the network at
initialisation, or the dense network, has the step that made it as a further parent; a cut of a sanity arm
has the cut that it is held against.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from prunery.lab.actions import Action, action_of
from prunery.lab.keys import Kind, key_of
from prunery.lab.plan_parts import ARMS, BESIDE, Extra, Following, Prepared, Task, differing, longest
from prunery.lab.spec import Spec
from prunery.lab.step import Cell, Draft, Plan, Role, Step
from prunery.registry import Choice
from prunery.train.settings import Training

__all__ = ["ARMS", "Cell", "Kind", "Plan", "Role", "Step", "key_of", "plan"]

FINETUNE = action_of(Choice("finetune"))


def plan(spec: Spec) -> Plan:
    """Return the plan of a study; its controls are added.

    Dense, and dense with each recovery's training; and what `Spec.controls` names.
    """
    building = _Building(spec, Task.of_spec(spec))
    for seed in spec.seeds:
        building.add_seed(seed)
    return Plan(spec.name, building.steps, tuple(building.cells))


@dataclass(frozen=True)
class _Seed:
    """What all paths of one seed start from: init and the dense training, and dense's measure step."""

    number: int
    init: str
    train: str
    dense: str = ""


@dataclass
class _Building:
    """A plan while it grows."""

    spec: Spec
    task: Task
    methods: list[Prepared] = field(default_factory=list)
    steps: dict[str, Step] = field(default_factory=dict)
    cells: list[Cell] = field(default_factory=list)
    names: dict[Extra, str] = field(default_factory=dict)
    measured: dict[tuple[str, ...], str] = field(default_factory=dict)  # controls: path -> measure step
    controls: dict[tuple[Extra, int], str] = field(default_factory=dict)
    made: dict[tuple[Draft, int, tuple[str, ...]], str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.methods = [Prepared.of_method(method, self.spec, self.task) for method in self.spec.compared]

    def add_seed(self, seed: int) -> None:
        """Add the controls and every method at every sparsity, for one seed."""
        init = self._step(self.task.base.draft("init"), seed, ())
        train = self._step(self.task.dense(self.spec.task.training, weights=self.task.weights), seed, (init,))
        at = _Seed(seed, init, train)
        at = _Seed(seed, init, train, self._cell("dense", "dense", at, (init, train)))
        for method in self.methods:
            for sparsity in self.spec.sparsities_of(method.method):
                self._add_cells(method, sparsity, at)
        self._as_long(at)

    def _add_cells(self, method: Prepared, sparsity: float, at: _Seed) -> None:
        """Add the cell of a method at a sparsity, its control, and its sanity arms."""
        name = method.method.name
        path, states = self._path(method, sparsity, at)
        about: dict[str, Any] = {"sparsity": sparsity, "extra": self._extra(method, sparsity, at)}
        beside = {"before": self._before(path, at), "rungs": self._rungs(states, at)}
        self._cell(name, "pruned", at, path, **about, **beside)
        for arm in method.arms(self.spec):
            arm_path = self._arm_path(method, sparsity, at, arm, path)
            self._cell(f"{name} ({BESIDE[arm]})", "sanity", at, arm_path, of=name, arm=arm, **about)

    def _path(
        self,
        method: Prepared,
        sparsity: float,
        at: _Seed,
        *,
        arm: str | None = None,
        originals: Sequence[str] = (),
    ) -> tuple[tuple[str, ...], list[tuple[str, str]]]:
        """Return the steps of a method's cell, and each action's label and step after its last cut.

        With `arm`, those of that sanity arm of a cell with the cuts `originals`.
        """
        path: tuple[str, ...] = (at.init,) if method.method.at == "init" else (at.init, at.train)
        phase = len(path) - 1  # the trainings behind it
        states: list[tuple[str, str]] = []
        for number, (level, schedule) in enumerate(method.cuts(sparsity)):
            parents = (path[-1], originals[number]) if arm else path[-1:]
            draft = method.cut(level, schedule, phase=phase, arm=arm)
            path += (self._step(draft, at.number, parents),)
            phase += method.during is not None
            states, phase = self._recovered(method, arm, path[-1], at, phase)
            path += tuple(key for _, key in states)
        return path, states

    def _arm_path(
        self, method: Prepared, sparsity: float, at: _Seed, arm: str, path: tuple[str, ...]
    ) -> tuple[str, ...]:
        """Return the steps of a sanity arm of the cell with that path."""
        cuts = [key for key in path if self.steps[key].kind == "prune"]
        if arm not in ("reinit", "scratch"):
            return self._path(method, sparsity, at, arm=arm, originals=cuts)[0]
        before = path[: path.index(cuts[-1]) + 1]  # the method's own last masks, on fresh weights
        phase = sum("training" in self.steps[key].args for key in before[:-1])
        if arm == "scratch":
            draft = method.from_scratch(sparsity, self.spec.task.training).draft(phase)
            return (*before, self._step(draft, at.number, (cuts[-1],)))
        return before + tuple(key for _, key in self._recovered(method, arm, cuts[-1], at, phase)[0])

    def _recovered(
        self, method: Prepared, arm: str | None, cut: str, at: _Seed, phase: int
    ) -> tuple[list[tuple[str, str]], int]:
        """Return what follows a cut, a step an action with its label, and the trainings behind the last."""
        states: list[tuple[str, str]] = []
        for done, following in enumerate(method.after_cut(arm)):
            trains = following.training is not None
            draft = following.draft(phase if trains else done)
            cut = self._step(draft, at.number, (cut, *self._needed(following.action, at)))
            states.append((following.label, cut))
            phase += trains
        return states, phase

    def _needed(self, action: Action, at: _Seed) -> tuple[str, ...]:
        """Return the steps that made the further networks that an action reads."""
        made = {"init": at.init, "dense": at.train}
        return tuple(made[word] for word in action.needs)

    def _rungs(self, states: Sequence[tuple[str, str]], at: _Seed) -> tuple[tuple[str, str], ...]:
        """Return a measure step for what each action but the last one leaves."""
        return tuple((label, self._step(self.task.measure, at.number, (key,))) for label, key in states[:-1])

    def _before(self, path: tuple[str, ...], at: _Seed) -> str:
        """Return the measure step between the last cut and its recovery, if the spec asks for one."""
        cut = next(key for key in reversed(path) if self.steps[key].kind == "prune")
        if not self.spec.before_recovery or cut == path[-1]:
            return ""
        return self._step(self.task.measure, at.number, (cut,))

    def _extra(self, method: Prepared, sparsity: float, at: _Seed) -> str:
        """Return the control that is trained as long and not pruned; "" if dense itself is it."""
        extra = method.extra(sparsity, self.spec.task.training)
        if extra is None:
            return ""
        if (extra, at.number) not in self.controls:
            path = self._trained_on(extra, at)
            if path not in self.measured:
                self.measured[path] = self._cell(self._name(extra, method), "dense_extra", at, path)
            self.controls[extra, at.number] = self.measured[path]
        return self.controls[extra, at.number]

    def _trained_on(self, extra: Extra, at: _Seed) -> tuple[str, ...]:
        trainings = extra.trainings * extra.rounds
        path: tuple[str, ...] = (at.init, at.train)
        if extra.from_start:
            path = (at.init, self._step(self.task.dense(trainings[0]), at.number, (at.init,)))
            trainings = trainings[1:]
        following = {training: Following(self.task, FINETUNE, training) for training in extra.trainings}
        for phase, training in enumerate(trainings, start=1):
            path += (self._step(following[training].draft(phase), at.number, path[-1:]),)
        return path

    def _as_long(self, at: _Seed) -> None:
        """Dense controls for what is pruned at init and trained longer than dense, where none is as long."""
        start = 0 if self.task.weights else self.spec.task.training.epochs
        there = {start, *(extra.epochs(start) for extra in self.names)}
        for method in self.methods:
            if method.method.at == "trained" or not method.trains:
                continue
            training = longest((method.during, *method.trainings))
            for sparsity in self.spec.sparsities_of(method.method):
                epochs = method.epochs(sparsity)
                if epochs > start and epochs not in there:
                    there.add(epochs)
                    self._dense_for(epochs, training, at)

    def _dense_for(self, epochs: int, training: Training, at: _Seed) -> None:
        longer = self.task.dense(training.model_copy(update={"epochs": epochs}))
        path = (at.init, self._step(longer, at.number, (at.init,)))
        self._cell(f"dense, {epochs} epochs", "dense_extra", at, path)

    def _name(self, extra: Extra, method: Prepared) -> str:
        """Return its name; a second one of as many epochs says which settings differ, or whose it is."""
        if extra not in self.names:
            name, whose = extra.name(), f"as {method.method.name}"
            first = next((other for other, taken in self.names.items() if taken == name), None)
            if first is not None:
                name += f" ({differing(extra, first) or whose})"
            taken = name in self.names.values()
            self.names[extra] = f"{name} ({whose})" if taken else name
        return self.names[extra]

    def _cell(self, method: str, role: Role, at: _Seed, path: tuple[str, ...], **about: Any) -> str:
        draft = self.task.shipped if role == "pruned" else self.task.measure
        key = self._step(draft, at.number, path[-1:])
        about = {"sparsity": 0.0, "dense": at.dense or key, **about}
        self.cells.append(Cell(method, role, seed=at.number, key=key, path=(*path, key), **about))
        return key

    def _step(self, draft: Draft, seed: int, parents: tuple[str, ...]) -> str:
        known = (draft, seed, parents)
        if known not in self.made:
            step = draft.step(seed, parents)
            self.steps.setdefault(step.key, step)
            self.made[known] = step.key
        return self.made[known]
