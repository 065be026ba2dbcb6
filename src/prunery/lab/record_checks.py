"""What a record may hold: the type of each field, and of what reports read in its tables.

A record's sha256 says that nobody changed it by accident. Whoever writes one anew can put anything into it,
so each field is looked at before any part of the library reads it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from prunery.filenames import is_file_name, is_key
from prunery.lab.keys import MEANING

Test = Callable[[Any], bool]
_WORDS = ("NaN", "Infinity", "-Infinity")
LARGEST = 1e300  # of numbers: sums and squares of some are still numbers


def wrong(data: Any) -> str:
    """Return what no record can hold, in words; "" for a record's contents."""
    if not isinstance(data, dict):
        return "it is no mapping"
    odd = sorted(map(str, {*data} ^ {*_FIELDS}))
    if odd:
        return f"the field {odd[0]!r} is {'missing' if odd[0] in _FIELDS else 'not one of its fields'}"
    return next((f"{name} {problem}" for name, test in _FIELDS.items() for problem in test(data[name])), "")


def is_number(value: Any) -> bool:
    """Return whether it is a number as records spell them; what is not finite is a word."""
    if isinstance(value, str):
        return value in _WORDS
    return isinstance(value, int | float) and not isinstance(value, bool) and not abs(value) > LARGEST


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= LARGEST


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_base64(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch("[A-Za-z0-9+/=]{0,100000}", value) is not None


def _optional(test: Test) -> Test:
    return lambda value: value is None or test(value)


def _listed(test: Test) -> Test:
    return lambda value: isinstance(value, list) and all(map(test, value))


def _counts_of_bins(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(map(_is_count, value))


def _one(test: Test, what: str) -> Callable[[Any], Iterator[str]]:
    def problems(value: Any) -> Iterator[str]:
        if not test(value):
            yield f"is not {what}"

    return problems


def _mapping(named: Test, test: Test, what: str) -> Callable[[Any], Iterator[str]]:
    def problems(value: Any) -> Iterator[str]:
        if not isinstance(value, dict):
            yield "is no mapping"
        else:
            odd = (name for name, v in value.items() if not (named(name) and test(v)))
            yield from (f"has {name!r}, which is not {what}" for name in odd)

    return problems


def _rows(value: Any, columns: Mapping[str, Test], optional: Mapping[str, Test]) -> Iterator[str]:
    if not (isinstance(value, list) and all(isinstance(row, dict) for row in value)):
        yield "is no list of rows"
        return
    for place, row in enumerate(value):
        for column, test in columns.items():
            if column not in row or not test(row[column]):
                yield f"has {'an odd' if column in row else 'no'} {column!r} in row {place}"
                return
        odd = next((c for c, test in optional.items() if c in row and not test(row[c])), None)
        if odd:
            yield f"has an odd {odd!r} in row {place}"
            return


_NUMBER: dict[str, Test] = {"name": _is_text, "value": is_number, "unit": _is_text}
_OF_NUMBER: dict[str, Test] = {
    "split": _optional(_is_text),
    "count": _optional(_is_count),
    "total": _optional(_is_count),
    "k": _optional(_is_count),
    "chance": _optional(is_number),
}


def _numbers(value: Any) -> Iterator[str]:
    yield from _rows(value, _NUMBER, _OF_NUMBER)
    if isinstance(value, list) and any({*row} - {*_NUMBER, *_OF_NUMBER} for row in value if row):
        yield "have fields that no number has"


_AMOUNTS = [f"{what}_{kind}" for what in ("params", "macs") for kind in ("dense", "kept", "effective")]
# per table: the columns that each of its rows has, and those that it may have; other columns are anything
_TABLES: dict[str, tuple[Mapping[str, Test], Mapping[str, Test]]] = {
    "epochs": (
        {"epoch": _is_count, "train_loss": is_number, "train_correct": _is_count, "train_total": _is_count},
        {
            **dict.fromkeys(("validation_correct", "validation_total"), _optional(_is_count)),
            **dict.fromkeys(("test_correct", "test_total", "removed"), _optional(_is_count)),
        },
    ),
    "forms": (
        {"form": _is_text},
        {
            **dict.fromkeys(("ms", "cpu_ms", "times", "low", "high", "difference"), is_number),
            "bytes": _is_count,
            **dict.fromkeys(("file", "clock", "missing"), _is_text),
        },
    ),
    "forms_said": ({"said": _is_text}, {}),
    "samples": ({"class": _is_text, "jpeg": _is_base64}, {}),
    "layers": ({"name": _is_text}, dict.fromkeys(_AMOUNTS, _is_count)),
    "histograms": (
        {
            "layer": _is_text,
            **dict.fromkeys(("low", "high"), is_number),
            "counts": _counts_of_bins,
            **dict.fromkeys(("kept", "total"), _is_count),
        },
        {"nonfinite": _is_count},
    ),
}


def _tables(value: Any) -> Iterator[str]:
    if not isinstance(value, dict):
        yield "is no mapping"
        return
    for name, rows in value.items():
        yield from (f"{name!r} {problem}" for problem in _rows(rows, *_TABLES.get(name, ({}, {}))))


def _environment(value: Any) -> Iterator[str]:
    yield from _mapping(_is_text, lambda part: True, "a text")(value)
    if isinstance(value, dict):
        parts = (name for name in ("data", "model", "rows") if not isinstance(value.get(name, {}), dict))
        yield from (f"has {name!r}, which is no mapping" for name in parts)


_FIELDS: dict[str, Callable[[Any], Iterator[str]]] = {
    "key": _one(is_key, "a step's key"),
    "kind": _one(lambda kind: isinstance(kind, str) and kind in MEANING, "a kind of step"),
    "args": _mapping(_is_text, lambda value: True, "an argument"),
    "parents": _one(_listed(is_key), "a list of keys"),
    "numbers": _numbers,
    "tables": _tables,
    "notes": _one(_listed(_is_text), "a list of texts"),
    "cost": _mapping(_is_text, is_number, "a number"),
    "environment": _environment,
    "files": _mapping(is_file_name, _is_text, "a file's name with its sha256"),
}
