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
from prunery.lab.canonical import canonical, plain
from prunery.lab.keys import is_key_of
from prunery.lab.record_checks import wrong

__all__ = ["Number", "Record", "canonical", "files_in", "from_json", "plain", "to_json"]


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
    return json.dumps({"sha256": sealed(data), "record": data}, indent=1, ensure_ascii=False) + "\n"


def from_json(text: str, *, source: str = "a record", key: str | None = None) -> Record:
    """Return the record that `to_json` wrote.

    key: of the step that is asked for. ValueError if the text is cut off; StoreError if it was altered, holds
    what no record holds, or is the record of another step.
    """
    data = _checked(text, source, key)
    content: dict[str, Any] = _read(data) if _NOT_FINITE_WORDS.search(text) else data
    content["numbers"] = [Number(**number) for number in content["numbers"]]
    settled: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in content.items()}
    return Record(**settled)


def files_in(text: str, *, source: str = "a record", key: str | None = None) -> list[str]:
    """Return the names of a record's files, from its text; errors as `from_json` has them."""
    return list(_checked(text, source, key)["files"])


def json_of(text: str) -> Any:
    """Return what JSON text says; ValueError where it is none, or too deep to be read."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def sealed(data: Any) -> str:
    """Return the sha256 of plain data, as files that are read again carry it."""
    return hashlib.sha256(json.dumps(data, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def _checked(text: str, source: str, key: str | None) -> dict[str, Any]:
    """The contents of a record's text, once their sha256 is the one it names and they can be a record."""
    outer = json_of(text)
    try:
        data, digest = outer["record"], outer["sha256"]
        fits = sealed(data) == digest
    except (TypeError, KeyError, UnicodeEncodeError, RecursionError):
        raise ValueError(f"{source} is no record") from None
    problem = wrong(data) if fits else "its contents do not match their sha256"
    if not problem and key not in (None, data["key"]):
        problem = f"it is the record of step {data['key']}"
    if not problem and not is_key_of(data["key"], data["kind"], data["args"], data["parents"]):
        problem = "its key is not that of its kind, arguments and parents"
    if problem:
        do = "delete its folder and run the study again"
        raise StoreError(f"the record {source}", f"{problem}: it was altered", do)
    return dict(data)


_NOT_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_NOT_FINITE_WORDS = re.compile('"(NaN|-?Infinity)"')


def _read(data: Any) -> Any:
    if isinstance(data, dict):
        return {k: _read(v) for k, v in data.items()}
    if isinstance(data, list):
        return [_read(v) for v in data]
    return _NOT_FINITE.get(data, data) if isinstance(data, str) else data
