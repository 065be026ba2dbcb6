"""Random streams named by a path: independent of each other, of the order of calls and of global state.

`stream(7, "order", 3)` is the same on every machine and in every process. A draw for one purpose never
moves another: the data order does not change when the criterion does.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def number(seed: int, *path: str | int) -> int:
    """An integer in [0, 2^63) from sha256 of the seed and the path."""
    text = "/".join([str(int(seed)), *map(str, path)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def stream(seed: int, *path: str | int) -> torch.Generator:
    """A fresh CPU generator for this seed and path."""
    import torch  # the planner draws numbers without paying for torch

    return torch.Generator().manual_seed(number(seed, *path))
