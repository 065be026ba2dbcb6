"""Why a step failed, as stores and archives keep it."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from prunery.filenames import is_key

_TEXTS = ("kind", "reason", "trace")


@dataclass(frozen=True)
class Failure:
    """Why a step failed: the reason in one line, the end of the traceback, and after how many tries."""

    key: str
    kind: str
    reason: str
    trace: str = ""
    tries: int = 1


def failure_of(data: Any) -> Failure | None:
    """Return the failure that plain data spell; None for anything else."""
    if not isinstance(data, dict) or not {"key", "kind", "reason"} <= {*data} <= _NAMES:
        return None
    texts = all(isinstance(data.get(name, ""), str) for name in _TEXTS)
    return Failure(**data) if is_key(data["key"]) and texts and type(data.get("tries", 1)) is int else None


_NAMES = {field.name for field in fields(Failure)}
