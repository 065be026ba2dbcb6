"""The one plug-in mechanism: a registry of named functions, each with its options and facts.

An option of a row is a keyword-only parameter of its function; its default is the option's default.
A fact is anything a caller needs to know of a row without running it (`needs`, `source`, `at`).

A row of a user's own is called `package.module:row`. Whoever reads that name imports the module, so it means
the same in a script, in a study and in every worker; its bare name is known in the process that imported it.
"""

from __future__ import annotations

import ast
import difflib
import importlib
import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from prunery.errors import ChoiceError
from prunery.user_code import contained

_LONGEST = 200  # characters of a name that others are compared with
F = TypeVar("F", bound=Callable[..., Any])

_DOTTED = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
_imports_allowed: ContextVar[bool] = ContextVar("imports_allowed", default=True)


@contextmanager
def no_imports() -> Iterator[None]:
    """Within it no module is imported for a row's name, so that reading an archive runs no code."""
    token = _imports_allowed.set(False)
    try:
        yield
    finally:
        _imports_allowed.reset(token)


def is_dotted(name: str) -> bool:
    """Return whether a row's name is that of a user's own row, `package.module:row`."""
    return _DOTTED.fullmatch(name) is not None


@dataclass(frozen=True)
class Choice:
    """A row's name with the options that were given for it (the rest keep their defaults)."""

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)

    @staticmethod
    def parse(value: str | Mapping[str, Any] | Choice) -> Choice:
        """Return the choice that `value` spells: a name, `"name(option=2)"` or `{name: ..., option: ...}`."""
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
        return {
            k: v for k, v in self.options.items() if k not in self.row.options or v != self.row.options[k]
        }


class Registry:
    """Named functions along one axis of choice; a duplicate or unknown name or option raises.

    stand_in: the facts of a row that must not be imported (see `no_imports`); None refuses such a row.
    """

    def __init__(self, axis: str, *, stand_in: Mapping[str, Any] | None = None) -> None:
        self.axis = axis
        self._stand_in = stand_in
        self._rows: dict[str, Entry] = {}
        self._bare: dict[str, list[str]] = {}  # the names of the rows that have this bare name

    def add(self, **facts: Any) -> Callable[[F], F]:
        """Return a decorator that enters a function under its own name (or `name=`), with its facts."""

        def enter(function: F) -> F:
            self._enter(function, facts.get("name", function.__name__.rstrip("_")), facts)
            return function

        return enter

    def _enter(self, function: Callable[..., Any], bare: str, facts: Mapping[str, Any]) -> None:
        module = function.__module__
        ours = module.partition(".")[0] == "prunery"
        name = bare if ours else f"{module}:{bare}"
        if (name in self._rows and (ours or not _same(self._rows[name].function, function))) or (
            bare in self._rows and not ours
        ):
            raise ChoiceError(f"a second {self.axis} {bare!r}", "the name is taken", "choose another")
        self._rows[name] = Entry(name, function, _defaults(function), facts)
        known = self._bare.setdefault(bare, [])
        known += [name] if name not in known else []

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __contains__(self, name: object) -> bool:
        return name in self._rows or name in self._bare

    def __getitem__(self, name: str) -> Entry:
        if name in self._rows:
            return self._rows[name]
        known = self._bare.get(name, [])
        if len(known) == 1:
            return self._rows[known[0]]
        if is_dotted(name):
            return self._imported(name)
        raise ChoiceError(
            f"{self.axis} {name!r}",
            f"there are {len(known)} of that name: {', '.join(known)}"
            if known
            else f"there is none of that name{nearest(name, {*self._rows, *self._bare})}",
            f"choose one of: {', '.join(self._rows)}, or write package.module:row",
        )

    def _imported(self, name: str) -> Entry:
        """Return the row of a user's module; the module is imported, unless `no_imports` forbids it."""
        if not _imports_allowed.get():
            if self._stand_in is not None:
                return Entry(name, _stands_in, {}, {**self._stand_in, "stands_in": True})
            found = "it lies in a module of yours, and nothing is imported while an archive is read"
            raise ChoiceError(f"{self.axis} {name!r}", found, "use the store that the study ran in")
        module, _, row = name.partition(":")
        before = set(self._rows)
        try:
            with contained():
                function = getattr(importlib.import_module(module), row, None)
        except (Exception, SystemExit) as error:  # whatever the user's module raises
            found = f"importing {module!r} raises {type(error).__name__}: {error}"
            raise ChoiceError(f"{self.axis} {name!r}", found, "correct it, or name another module") from error
        if name not in self._rows:
            entry = next(
                (e for e in self._rows.values() if function is not None and e.function is function), None
            )
            if entry is None:
                own = [n for n in {*before, *self._rows} if n.startswith(f"{module}:")]
                found = f"the module has no row of that name{nearest(name, own)}"
                do = f"enter it with the decorator @prunery.{self.axis}.add(...)"
                raise ChoiceError(f"{self.axis} {name!r}", found, do)
            self._rows[name] = replace(entry, name=name)
        return self._rows[name]

    def bind(self, choice: str | Mapping[str, Any] | Choice) -> BoundEntry:
        """The row that `choice` names, with its options checked and completed."""
        choice = Choice.parse(choice)
        row = self[choice.name]
        for option in choice.options:
            if option not in row.options and "stands_in" not in row.facts:
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
    close = difflib.get_close_matches(name[:_LONGEST], list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def _same(one: Callable[..., Any], other: Callable[..., Any]) -> bool:
    """Return whether two functions come from one definition, as when its module is run twice."""
    return one is not other and (one.__module__, one.__qualname__) == (other.__module__, other.__qualname__)


def _stands_in(*_: Any, **__: Any) -> Any:
    found = "its module was not imported, for an archive runs no code"
    raise ChoiceError("running a row of a user's own", found, "use the store that the study ran in")


def _defaults(function: Callable[..., Any]) -> dict[str, Any]:
    parameters = inspect.signature(function).parameters.values()
    return {
        p.name: p.default
        for p in parameters
        if p.kind is p.KEYWORD_ONLY and p.default is not inspect.Parameter.empty
    }


def _parse_call(text: str) -> Choice:
    name, bracket, rest = text.strip().partition("(")
    try:
        node = ast.parse(f"row({rest}" if bracket else "", mode="eval").body
        if isinstance(node, ast.Call) and not node.args and (name.isidentifier() or is_dotted(name)):
            return Choice(name, {str(k.arg): ast.literal_eval(k.value) for k in node.keywords})
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
        pass
    return Choice(text.strip())
