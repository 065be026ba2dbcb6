"""Data as JSON: strict, and one text for equal data."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any


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
