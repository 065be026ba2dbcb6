"""The one plug-in mechanism: a registry of named functions, each with its options and facts.

An option of a row is a keyword-only parameter of its function; its default is the option's default.
A fact is anything a caller needs to know of a row without running it (`needs`, `source`, `at`).
"""

from __future__ import annotations

import ast
import difflib
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from prunery.errors import ChoiceError

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Choice:
    """A row's name with the options that were given for it (the rest keep their defaults)."""

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)

    @staticmethod
    def of(value: str | Mapping[str, Any] | Choice) -> Choice:
        """The choice that `value` spells: a name, `"name(option=2)"`, or `{"name": ..., option: ...}`."""
        if isinstance(value, Choice):
            return value
        if isinstance(value, str):
            return _parse_call(value)
        if isinstance(value, Mapping) and isinstance(value.get("name"), str):
            return Choice(value["name"], {k: v for k, v in value.items() if k != "name"})
        raise ChoiceError(
            f"the choice {value!r}",
            "is neither a name nor a mapping with a 'name'",
            "write a name, 'name(option=2)' or {name: ..., option: ...}",
        )


@dataclass(frozen=True)
class Entry:
    """One entry of a registry."""

    name: str
    function: Callable[..., Any]
    options: Mapping[str, Any]
    facts: Mapping[str, Any]


@dataclass(frozen=True)
class BoundEntry:
    """A row with a value for each of its options; calling it calls the row's function."""

    row: Entry
    options: Mapping[str, Any]

    def __call__(self, *args: Any, **context: Any) -> Any:
        """Return the row's function of `args`, under these options."""
        return self.row.function(*args, **context, **self.options)

    @property
    def name(self) -> str:
        """The row's name."""
        return self.row.name

    @property
    def facts(self) -> Mapping[str, Any]:
        """The row's facts."""
        return self.row.facts

    @property
    def given(self) -> dict[str, Any]:
        """The options that differ from their defaults (what belongs in a key)."""
        return {k: v for k, v in self.options.items() if v != self.row.options[k]}


class Registry:
    """Named functions along one axis of choice; a duplicate or unknown name or option raises."""

    def __init__(self, axis: str) -> None:
        self.axis = axis
        self._rows: dict[str, Entry] = {}

    def add(self, **facts: Any) -> Callable[[F], F]:
        """Return a decorator that enters a function under its own name (or `name=`), with its facts."""

        def enter(function: F) -> F:
            name = facts.get("name", function.__name__.rstrip("_"))
            if name in self._rows:
                raise ChoiceError(f"a second {self.axis} {name!r}", "the name is taken", "choose another")
            self._rows[name] = Entry(name, function, _defaults(function), facts)
            return function

        return enter

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __contains__(self, name: object) -> bool:
        return name in self._rows

    def __getitem__(self, name: str) -> Entry:
        if name not in self._rows:
            raise ChoiceError(
                f"{self.axis} {name!r}",
                f"there is none of that name{nearest(name, self._rows)}",
                f"choose one of: {', '.join(self._rows)}",
            )
        return self._rows[name]

    def bind(self, choice: str | Mapping[str, Any] | Choice) -> BoundEntry:
        """The row that `choice` names, with its options checked and completed."""
        choice = Choice.of(choice)
        row = self[choice.name]
        for option in choice.options:
            if option not in row.options:
                known = ", ".join(row.options) or "none"
                raise ChoiceError(
                    f"option {option!r} of {self.axis} {row.name!r}",
                    f"it has no such option{nearest(option, row.options)}",
                    f"use its options: {known}",
                )
        for option, bound in row.facts.get("above", {}).items():
            self._check_above(row.name, option, choice.options.get(option, row.options[option]), bound)
        return BoundEntry(row, {**row.options, **choice.options})

    def _check_above(self, name: str, option: str, value: Any, bound: float) -> None:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not (number and bound < value < float("inf")):
            raise ChoiceError(
                f"option {option!r} of {self.axis} {name!r}",
                f"it is {value!r}",
                f"give a finite number above {bound:g}",
            )


def nearest(name: str, known: Iterable[str]) -> str:
    """`"; did you mean 'x'?"` for the nearest known name, or nothing."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def _defaults(function: Callable[..., Any]) -> dict[str, Any]:
    parameters = inspect.signature(function).parameters.values()
    return {
        p.name: p.default
        for p in parameters
        if p.kind is p.KEYWORD_ONLY and p.default is not inspect.Parameter.empty
    }


def _parse_call(text: str) -> Choice:
    try:
        node = ast.parse(text.strip(), mode="eval").body
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.args:
            return Choice(node.func.id, {str(k.arg): ast.literal_eval(k.value) for k in node.keywords})
    except (SyntaxError, ValueError):
        pass
    return Choice(text.strip())
