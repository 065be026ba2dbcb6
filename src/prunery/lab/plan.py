"""From a spec to the steps that answer it: pure and instant, no torch, no disk.

    init ─▶ train ─▶ prune ─▶ recover ─▶ measure        at: trained
      └───────────▶ prune ─▶ recover ─▶ measure         at: init
                      ▲         └── and on to the next prune, for schedules that recover between cuts

A step's key is a hash of its kind, the kind's meaning number, its arguments and its parents' keys, so equal
work has one key in every study: the dense network is trained once per seed, iterative chains share their
beginnings, and a second study finds what the first one did. Arguments at their default do not enter the key;
where a store lies and how many workers run are no arguments.

A step starts from the model of its first parent. A recover step that resets weights to their initial values
has the init step as its second parent.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from prunery.lab.method import Method, plain
from prunery.lab.record import canonical
from prunery.lab.spec import Spec
from prunery.table import Choice
from prunery.train.settings import Training

Kind = Literal["init", "train", "prune", "recover", "measure"]
Role = Literal["pruned", "dense", "dense_extra"]

# Raised by hand when a kind's results change for equal arguments: old records are then not found any more.
MEANING: dict[Kind, int] = {"init": 1, "train": 2, "prune": 1, "recover": 2, "measure": 1}

# A released default never changes: these do not enter the key.
DEFAULTS: dict[str, Any] = {
    "threads": 1,
    "validation": 0.1,
    "granularity": "weight",
    "scope": "global",
    "schedule": "one_shot",
    "exclude": [],
    "floor": 0.0,
    "reset": "nothing",
    "phase": 0,
}


@dataclass(frozen=True)
class Step:
    """One piece of work: its key, kind, arguments and the keys of the steps it starts from."""

    key: str
    kind: Kind
    args: Mapping[str, Any]
    parents: tuple[str, ...]

    @property
    def epochs(self) -> int:
        """The epochs of training that the step asks for."""
        return int(self.args.get("training", {}).get("epochs", 0))


@dataclass(frozen=True)
class Cell:
    """One measured number of the study, for one seed: a method at a sparsity, or a control.

    key: its measure step. path: the steps from init to it. dense: the dense network's measure step of the
    same seed. extra: the measure step of dense with the same extra training, or "" where there is none.
    """

    method: str
    role: Role
    sparsity: float
    seed: int
    key: str
    path: tuple[str, ...]
    dense: str
    extra: str = ""


@dataclass(frozen=True)
class Plan:
    """The steps of a study by key, parents first, and its cells."""

    study: str
    steps: Mapping[str, Step]
    cells: tuple[Cell, ...]

    def epochs(self) -> int:
        """The epochs of training of all steps together."""
        return sum(step.epochs for step in self.steps.values())

    def unshared_epochs(self) -> int:
        """The epochs it would take if every cell were trained by itself."""
        return sum(self.steps[key].epochs for cell in self.cells for key in cell.path)


def plan(spec: Spec) -> Plan:
    """The plan of a study; its controls are added: dense, and dense with each recovery's training."""
    building = _Building(spec)
    for seed in spec.seeds:
        building.add_seed(seed)
    return Plan(spec.name, building.steps, tuple(building.cells))


def key_of(kind: Kind, args: Mapping[str, Any], parents: tuple[str, ...]) -> str:
    """The step's key: 16 hex digits of sha256 over its kind, meaning, arguments and parents."""
    content = [kind, MEANING[kind], _without_defaults(args), list(parents)]
    return hashlib.sha256(canonical(content).encode()).hexdigest()[:16]


def _without_defaults(args: Mapping[str, Any]) -> dict[str, Any]:
    kept = {k: v for k, v in args.items() if k not in DEFAULTS or v != DEFAULTS[k]}
    if "training" in kept:
        fields = Training.model_fields
        kept["training"] = {k: v for k, v in kept["training"].items() if _settled(v) != fields[k].default}
    return kept


def _settled(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


@dataclass(frozen=True)
class _Extra:
    """What a control is trained after (or instead of) the dense training."""

    training: Training
    rounds: int
    from_start: bool

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
        for method in self.spec.methods:
            for sparsity in self.spec.sparsities_of(method):
                path = self._path(method, sparsity, seed, (init, train))
                extra = self._extra(method, sparsity, seed, (init, train), dense)
                self._cell(method.name, "pruned", seed, path, sparsity=sparsity, dense=dense, extra=extra)

    def _path(self, method: Method, sparsity: float, seed: int, trained: tuple[str, ...]) -> tuple[str, ...]:
        path = trained[:1] if method.at == "init" else trained
        recovery, training = method.after_cut(), self.spec.training_of(method)
        first = len(path) - 1  # trainings that the network has behind it
        for number, (level, schedule) in enumerate(_cuts(method, sparsity)):
            cut = {**self._task(seed), **_choices(method), "schedule": schedule, "sparsity": level}
            path += (self._step("prune", cut, path[-1:]),)
            if recovery.train:
                parents = (path[-1], trained[0]) if recovery.reset == "init" else path[-1:]
                path += (
                    self._train(
                        "recover", parents, training, seed=seed, phase=first + number, reset=recovery.reset
                    ),
                )
        return path

    def _extra(self, method: Method, sparsity: float, seed: int, trained: tuple[str, ...], dense: str) -> str:
        """The control that is trained as long as the method's network but never pruned; "" if dense is it."""
        extra = _extra_of(method, sparsity, self.spec.training_of(method), self.spec.task.training)
        if extra is None:
            return ""
        path = trained
        for number in range(extra.rounds):
            parents, reset = (
                ((*path[-1:], trained[0]), "init") if extra.from_start else (path[-1:], "nothing")
            )
            path += (
                self._train("recover", parents, extra.training, seed=seed, phase=1 + number, reset=reset),
            )
        if path not in self.measured:
            self.measured[path] = self._cell(
                self._name(extra, method), "dense_extra", seed, path, dense=dense
            )
        return self.measured[path]

    def _name(self, extra: _Extra, method: Method) -> str:
        if extra not in self.names:
            name = extra.name()
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
    ) -> str:
        key = self._step("measure", self._task(seed), path[-1:])
        self.cells.append(Cell(method, role, sparsity, seed, key, (*path, key), dense or key, extra))
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
        args = {**self._task(seed), "training": training.model_dump(mode="json"), "phase": phase}
        return self._step(kind, args | ({"reset": reset} if kind == "recover" else {}), parents)

    def _base(self, seed: int) -> dict[str, Any]:
        task = self.spec.task
        return {"model": task.model, "data": task.data, "seed": seed, "threads": self.spec.threads}

    def _task(self, seed: int) -> dict[str, Any]:
        return {**self._base(seed), "validation": self.spec.task.validation}

    def _step(self, kind: Kind, args: Mapping[str, Any], parents: tuple[str, ...]) -> str:
        key = key_of(kind, args, parents)
        self.steps.setdefault(key, Step(key, kind, args, parents))
        return key


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
