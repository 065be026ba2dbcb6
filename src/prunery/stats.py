"""Means, intervals and paired differences: what a number over seeds can and cannot say.

Every interval is a two-sided 95 % t-interval over seeds. A single run has no interval and no verdict.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise

LEVEL = 0.95
_POWER = 0.8
HIGHER, LOWER, SAME = "higher", "lower", "indistinguishable"


@dataclass(frozen=True)
class Summary:
    """Mean, standard deviation (n - 1) and half-width of the 95 % t-interval, in the unit of the values."""

    n: int
    mean: float
    sd: float | None
    half: float | None

    @property
    def low(self) -> float | None:
        """Return the lower end of the interval; None for a single value."""
        return None if self.half is None else self.mean - self.half

    @property
    def high(self) -> float | None:
        """Return the upper end of the interval; None for a single value."""
        return None if self.half is None else self.mean + self.half


@dataclass(frozen=True)
class Difference:
    """A paired difference: its summary, and the two-sided p-value of "no difference" (None for n = 1)."""

    summary: Summary
    p: float | None

    def verdict(self, p: float | None = None) -> str | None:
        """Return `higher`, `lower` or `indistinguishable`, by `p` (corrected) or its own; None for n = 1."""
        p = self.p if p is None else p
        if p is None:
            return None
        if p > 1 - LEVEL:
            return SAME
        return HIGHER if self.summary.mean > 0 else LOWER

    @property
    def detectable(self) -> float | None:
        """Return the smallest true difference that these seeds could be expected to show; None for n = 1."""
        if self.summary.half is None:
            return None
        freedom = self.summary.n - 1
        return detectable(freedom, self.summary.half / t_quantile(freedom))


def summary(values: Sequence[float], *, step: float = 0.0) -> Summary | None:
    """Return the summary of the values, in their unit; None where there are none.

    `step` is what one example more or less changes (0.01 points for 10 000 images). Whole counts that agree
    are no proof of no spread: the interval reaches at least half a step to either side.
    """
    n = len(values)
    if n == 0:
        return None
    mean = statistics.fmean(values)
    if n == 1:
        return Summary(1, mean, None, None)
    sd = statistics.stdev(values)
    return Summary(n, mean, sd, max(t_quantile(n - 1) * sd / math.sqrt(n), step / 2))


def paired(
    values: Mapping[int, float], baseline: Mapping[int, float], *, step: float = 0.0
) -> Difference | None:
    """Return `values` minus `baseline` over the seeds that both have; None where they share none.

    `step` is what one example more or less changes (0.01 points for 10 000 images). Counting rounds each
    value to a step, so that equal differences are no proof of no spread: interval and test take the standard
    deviation to be at least that of two such roundings, step / sqrt(6).
    """
    shared = sorted(values.keys() & baseline.keys())
    # nine decimals: what floats add to equal differences of counts is not spread
    difference = summary([round(values[seed] - baseline[seed], 9) for seed in shared])
    if difference is None or difference.sd is None:
        return None if difference is None else Difference(difference, None)
    error = max(difference.sd, step / math.sqrt(6)) / math.sqrt(difference.n)
    widened = replace(difference, half=t_quantile(difference.n - 1) * error)
    return Difference(widened, _p_value(difference.mean, error, difference.n - 1))


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


def detectable(freedom: int, error: float) -> float:
    """Return the true difference that a test at 5 % finds four times out of five, given its standard error.

    (t(0.975) + t(0.8)) · error with these degrees of freedom: the usual approximation of the power of a
    t-test, for one test without correction.
    """
    from scipy.special import stdtrit

    return (t_quantile(freedom) + float(stdtrit(freedom, _POWER))) * error


def noise_floor(dense: Sequence[float]) -> float | None:
    """Return the difference that two means of n dense repeats stay below 95 % of the time; None for n = 1.

    t(n - 1) · sd · sqrt(2 / n), with n the number of repeats. A smaller difference says nothing.
    """
    spread = summary(dense)
    return None if spread is None or spread.half is None else math.sqrt(2) * spread.half


def holm(p_values: Sequence[float]) -> list[float]:
    """Return the p-values, corrected over their family, in the order given.

    Holm 1979, section 2: the i-th smallest of m is multiplied by m - i + 1, and none falls below an
    earlier one. Comparing them with 0.05 keeps the chance of any false verdict in the family below 5 %.
    """
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    corrected = [0.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, p_values[index] * (len(p_values) - rank)))
        corrected[index] = largest
    return corrected


@lru_cache(maxsize=256)
def t_quantile(freedom: int) -> float:
    """Return the two-sided 95 % quantile of Student's t with `freedom` degrees of freedom."""
    from scipy.special import stdtrit  # scipy.stats costs two seconds more

    return float(stdtrit(freedom, (1 + LEVEL) / 2))


def _p_value(mean: float, error: float, freedom: int) -> float:
    """Return the two-sided p-value of a mean with that standard error, by Student's t."""
    if mean == 0 or error == 0:
        return float(mean == 0)
    from scipy.special import stdtr

    return float(2 * stdtr(freedom, -abs(mean) / error))


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
