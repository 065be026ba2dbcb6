"""What a step did: frozen, with units and counts, to and from JSON.

A `Record` says which step (key, kind, args, parents), what came out (numbers, tables, notes, files) and what
it cost (cost, environment). Two runs of one step give records that are `equal`; only times and the
environment differ.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from prunery.errors import StoreError


@dataclass(frozen=True)
class Number:
    """One measured number: never without its unit; accuracies carry their counts, k and chance level."""

    name: str
    value: float
    unit: str
    split: str | None = None
    count: int | None = None
    total: int | None = None
    k: int | None = None
    chance: float | None = None


@dataclass(frozen=True)
class Record:
    """One step's record.

    cost: epochs, samples, training_macs, training_macs_kept, scoring_macs, seconds; those that apply.
    files: sha256 of each file that lies beside the record, by name.
    """

    key: str
    kind: str
    args: Mapping[str, Any]
    parents: tuple[str, ...] = ()
    numbers: tuple[Number, ...] = ()
    tables: Mapping[str, list[dict[str, Any]]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    cost: Mapping[str, float] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)

    def number(self, name: str, split: str | None = None) -> Number | None:
        """The number of that name and split, or None."""
        return next((n for n in self.numbers if (n.name, n.split) == (name, split)), None)


def to_json(record: Record) -> str:
    """Return the record as JSON text, with a sha256 of its contents."""
    shallow = {f.name: getattr(record, f.name) for f in fields(record)}
    data = plain({**shallow, "numbers": [vars(number) for number in record.numbers]})
    return json.dumps({"sha256": _digest(data), "record": data}, indent=1, ensure_ascii=False) + "\n"


def from_json(text: str, *, source: str = "a record") -> Record:
    """Return the record that `to_json` wrote.

    ValueError if the text is cut off, StoreError if it was altered.
    """
    data = _checked(text, source)
    content: dict[str, Any] = _read(data) if _NOT_FINITE_WORDS.search(text) else data
    content["numbers"] = [Number(**number) for number in content["numbers"]]
    settled: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in content.items()}
    return Record(**settled)


def files_in(text: str, *, source: str = "a record") -> list[str]:
    """Return the names of a record's files, from its text; errors as `from_json` has them."""
    return list(_checked(text, source)["files"])


def canonical(data: Any) -> str:
    """Return one text for equal data: sorted keys, no spaces, whole floats as integers, NaN as text."""
    return json.dumps(_plain(data, whole=True), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def plain(data: Any) -> Any:
    """Return the data as strict JSON has it: no tuples, and what is not finite as text."""
    return _plain(data, whole=False)


def _plain(data: Any, *, whole: bool) -> Any:
    """As `plain`; `whole`: floats that are integers become such."""
    if isinstance(data, str | int) or data is None:
        return data
    if isinstance(data, float):
        if math.isfinite(data):
            return int(data) if whole and data.is_integer() else data
        return "NaN" if math.isnan(data) else ("Infinity" if data > 0 else "-Infinity")
    if isinstance(data, list | tuple):
        return [_plain(v, whole=whole) for v in data]
    if isinstance(data, Mapping):
        return {str(k): _plain(v, whole=whole) for k, v in data.items()}
    return data


def _checked(text: str, source: str) -> dict[str, Any]:
    """The contents of a record's text, once their sha256 is the one that it names."""
    outer = json.loads(text)
    try:
        data, digest = outer["record"], outer["sha256"]
    except (TypeError, KeyError):
        raise ValueError(f"{source} is no record") from None
    if _digest(data) != digest:
        raise StoreError(
            f"the record {source}",
            "its contents do not match their sha256: it was altered",
            "delete its folder and run the study again",
        )
    return dict(data)


def _digest(data: Any) -> str:
    return hashlib.sha256(json.dumps(data, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


_NOT_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_NOT_FINITE_WORDS = re.compile('"(NaN|-?Infinity)"')


def _read(data: Any) -> Any:
    if isinstance(data, dict):
        return {k: _read(v) for k, v in data.items()}
    if isinstance(data, list):
        return [_read(v) for v in data]
    return _NOT_FINITE.get(data, data) if isinstance(data, str) else data
