"""The axes of the accuracy plot: log density across, log error up, their limits and their ticks."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from prunery.report.results.groups import BROKEN, Group

_PREFERRED = (
    50,
    90,
    99,
    98,
    95,
    80,
    99.5,
    99.9,
    70,
    97,
    0,
    20,
    98.5,
    93,
    85,
    60,
    40,
    99.7,
    99.8,
    99.95,
    99.99,
    96,
)


@dataclass(frozen=True)
class Scale:
    """From sparsities and accuracies in % to axis positions, with the limits that show what matters.

    `ceiling` is the highest accuracy that a position exists for: half an error below a perfect score.
    """

    bottom: float
    top: float
    left: float
    right: float
    ceiling: float

    def x(self, sparsity: float) -> float:
        """Return -log10 of the density: 0 for dense, 1 for 90 %, 2 for 99 %."""
        return -math.log10(1 - sparsity)

    def y(self, accuracy: float) -> float:
        """Return -log10 of the error: 1 for 90 % correct, 2 for 99 %."""
        return -math.log10(1 - min(max(accuracy, 0.0), self.ceiling) / 100)

    def accuracy(self, y: float) -> float:
        """Return the accuracy in % at a height."""
        return 100 * (1 - 10**-y)

    def inside(self, accuracy: float) -> bool:
        """Return whether the accuracy lies within the limits."""
        return self.bottom <= self.y(accuracy) <= self.top


def scale(groups: Sequence[Group], *, beside: Sequence[float] = ()) -> Scale:
    """Return the scale that shows every seed of these groups; intervals may reach a little beyond, not far.

    `beside`: other accuracies in % that it is to show.
    """
    shown = [g for g in groups if g.role in ("dense", "pruned")]
    values = [r.value for g in shown for r in g.runs if r.value is not None and r.status in ("done", *BROKEN)]
    values += beside
    ends = [
        e for g in shown if g.summary and g.sound for e in (g.summary.low, g.summary.high) if e is not None
    ]
    images = next((g.first("test_images") for g in shown if g.first("test_images")), 10_000)
    rough = Scale(0, 1, 0, 1, 100 * (1 - 0.5 / images))
    heights = [rough.y(v) for v in values]
    low, high = min(heights), max(heights)
    margin = max(0.25 * (high - low), 0.02)
    reach = [min(max(rough.y(e), low - margin), high + margin) for e in ends]
    low, high = min([low, *reach]), max([high, *reach])
    pad = 0.06 * max(high - low, 0.05)
    across = [rough.x(g.sparsity) for g in groups if g.role == "pruned"]
    side = 0.07 * max(max(across) - min(across), 0.3)
    return Scale(
        max(low - pad, -0.002 if low < 0.01 else 0.0),
        high + pad,
        min(across) - side,
        max(across) + side,
        rough.ceiling,
    )


def accuracy_ticks(axis: Scale, *, most: int = 12) -> list[float]:
    """Return round accuracies in % within the limits, far enough apart; finer ones on a narrow axis."""
    low, high = axis.accuracy(axis.bottom), axis.accuracy(axis.top)
    gap = (axis.top - axis.bottom) / most
    round_ones = _apart((a for a in _PREFERRED if low <= a <= high), axis, gap)
    return round_ones if len(round_ones) >= 4 else _apart(_steps(low, high), axis, gap)


def sparsity_ticks(axis: Scale, sparsities: Sequence[float]) -> list[float]:
    """Return the sparsities to label: from the highest down, those whose labels do not touch."""
    kept: list[float] = []
    for sparsity in sorted(sparsities, reverse=True):
        if all(abs(axis.x(sparsity) - axis.x(k)) > 0.07 * (axis.right - axis.left) for k in kept):
            kept.append(sparsity)
    return sorted(kept)


def spread(heights: Sequence[float], *, gap: float, low: float, high: float) -> list[float]:
    """Return the heights, moved as little as needed to be `gap` apart within [low, high], in order.

    Neighbours that are too close form a block, centred on the mean of its members, until no blocks touch.
    """
    order = sorted(range(len(heights)), key=heights.__getitem__)
    blocks: list[list[int]] = []
    for index in order:
        blocks.append([index])
        while len(blocks) > 1 and _start(blocks[-1], heights, gap, low, high) < _end(
            blocks[-2], heights, gap, low, high
        ):
            blocks[-2:] = [blocks[-2] + blocks[-1]]
    placed = [0.0] * len(heights)
    for block in blocks:
        for place, index in enumerate(block):
            placed[index] = _start(block, heights, gap, low, high) + gap * (place + 0.5)
    return placed


def _start(block: Sequence[int], heights: Sequence[float], gap: float, low: float, high: float) -> float:
    centre = sum(heights[i] for i in block) / len(block)
    return max(min(centre - gap * len(block) / 2, high - gap * len(block)), low)


def _end(block: Sequence[int], heights: Sequence[float], gap: float, low: float, high: float) -> float:
    return _start(block, heights, gap, low, high) + gap * len(block)


def _apart(candidates: Iterable[float], axis: Scale, gap: float) -> list[float]:
    kept: list[float] = []
    for candidate in candidates:
        if all(abs(axis.y(candidate) - axis.y(k)) >= gap for k in kept):
            kept.append(candidate)
    return sorted(kept)


def _steps(low: float, high: float) -> list[float]:
    """Return multiples of 1, 2 or 5 tenths, hundredths, ... between the ends, at least four of them."""
    for step in (5.0, 2.0, 1.0, 0.5, 0.2, 0.1, 0.05, 0.02):
        first = math.ceil(low / step)
        ticks = [round(i * step, 4) for i in range(first, math.floor(high / step) + 1)]
        if len(ticks) >= 4:
            return ticks
    return ticks
