"""Shorter ways to run operations on tensors without values, where torch's own takes long."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch


def _batch_norm(func: Any, *args: Any) -> Any:
    """Return what a batch norm does to shapes; torch takes it apart, which costs most of a run."""
    if args[5]:  # by the statistics of the batch
        return func(*args)
    x = args[0]
    return torch.empty_like(x), x.new_empty(0), x.new_empty(0)


SHORT: dict[Any, Callable[..., Any]] = {torch.ops.aten.native_batch_norm.default: _batch_norm}
"""By the operation: functions of it and of its arguments."""
