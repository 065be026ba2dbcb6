"""Which channels are alike: those that lie in the same places."""

from __future__ import annotations

import numpy as np

from prunery.graph.channels import Ids, counted
from prunery.graph.flow import Flow

Places = tuple[tuple[str, int, int], ...]
"""Parameters and buffers with an axis, and how often a channel is along it."""


def alike(flow: Flow) -> dict[Places, Ids]:
    """Return the channels that stand for those joined to them, by the places where they lie."""
    found = [counted(flow.channels.find(ids)) for ids in flow.axes.values()]
    if not found:
        return {}
    roots = np.concatenate([roots for roots, _ in found])
    order = np.argsort(roots, kind="stable")
    axes = np.repeat(np.arange(len(found)), [len(roots) for roots, _ in found])
    lies = np.stack([axes, np.concatenate([times for _, times in found])], 1)[order]
    starts = np.flatnonzero(np.diff(roots[order], prepend=-1))
    same: dict[bytes, list[int]] = {}
    for start, stop in zip(starts.tolist(), [*starts[1:].tolist(), len(order)], strict=True):
        same.setdefault(lies[start:stop].tobytes(), []).append(start)
    return {_named(list(flow.axes), key): roots[order][members] for key, members in same.items()}


def _named(axes: list[tuple[str, int]], key: bytes) -> Places:
    return tuple((*axes[axis], times) for axis, times in np.frombuffer(key, np.int64).reshape(-1, 2).tolist())
