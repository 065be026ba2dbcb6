"""What a step did: frozen, with units and counts, to and from JSON.

A `Record` says which step (key, kind, args, parents), what came out (numbers, tables, notes, files) and what
it cost (cost, environment). Two runs of one step give records that are `equal`; only times and the
environment differ.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
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
    """The record as JSON text, with a sha256 of its contents."""
    data = plain(asdict(record))
    return json.dumps({"sha256": _digest(data), "record": data}, indent=1, ensure_ascii=False) + "\n"


def from_json(text: str, *, source: str = "a record") -> Record:
    """The record that `to_json` wrote; ValueError if the text is cut off, StoreError if it was altered."""
    whole = json.loads(text)
    try:
        data, digest = whole["record"], whole["sha256"]
    except (TypeError, KeyError):
        raise ValueError(f"{source} is no record") from None
    if _digest(data) != digest:
        raise StoreError(
            f"the record {source}",
            "its contents do not match their sha256: it was altered",
            "delete its folder and run the study again",
        )
    fields: dict[str, Any] = _read(data)
    fields["numbers"] = [Number(**number) for number in fields["numbers"]]
    settled: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()}
    return Record(**settled)


def canonical(data: Any) -> str:
    """One text for equal data: sorted keys, no spaces, whole floats as integers, NaN as text."""
    return json.dumps(_whole(plain(data)), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _digest(data: Any) -> str:
    return hashlib.sha256(json.dumps(data, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


_NOT_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def plain(data: Any) -> Any:
    """The data as strict JSON has it: no tuples, and what is not finite as text."""
    if isinstance(data, Mapping):
        return {str(k): plain(v) for k, v in data.items()}
    if isinstance(data, list | tuple):
        return [plain(v) for v in data]
    if isinstance(data, float) and not math.isfinite(data):
        return "NaN" if math.isnan(data) else ("Infinity" if data > 0 else "-Infinity")
    return data


def _read(data: Any) -> Any:
    if isinstance(data, dict):
        return {k: _read(v) for k, v in data.items()}
    if isinstance(data, list):
        return [_read(v) for v in data]
    return _NOT_FINITE.get(data, data) if isinstance(data, str) else data


def _whole(data: Any) -> Any:
    if isinstance(data, dict):
        return {k: _whole(v) for k, v in data.items()}
    if isinstance(data, list):
        return [_whole(v) for v in data]
    return int(data) if isinstance(data, float) and data.is_integer() else data
