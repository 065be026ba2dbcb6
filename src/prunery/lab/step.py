"""What a plan is made of: steps with content keys (see `keys`), and the cells that they answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from prunery.lab.canonical import canonical
from prunery.lab.keys import DEFAULTS, MEANING, Kind, digest, training_without_defaults
from prunery.registry import is_dotted

Role = Literal["pruned", "dense", "dense_extra", "sanity"]

AXES = ("criterion", "granularity", "scope", "schedule", "action")
"""Arguments that name a row of a registry."""


@dataclass(frozen=True)
class Step:
    """One piece of work: its key, kind, arguments and the keys of the steps it starts from."""

    key: str
    kind: Kind
    args: Mapping[str, Any]
    parents: tuple[str, ...]

    @property
    def epochs(self) -> int:
        """Return the epochs of training that the step asks for."""
        return int(self.args.get("training", {}).get("epochs", 0))

    @property
    def rows(self) -> tuple[str, ...]:
        """Return the rows of a user's own, `package.module:row`, that its arguments name."""
        choices = (self.args.get(axis) for axis in AXES)
        names = (choice["name"] if isinstance(choice, Mapping) else choice for choice in choices)
        return tuple(name for name in names if name is not None and is_dotted(name))

    @property
    def weight(self) -> float:
        """Return what the step weighs beside others, in epochs: a little where it does not train."""
        return self.epochs or 0.2


@dataclass(frozen=True)
class Cell:
    """One measured number of the study, for one seed: a method at a sparsity, or a control.

    key: its measure step. path: the steps from init to it. dense: the dense network's measure step of the
    same seed. extra: the measure step of dense with the same extra training, or "" where there is none.
    before: the measure step between the last cut and what follows it, or "" where the spec asks for none.
    of, arm: for a sanity arm, the method that it was made from and which arm it is.
    rungs: of a recovery in several actions, what each but the last one leaves: its name and a measure step.
    """

    method: str
    role: Role
    sparsity: float
    seed: int
    key: str
    path: tuple[str, ...]
    dense: str
    extra: str = ""
    before: str = ""
    of: str = ""
    arm: str = ""
    rungs: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Plan:
    """The steps of a study by key, parents first, and its cells."""

    study: str
    steps: Mapping[str, Step]
    cells: tuple[Cell, ...]

    @property
    def names_code(self) -> bool:
        """Return whether any step depends on code of a user's own: a model, a data set or a row."""
        return any(
            step.rows or ":" in step.args["model"] or ":" in step.args["data"] for step in self.steps.values()
        )

    def epochs(self) -> int:
        """Return the epochs of training of all steps together."""
        return sum(step.epochs for step in self.steps.values())

    def unshared_epochs(self) -> int:
        """Return the epochs it would take if every cell were trained by itself."""
        return sum(self.steps[key].epochs for cell in self.cells for key in cell.path)


class Arguments:
    """Arguments that many steps have, their seed aside, with their texts in the steps' keys, written once."""

    def __init__(self, args: Mapping[str, Any], *, beside: Arguments | None = None) -> None:
        """Take `args` to those of `beside`; the seed's place is where `"seed": None` stands."""
        self.args: dict[str, Any] = {**beside.args, **args} if beside else dict(args)
        self._texts: dict[str, str] = dict(beside._texts) if beside else {}
        for name, value in args.items():
            if name in DEFAULTS and value == DEFAULTS[name]:
                self._texts.pop(name, None)
            elif name != "seed":
                self._texts[name] = f'"{name}":{_text(name, value)}'

    def draft(self, kind: Kind) -> Draft:
        """Return the steps of that kind with these arguments, whatever their seed and parents."""
        names = sorted(self._texts)
        before = ",".join([*(self._texts[name] for name in names if name < "seed"), '"seed":'])
        after = "".join(f",{self._texts[name]}" for name in names if name > "seed")
        return Draft(kind, self.args, f'["{kind}",{MEANING[kind]},{{{before}', after + "},[")


@dataclass(frozen=True, eq=False)
class Draft:
    """Steps that differ in their seed and parents alone; `head` and `tail` are the text of their keys."""

    kind: Kind
    args: Mapping[str, Any]
    head: str
    tail: str

    def step(self, seed: int, parents: tuple[str, ...]) -> Step:
        """Return the step of that seed with those parents; its key is that of `key_of`."""
        above = ",".join(f'"{parent}"' for parent in parents)
        key = digest(f"{self.head}{seed}{self.tail}{above}]]")
        return Step(key, self.kind, {**self.args, "seed": seed}, parents)


def _text(name: str, value: Any) -> str:
    if isinstance(value, Mapping):
        return canonical(training_without_defaults(value) if name == "training" else value)
    return _scalar(value) if isinstance(value, str | int | float) or value is None else canonical(value)


@lru_cache(maxsize=4096, typed=True)
def _scalar(value: Any) -> str:
    return canonical(value)
