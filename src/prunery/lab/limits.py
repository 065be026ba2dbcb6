"""What a spec may be at most: text, parts, depth, repetitions, cuts. More is an error that says so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prunery.errors import SpecError

MOST_TEXT = 128 << 10
"""Characters of a spec's file; its YAML is read within a second."""
DEEPEST = 20
MOST_PARTS = 50_000
MOST_ENTRIES = 1000
"""Of one list of seeds or sparsities, and of methods."""
MOST_CUTS = 200_000
"""Of one seed, over all methods and sparsities."""
MOST_CELLS = 200_000
_LONGEST = 2000  # characters of one text
_LARGEST = 1 << 63
_SHOWN = 60


def check(data: Any, source: str) -> None:
    """Raise SpecError, with the place, for data that are too large, too deep or hold what no spec holds.

    What stands in several places counts there each time, as it does when the spec is read.
    """
    parts, left = 0, [("", data, 0)]
    while left:
        place, value, depth = left.pop()
        parts += 1
        if parts > MOST_PARTS:
            _refuse(source, f"it has more than {MOST_PARTS} parts", "split it; do not repeat parts in parts")
        if depth > DEEPEST:
            found = f"it is nested more than {DEEPEST} deep at {place[:_SHOWN]}"
            _refuse(source, found, "nest less; no part of a spec holds itself")
        if isinstance(value, Mapping):
            odd = next((key for key in value if not isinstance(key, str) or len(key) > _LONGEST), None)
            if odd is not None:
                _refuse(f"{source}: {place or 'its keys'}", f"{shown(odd)} is no key", "write a name")
            left += [(f"{place}.{key}".lstrip("."), part, depth + 1) for key, part in value.items()]
        elif isinstance(value, list | tuple):
            left += [(f"{place}[{i}]", part, depth + 1) for i, part in enumerate(value[: MOST_PARTS + 1])]
        elif isinstance(value, str) and len(value) > _LONGEST:
            found = f"a text of {len(value)} characters"
            _refuse(f"{source}: {place}", found, f"write at most {_LONGEST}")
        elif isinstance(value, int) and abs(value) >= _LARGEST:
            _refuse(f"{source}: {place}", "a whole number of more than 63 bits", "write a smaller one")


def check_entries(what: str, number: int) -> None:
    """Raise SpecError for a list with more entries than a spec's list has."""
    if number > MOST_ENTRIES:
        _refuse(what, f"it has {number} entries", f"give at most {MOST_ENTRIES}, or several studies")


def check_text(text: str, source: str) -> None:
    """Raise SpecError for the text of a file that is longer than a spec's."""
    if len(text) > MOST_TEXT:
        _refuse(source, f"it is longer than {MOST_TEXT >> 10} KB", "split it, or write a Python function")


def shown(value: Any) -> str:
    """Return a value as text of bounded length, for messages."""
    if isinstance(value, list | tuple) and len(value) > _SHOWN:
        return f"a list of {len(value)} entries"
    text = repr(value) if not isinstance(value, int) or abs(value) < _LARGEST else "a very large number"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _refuse(asked: str, found: str, do: str) -> None:
    raise SpecError(asked, found, do)
