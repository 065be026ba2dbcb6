"""Data as JSON that can stand inside a page: strict, short, and unable to end its script element."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any

_ESCAPES: dict[str, int | str | None] = {
    "<": "\\u003c",
    ">": "\\u003e",
    "&": "\\u0026",
    "\u2028": "\\u2028",
    "\u2029": "\\u2029",
}


def embedded(data: Any) -> str:
    """Return the data as JSON text without `<`, `>`, `&` and line separators; what is not finite is null."""
    text = json.dumps(clean(data), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.translate(str.maketrans(_ESCAPES))


def clean(data: Any) -> Any:
    """Return the data as plain lists, mappings, numbers and texts; None for what is not finite or missing."""
    if isinstance(data, Mapping):
        return {str(k): clean(v) for k, v in data.items()}
    if isinstance(data, list | tuple):
        return [clean(v) for v in data]
    if data is None or isinstance(data, str | bool):
        return data
    if isinstance(data, Integral):
        return int(data)
    if isinstance(data, Real):
        value = float(data)
        return _short(value) if math.isfinite(value) else None
    return str(data)


def _short(value: float) -> float | int:
    value = round(value, 10)
    return int(value) if value.is_integer() else value
