"""Means and intervals: what a number over seeds can and cannot say.

An interval is two-sided, of 95 %, over seeds. Fewer than three seeds have no interval.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

LEVEL = 0.95
FEW = 3  # seeds, below which a spread says nothing


@dataclass(frozen=True)
class Summary:
    """Mean, standard deviation (n - 1) and half-width of the 95 % interval, in the unit of the values.

    bounds: what the values cannot leave (0 and 100 for an accuracy), and the interval neither.
    """

    n: int
    mean: float
    sd: float | None
    half: float | None
    bounds: tuple[float, float] = (-math.inf, math.inf)

    @property
    def low(self) -> float | None:
        """Return the lower end of the interval; None for fewer than three values."""
        return None if self.half is None else max(self.bounds[0], self.mean - self.half)

    @property
    def high(self) -> float | None:
        """Return the upper end of the interval; None for fewer than three values."""
        return None if self.half is None else min(self.bounds[1], self.mean + self.half)

    @property
    def cut(self) -> bool:
        """Return whether the interval would leave the bounds, and is cut there."""
        return self.half is not None and (self.low, self.high) != (
            self.mean - self.half,
            self.mean + self.half,
        )


def summary(
    values: Sequence[float], *, step: float = 0.0, bounds: tuple[float, float] = (-math.inf, math.inf)
) -> Summary | None:
    """Return the summary of the values, in their unit; None where there are none.

    `step` is what one example more or less changes (0.01 points for 10 000 images). Whole counts that agree
    are no proof of no spread: the interval reaches at least half a step to either side.
    """
    n = len(values)
    if n == 0:
        return None
    mean = statistics.fmean(values)
    sd = statistics.stdev(values) if n > 1 else None
    if sd is None or n < FEW:
        return Summary(n, mean, sd, None, bounds)
    return Summary(n, mean, sd, max(t_quantile(n - 1) * sd / math.sqrt(n), step / 2), bounds)


def median_interval(values: Sequence[float], level: float = LEVEL) -> tuple[float, float]:
    """Return an interval (low, high) that holds the median of what the values, in order of time, come from.

    From the j-th smallest value to the j-th largest, j the greatest with P(B < j) <= (1 - level) / 2 for B
    binomial (n, 1/2): whatever the distribution, where the values are independent (W. R. Thompson 1936, On
    confidence ranges for the median, Annals of Mathematical Statistics 7, 122-128). Where neighbours in time
    resemble each other, by the correlation r > 0 of which ones lie above the median, the ranks reach further
    out by sqrt((1 + r) / (1 - r)), as for a first-order autoregression. Infinite at both ends where there are
    too few values, less than 6 at 95 %.
    """
    n, tail, below = len(values), 0.0, 0
    while below < n and (tail := tail + math.comb(n, below) / 2**n) <= (1 - level) / 2:
        below += 1  # as many values may be left out on each side
    reach = (n / 2 - below) * math.sqrt(_inflation(values))
    rank = math.floor(n / 2 - reach + 1e-9)
    if rank < 1:
        return -math.inf, math.inf
    ordered = sorted(values)
    return ordered[rank - 1], ordered[n - rank]


def _inflation(values: Sequence[float]) -> float:
    """Return the variance of a count of values above the median, over that of independent ones.

    Their correlation is estimated too low by about (1 + 3r) / n (Kendall 1954), which is added.
    """
    middle = statistics.median(values) if values else 0.0
    signs = [int(value > middle) - int(value < middle) for value in values]
    power = sum(sign * sign for sign in signs)
    if len(values) < 6 or not power:
        return 1.0
    r = sum(a * b for a, b in pairwise(signs)) / power
    r = min(max((len(values) * r + 1) / (len(values) - 3), 0.0), 0.99)
    return (1 + r) / (1 - r)


def noise_floor(dense: Sequence[float]) -> float | None:
    """Return the difference that two means of n dense repeats stay below 95 % of the time; None for n < 3.

    t(n - 1) · sd · sqrt(2 / n), with n the number of repeats. A smaller difference says nothing.
    """
    spread = summary(dense)
    return None if spread is None or spread.half is None else math.sqrt(2) * spread.half


@lru_cache(maxsize=4096)
def t_quantile(freedom: int, tail: float = 1 - LEVEL) -> float:
    """Return what |t| of Student's t with `freedom` degrees of freedom exceeds with probability `tail`."""
    from scipy.special import stdtrit  # scipy.stats costs two seconds more

    return float(stdtrit(freedom, 1 - tail / 2))


def filled(layers: Sequence[tuple[float, float]], kept: float) -> tuple[float, float]:
    """Return (fewest, most) MACs that so many weights can cost in layers of (weights, MACs a weight)."""
    ranked = sorted(layers, key=lambda layer: layer[1])
    return _in_turn(ranked, kept), _in_turn(reversed(ranked), kept)


def _in_turn(layers: Iterable[tuple[float, float]], left: float) -> float:
    macs = 0.0
    for weights, each in layers:
        here = min(left, weights)
        macs, left = macs + here * each, left - here
    return macs
