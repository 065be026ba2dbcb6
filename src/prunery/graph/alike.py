"""Which channels are alike: those that lie in the same places."""

from __future__ import annotations

import numpy as np

from prunery.graph.channels import Classes, Ids, counted
from prunery.graph.flow import Flow

Places = tuple[tuple[str, int, int], ...]
"""Parameters and buffers with an axis, and how often a channel is along it."""


def alike(flow: Flow) -> dict[Places, Ids]:
    """Return the channels that stand for those joined to them, by the places where they lie."""
    classes = Classes(flow.channels.count)
    for place, ids in flow.axes.items():
        roots, times = counted(flow.channels.find(ids))
        classes.divide(roots, place, times)
    roots = np.flatnonzero(classes.of)
    order = np.argsort(classes.of[roots], kind="stable")
    kinds, starts = np.unique(classes.of[roots][order], return_index=True)
    parts = np.split(roots[order], starts[1:]) if len(roots) else []
    by_first = sorted(zip(parts, kinds.tolist(), strict=True), key=lambda part: int(part[0][0]))
    return {_named(classes, kind): part for part, kind in by_first}


def _named(classes: Classes, kind: int) -> Places:
    return tuple((name, axis, times) for (name, axis), times in classes.history(kind))
