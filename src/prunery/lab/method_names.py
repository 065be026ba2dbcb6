"""The shortest words that tell a study's methods apart: `magnitude`, `magnitude, lr 0.01`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from prunery.core.criteria import criterion
from prunery.core.granularity import granularity
from prunery.core.scope import scope
from prunery.lab.actions import NONE
from prunery.lab.spec_parts import Method
from prunery.registry import Choice

LONGEST = 80  # characters, as `Method.name` allows
_BRIEF = {"learning_rate": "lr", "lr_schedule": "rate"}
_PLACES = {"init": "before training", "trained": "after training"}


def shortest(methods: Sequence[Method]) -> tuple[str, ...]:
    """Return each method's name: its own, or its criterion and in what others of that criterion differ.

    Where that is not enough, the name is made from all choices.
    """
    if all("name" in method.model_fields_set for method in methods):
        return tuple(method.name for method in methods)  # as in every stored spec: no row is looked up
    words = [_words(method) for method in methods]
    names = []
    for method, own in zip(methods, words, strict=True):
        kin = [w for m, w in zip(methods, words, strict=True) if m.criterion.name == method.criterion.name]
        parts = [text for key, text in own.items() if any(other.get(key) != text for other in kin)]
        short = ", ".join([method.criterion.name, *filter(None, parts)])
        names.append(method.name if "name" in method.model_fields_set else short)
    twice = {name for name, times in Counter(names).items() if times > 1}
    whole = (m.name if name in twice else name for m, name in zip(methods, names, strict=True))
    return tuple(name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…" for name in whole)


def _words(method: Method) -> dict[str, str]:
    """Return what a name can say of each choice and option; empty where it is the usual one."""
    found = _options("criterion", method.criterion)
    usual = criterion[method.criterion.name].facts.get("at", "trained")
    units = method.granularity
    found |= {"granularity": "" if units.name == "weight" else f"{units.name}s", **_options("units", units)}
    usual_scope = scope.bind(granularity[units.name].facts.get("scope", "global"))
    if method.scope != Choice(usual_scope.name, usual_scope.given):
        found |= {"scope": method.scope.name, **_options("scope", method.scope)}
    if method.schedule is not None:
        found |= {"schedule": method.schedule.name.replace("_", "-"), **_options("cuts", method.schedule)}
    after = [choice.name for choice in method.recovery if choice != Choice("finetune")]
    found["recovery"] = (
        "not retrained"
        if method.recovery == (NONE,)
        else " + ".join(name for name in after if name != "finetune")
    )
    for choice in method.recovery:
        found |= _options(choice.name, choice)
    found["at"] = "" if method.at == usual else _PLACES[method.at]
    return found | {"floor": f"floor {100 * method.floor:g} %" if method.floor else ""}


def _options(what: str, choice: Choice) -> dict[str, str]:
    """Return each option in words, those of a training by themselves."""
    flat: dict[str, Any] = {}
    for name, value in choice.options.items():
        flat |= value if isinstance(value, Mapping) else {name: value}
    return {f"{what}.{name}": _option(name, value) for name, value in flat.items()}


def _option(name: str, value: Any) -> str:
    if isinstance(value, list | tuple):
        value = f"{value[0]} to {value[-1]}" if value else "none"
    return f"{value} {name}" if name in ("epochs", "rounds") else f"{_BRIEF.get(name, name)} {value}"
