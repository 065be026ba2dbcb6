"""The factors of a study: in which choices its methods differ, and which of them differ in one alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from prunery.core.criteria import criterion
from prunery.core.granularity import granularity
from prunery.core.schedule import schedule
from prunery.core.scope import scope
from prunery.lab.spec import from_plain
from prunery.lab.spec_parts import Method
from prunery.train.recovery import recovery
from prunery.train.settings import current_names

MOST_LEVELS = 8  # of a factor: a name that differs for every method is none
_AXES = ("criterion", "granularity", "scope", "schedule", "recovery")
_REGISTRIES = dict(zip(_AXES, (criterion, granularity, scope, schedule, recovery), strict=True))


@dataclass(frozen=True)
class Setting:
    """A method's value of a factor; usual: whether it is what the method's other choices bring along."""

    value: str
    usual: bool = False

    def matches(self, other: Setting) -> bool:
        """Return whether two methods do the same here: the same value, or each what is usual for it."""
        return self.value == other.value or (self.usual and other.usual)


Settings = Mapping[str, Setting]


@dataclass(frozen=True)
class Factor:
    """A factor, its levels in order of appearance, and its contexts: methods by level, otherwise alike.

    equal_epochs: whether they are alike in their epochs of training in all, not in those after each cut.
    """

    name: str
    levels: tuple[str, ...]
    contexts: tuple[Mapping[str, str], ...]
    equal_epochs: bool = False


def factors_of(spec: Mapping[str, Any]) -> list[Factor]:
    """Return the factors in which methods of a spec differ with all else alike."""
    if not spec.get("methods"):
        return []
    methods = {m.name: _settings(m) for m in from_plain(spec).compared}
    names = list(dict.fromkeys(name for settings in methods.values() for name in settings))
    found = [_factor(name, methods) for name in names]
    found += [_factor("schedule", methods, ignored=("training.epochs",))]
    return [factor for factor in found if factor is not None]


def _factor(name: str, methods: Mapping[str, Settings], ignored: Sequence[str] = ()) -> Factor | None:
    values = {m: s[name].value for m, s in methods.items() if name in s}
    contexts: dict[frozenset[str], dict[str, str]] = {}
    for first in values:
        context: dict[str, str] = {}
        for other, value in values.items():
            alike = other == first or _alike(methods[first], methods[other], name, ignored)
            if alike and (other == first or value != values[first]):
                context.setdefault(value, other)
        if len(context) > 1:
            contexts.setdefault(frozenset(context.values()), context)
    whole = [c for methods, c in contexts.items() if not any(methods < others for others in contexts)]
    levels = tuple(dict.fromkeys(value for context in whole for value in context))
    if not whole or len(levels) > MOST_LEVELS:
        return None
    return Factor(name, levels, tuple(whole), bool(ignored))


def _alike(one: Settings, other: Settings, but: str, ignored: Sequence[str]) -> bool:
    """Return whether two methods are alike in all but a factor, its own options, and what is ignored."""
    nothing = Setting("", usual=True)
    names = [n for n in {**one, **other} if n != but and not n.startswith(f"{but}.") and n not in ignored]
    return all(one.get(n, nothing).matches(other.get(n, nothing)) for n in names)


def _settings(method: Method) -> dict[str, Setting]:
    """Return a method's settings by factor; the options of a choice are factors of their own."""
    given = {"criterion": method.criterion, "granularity": method.granularity}
    plain, usual = _plain(method), _plain(Method.model_validate(given))
    made: dict[str, Setting] = {}
    for axis in _AXES:
        choices = plain[axis] if isinstance(plain[axis], list) else [plain[axis]]
        brought = axis not in ("criterion", "granularity") and plain[axis] == usual[axis]
        made[axis] = Setting(" + ".join(map(_name, choices)), usual=brought)
        for choice in choices:
            made |= _options(axis, choice, usual=brought)
    made |= {"at": Setting(method.at, usual=method.at == usual["at"])}
    made |= {"exclude": Setting(", ".join(method.exclude), usual=list(method.exclude) == usual["exclude"])}
    return made | {"floor": Setting(f"{method.floor:g}")}


def _plain(method: Method) -> dict[str, Any]:
    """Return a method as plain data, its schedule by name where it is the criterion's own."""
    plain = method.model_dump(mode="json", by_alias=True)
    plain["schedule"] = plain["schedule"] or method.bound_schedule().name
    return plain


def _name(choice: Any) -> str:
    return str(choice["name"]) if isinstance(choice, Mapping) else str(choice)


def _options(axis: str, choice: Any, *, usual: bool) -> dict[str, Setting]:
    """Return the options of a choice, defaults included, and the settings of a retraining as `training.NAME`.

    The levels of a schedule are those that it is measured at, and no choice of their own.
    """
    given = dict(choice) if isinstance(choice, Mapping) else {"name": choice}
    known = _REGISTRIES[axis]
    defaults = known[str(given["name"])].options if given["name"] in known else {}
    options = {k: v for k, v in {**defaults, **given}.items() if k not in ("name", "training", "levels")}
    made = {f"{axis}.{k}": _setting(v, usual or v == defaults.get(k)) for k, v in options.items()}
    training = current_names(given.get("training") or {})
    return made | {f"training.{k}": _setting(v, usual) for k, v in training.items()}


def _setting(value: Any, usual: bool) -> Setting:
    return Setting(f"{value:g}" if isinstance(value, float) else str(value), usual)
