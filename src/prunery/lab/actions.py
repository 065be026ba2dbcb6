"""The actions of a recovery as a plan knows them: what each resets, trains and needs, and its arguments.

The steps of the library's own actions keep the arguments, and so the keys, that they have always had.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from prunery.errors import PruneryError, SpecError
from prunery.registry import Choice
from prunery.train.recovery import NEEDS, recovery
from prunery.train.settings import Training, current_names, merged, stored_names

NONE = Choice("none")
_RESETS = {"finetune": "nothing", "rewind": "init", "reinit": "reinit"}  # actions with today's arguments
_ANY = Training(epochs=1, optimizer="sgd", learning_rate=0.1)


class ElementError(SpecError):
    """What is wrong with one entry of a list; `place` says which."""

    def __init__(self, place: int, error: PruneryError) -> None:
        super().__init__(error.asked, error.found, error.do)
        self.place = place


@dataclass(frozen=True)
class Action:
    """One action of a recovery.

    resets: "nothing", or what the survivors' values are set back to first ("init", "reinit").
    needs: the further networks that it reads, "init" and "dense", in the order of its step's parents.
    training: the settings that differ from the study's training; None where it does not train.
    """

    choice: Choice
    resets: str
    needs: tuple[str, ...]
    training: Mapping[str, Any] | None

    @property
    def trains(self) -> bool:
        """Return whether a training phase is part of it."""
        return self.training is not None

    def without_reset(self) -> Action:
        """Return the action, or where it resets first, the one that only trains as it does then."""
        if self.resets == "nothing":
            return self
        assert self.training is not None
        return action_of(Choice("finetune", {"training": self.training} if self.training else {}))


def checked(value: Any) -> tuple[Choice, ...]:
    """Return the actions that `value` spells, an action or a list of them; SpecError if they cannot be."""
    if not isinstance(value, list | tuple):
        return (_checked(value),)
    if not value:
        raise SpecError("a list of actions", "it is empty", "name an action, or write recovery: none")
    choices = tuple(_element(place, entry) for place, entry in enumerate(value))
    if len(choices) > 1 and NONE in choices:
        raise SpecError(
            "a list of actions", "'none' is one of several", "leave it out: the list says all that happens"
        )
    return choices


def spelt(choices: Sequence[Choice]) -> Any:
    """Return the actions as a spec spells them: one by itself, several as a list."""
    spellings = [plain(choice) for choice in choices]
    return spellings[0] if len(spellings) == 1 else spellings


def plain(choice: Choice) -> str | dict[str, Any]:
    """Return the choice as a spec spells it: its name, or a mapping with its options."""
    return {"name": choice.name, **choice.options} if choice.options else choice.name


def action_of(choice: Choice) -> Action:
    """Return what a plan must know of the action that a checked choice names."""
    bound = recovery.bind(choice)
    facts = bound.facts
    trains = bool(facts.get("trains")) and bound.options.get("train", True) is not False
    return Action(
        choice=choice,
        resets=facts.get("resets", "nothing"),
        needs=needed(facts),
        training=(bound.options.get("training") or {}) if trains else None,
    )


def needed(facts: Mapping[str, Any]) -> tuple[str, ...]:
    """Return which further networks a row reads, "init" and "dense", in the order of its step's parents."""
    words = str(facts.get("needs", "")).split()
    return tuple(word for word in ("init", "dense") if word in words)


def arguments(action: Action, training: Training | None, *, phase: int) -> dict[str, Any]:
    """Return the arguments of the action's step, beside the task's.

    phase: the trainings behind it on its path, or for an action that does not train, the steps of recovery.
    """
    name, options = action.choice.name, {k: v for k, v in action.choice.options.items() if k != "training"}
    if name == "bn":
        return {"estimate": True}
    if name in _RESETS and training is not None:
        return {"training": training.stored(), "phase": phase, "reset": _RESETS[name]}
    settings = {} if training is None else {"training": training.stored()}
    return {"action": plain(Choice(name, options)), **settings, "phase": phase}


def choice_in(args: Mapping[str, Any]) -> Choice:
    """Return the action that the arguments of a recover step name."""
    if args.get("estimate"):
        return Choice("bn")
    if "action" in args:
        return Choice.parse(args["action"])
    return Choice(next(name for name, reset in _RESETS.items() if reset == args.get("reset", "nothing")))


def settings(training: Any, where: str) -> dict[str, Any]:
    """Return the settings of a training under the names that keys use; SpecError if they cannot be."""
    if not isinstance(training, Mapping):
        problem = f"it is {training!r}, not a mapping"
        raise SpecError(f"'training' of {where}", problem, "write training: {epochs: 5}")
    merged(_ANY, {n: None for n in current_names(training) if n not in Training.model_fields})
    return stored_names(training)


def label(choices: Sequence[Choice], place: int) -> str:
    """Return the short name of an action of a list; one that stands there before has its number behind it."""
    name = choices[place].name
    before = sum(choice.name == name for choice in choices[:place])
    return f"{name} ({before + 1})" if before else name


def _element(place: int, value: Any) -> Choice:
    try:
        return _checked(value)
    except PruneryError as error:
        raise ElementError(place, error) from error


def _checked(value: Any) -> Choice:
    bound = recovery.bind(value)
    if "check" in bound.facts:
        bound.facts["check"](bound.options)
    _check_needs(bound.name, bound.facts)
    given = {k: v for k, v in bound.given.items() if k != "training"}
    training = bound.options.get("training")
    if training is None:
        return Choice(bound.name, given)
    if bound.options.get("train", True) is False:
        problem = "'train' is false, so there is nothing to set"
        raise SpecError(f"'training' of recovery {bound.name!r}", problem, "leave one of the two out")
    return Choice(bound.name, given | {"training": settings(training, f"recovery {bound.name!r}")})


def _check_needs(name: str, facts: Mapping[str, Any]) -> None:
    for word in str(facts.get("needs", "")).split():
        if word not in NEEDS:
            raise SpecError(
                f"recovery {name!r}", f"its fact needs names {word!r}", f"use the words {', '.join(NEEDS)}"
            )
