"""Everything that is wrong with a spec, in one SpecError: `file: path.in.spec: what, found. Do`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError

from prunery.errors import PruneryError, SpecError
from prunery.lab.actions import ElementError
from prunery.registry import nearest

Place = tuple[str | int, ...]
_FOLLOWS = "default_factory_not_called"  # a default that could not be made because of another error
_PLAIN = {  # pydantic's kinds of error in words for those who write specs
    "tuple_type": ("it is not a list", "write a list, such as [a, b]"),
    "too_short": ("it is empty", "give at least one entry"),
    "dict_type": ("it is not a mapping", "write 'key: value' lines below it"),
    "model_type": ("it is not a mapping", "write 'key: value' lines below it"),
    "string_type": ("it is not a text", "write a name"),
    "string_pattern_mismatch": ("only letters, digits, '.', '_' and '-' are allowed", "choose another name"),
}


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong, at a place in the spec."""

    place: Place
    asked: str
    found: str
    do: str

    @staticmethod
    def from_error(place: Place, error: PruneryError) -> Problem:
        """Return the problem that an error of the library names, at its place in the spec."""
        return Problem(place, error.asked, error.found, error.do)

    def __str__(self) -> str:
        return str(SpecError(self.asked, self.found, self.do))


def spec_error(source: str, problems: Sequence[Problem]) -> SpecError:
    """Return one error for all problems of a spec, a line each."""
    lines = [f"{source}: {_dotted(p.place)}{p}" for p in problems]
    if len(lines) == 1:
        only = problems[0]
        return SpecError(f"{source}: {_dotted(only.place)}{only.asked}", only.found, only.do)
    return SpecError(
        source,
        f"{len(lines)} things are wrong in this spec",
        "\n".join(["correct each of these", *lines]).rstrip("."),
    )


def of_validation(error: ValidationError, schema: type[BaseModel]) -> list[Problem]:
    """Return the problems that pydantic found when it read `schema`."""
    errors = (dict(e) for e in error.errors())
    return [_problem(e, schema) for e in errors if not _follows(e)]


def _follows(error: Mapping[str, Any]) -> bool:
    """Return whether an error is there only because of another one, deeper down."""
    return error["type"] == _FOLLOWS or (error["type"] == "too_short" and bool(error["input"]))


def _problem(error: dict[str, Any], schema: type[BaseModel]) -> Problem:
    place, value, kind = tuple(error["loc"]), error["input"], error["type"]
    place = tuple(part for part in place if part not in ("Choice", "float", "int"))
    raised = error.get("ctx", {}).get("error")
    if isinstance(raised, ElementError):
        place = (*place, raised.place)
    if isinstance(raised, PruneryError):
        return Problem.from_error(place, raised)
    if kind in ("extra_forbidden", "missing"):
        return _key_problem(kind, place, schema)
    if kind == "literal_error":
        return _literal_problem(place, value, error["ctx"]["expected"])
    message = error["msg"].removeprefix("Value error, ")
    return Problem(place, _short(value), *_PLAIN.get(kind, (message[:1].lower() + message[1:], "correct it")))


def _key_problem(kind: str, place: Place, schema: type[BaseModel]) -> Problem:
    *above, key = place
    known = _fields(schema, above)
    if kind == "missing":
        return Problem(tuple(above), f"key {key!r}", "it is missing", "add it")
    elsewhere = [path for path in _all_paths(schema) if path.split(".")[-1] == key]
    hint = nearest(str(key), known) or (f"; there is '{elsewhere[0]}'" if elsewhere else "")
    return Problem(
        tuple(above), f"key {key!r}", f"there is none of that name{hint}", f"use only: {', '.join(known)}"
    )


def _literal_problem(place: Place, value: Any, expected: str) -> Problem:
    known = [word.strip(" '") for word in expected.replace(" or ", ",").split(",")]
    return Problem(
        place, _short(value), f"it is none of the choices{nearest(str(value), known)}", f"choose {expected}"
    )


def _fields(schema: type[BaseModel], place: Iterable[str | int]) -> list[str]:
    """Return the keys that the part of the spec at `place` knows."""
    part = schema
    for step in place:
        if isinstance(step, str):
            part = _parts(part).get(step, part)
    return list(part.model_fields)


def _parts(schema: type[BaseModel]) -> dict[str, type[BaseModel]]:
    """Return the fields that have keys of their own, also as the entries of a list."""
    parts = {}
    for name, field in schema.model_fields.items():
        for kind in (field.annotation, *getattr(field.annotation, "__args__", ())):
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                parts[name] = kind
    return parts


def _all_paths(schema: type[BaseModel], above: str = "") -> list[str]:
    paths = [above + name for name in schema.model_fields]
    for name, part in _parts(schema).items():
        paths += _all_paths(part, f"{above}{name}.")
    return paths


def _dotted(place: Place) -> str:
    text = ""
    for part in place:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return f"{text.lstrip('.')}: " if text else ""


def _short(value: Any) -> str:
    if isinstance(value, Mapping | list):
        return f"a {'mapping' if isinstance(value, Mapping) else 'list'}"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
