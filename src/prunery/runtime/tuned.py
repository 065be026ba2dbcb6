"""What was found of layers on this processor, kept on disk: one small file for each layer and situation.

A file is there whole or not at all, and none is shared by two layers, so that any number of processes may
tune at once: the last to finish a layer is believed. Nothing here can fail: a file that cannot be read or
written costs a search, and one that says something impossible is not believed.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prunery.atomic import atomic_write
from prunery.data.cache import root

MEANING = 1
"""Raised by hand when kernels, or what a variant means, change."""


def _path(situation: Sequence[Any]) -> Path:
    text = json.dumps([MEANING, *situation])
    return root() / "tuned" / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.json"


def known(situation: Sequence[Any]) -> tuple[list[int], float, float] | None:
    """Return the variant found in a situation and the seconds of sparse and dense, if anything was."""
    try:
        found = json.loads(_path(situation).read_bytes())
        variant, sparse, dense = found["variant"], float(found["sparse"]), float(found["dense"])
        if found["situation"] != list(situation) or len(variant) != 4:
            return None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    numbers = all(type(n) is int and 0 < n < 1 << 31 for n in variant)
    return (variant, sparse, dense) if numbers and math.isfinite(sparse + dense) else None


def keep(situation: Sequence[Any], variant: Sequence[int], sparse: float, dense: float) -> None:
    """Remember what was found in a situation."""
    content = {"situation": list(situation), "variant": list(variant), "sparse": sparse, "dense": dense}
    path = _path(situation)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(path, json.dumps(content).encode())
    except OSError:
        return
