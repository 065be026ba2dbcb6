"""Axes that several figures share: accuracy up a log axis of the error, and counts along a log axis."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from prunery.report.figures.scale import Scale, accuracy_ticks
from prunery.report.text import formats

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LEAST = 0.4  # powers of ten that a log axis shows
_SIZES = ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def accuracies(values: Iterable[float]) -> Scale:
    """Return the heights of accuracies in %: log axis of the error, which shows all of these values."""
    known = list(values)
    errors = [100 - v for v in known if v < 100]
    rough = Scale(0, 1, 0, 1, 100 - min([50, *errors]) / 2)
    low, high = min(map(rough.y, known)), max(map(rough.y, known))
    pad = 0.06 * max(high - low, 0.02)
    return Scale(max(low - pad, -0.005), high + pad, 0, 1, rough.ceiling)


def set_accuracy(axes: Axes, axis: Scale, *, labels: bool = True, most: int = 12) -> None:
    """Set the limits and ticks of accuracies up."""
    axes.set_ylim(axis.bottom, axis.top)
    ticks = accuracy_ticks(axis, most=most)
    axes.set_yticks([axis.y(a) for a in ticks], [formats.plain(a) if labels else "" for a in ticks])


def log_limits(values: Sequence[float], pad: float = 0.06) -> tuple[float, float]:
    """Return limits of a log axis that shows these counts, as powers of ten."""
    low, high = math.log10(min(values)), math.log10(max(values))
    more = max(pad * (high - low), (_LEAST - (high - low)) / 2)
    return low - more, high + more


def log_ticks(low: float, high: float, most: int = 8) -> list[float]:
    """Return round counts between two powers of ten: the roundest that are far enough apart."""
    kept: list[float] = []
    exponents = range(math.floor(low), math.ceil(high) + 1)
    for m in (1, 3, 2, 5, 1.5, 7, 4, 2.5, 6, 8):
        for at in (m * 10.0**e for e in exponents):
            place = math.log10(at)
            near = (abs(place - math.log10(k)) < (high - low) / most for k in kept)
            if low <= place <= high and not any(near):
                kept.append(at)
        if len(kept) >= 4:
            break
    return sorted(kept)


def compact(value: float) -> str:
    """Return a count in few characters, as the page says it: `78.4 k`, `1.2 T`."""
    for size, letter in _SIZES:
        if value >= size:
            return f"{value / size:.3g} {letter}"
    return f"{value:.3g}"
