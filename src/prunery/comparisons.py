"""Paired differences whose intervals hold together, and verdicts that are those intervals.

The comparisons of one table hold together: their intervals are wide enough that all of them cover the truth
95 % of the time, and a verdict is whether its interval excludes 0.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

from prunery.spreads import Place, Spread, place_of, pooled_spreads
from prunery.stats import FEW, LEVEL, Summary, summary, t_quantile

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

POOLED = 3  # arms at one place, with which their spreads are pooled
_POWER = 0.8
_POINTS, _FEWER, _NORMALS = 2000, 200, 32  # of integrals
Shared = tuple[int, int, float]
HIGHER, LOWER, NOT_SHOWN = "higher", "lower", "not shown"


@dataclass(frozen=True)
class Difference:
    """A paired difference with its simultaneous interval; freedom: degrees of freedom of its spread.

    error: its standard error. critical: by how many of them the interval reaches to either side.
    """

    summary: Summary
    freedom: int = 0
    error: float = math.nan
    critical: float = math.nan

    @property
    def verdict(self) -> str | None:
        """Return `higher` or `lower` where the interval excludes 0, else `not shown`; None without one."""
        half, mean = self.summary.half, self.summary.mean
        if half is None:
            return None
        if abs(mean) <= half:
            return NOT_SHOWN
        return HIGHER if mean > 0 else LOWER

    @property
    def turned(self) -> Difference:
        """Return the difference of the reference to the arm."""
        return replace(self, summary=replace(self.summary, mean=-self.summary.mean))

    @property
    def detectable(self) -> float | None:
        """Return the true difference that would be shown four times out of five; None without an interval."""
        if self.summary.half is None:
            return None
        return detectable(self.freedom, self.error, self.critical)


@dataclass(frozen=True)
class Pair:
    """One comparison of a table: an arm minus a reference, by seed.

    Spreads are pooled over the arms and references of one place (a sparsity); arm and reference are names.
    """

    place: Hashable
    arm: Hashable
    reference: Hashable
    values: Mapping[int, float]
    baseline: Mapping[int, float]

    @property
    def differences(self) -> list[float]:
        """Return the differences over the seeds that both have."""
        shared = sorted(self.values.keys() & self.baseline.keys())
        # nine decimals: what floats add to equal differences of counts is not spread
        return [round(self.values[seed] - self.baseline[seed], 9) for seed in shared]


def paired(
    values: Mapping[int, float], baseline: Mapping[int, float], *, step: float = 0.0
) -> Difference | None:
    """Return `values` minus `baseline` over the seeds that both have; None where they share none."""
    return compared([Pair("", "values", "baseline", values, baseline)], step=step)[0]


def compared(pairs: Sequence[Pair], *, step: float = 0.0, together: bool = False) -> list[Difference | None]:
    """Return the difference of each pair, with intervals that hold together; None where no seed is shared.

    The spread of a difference is pooled over all arms of its place (the mean square of what is left of values
    once each arm's and each seed's mean is taken off: randomised blocks), unless `spreads_differ`; then, and
    where fewer than three arms or seeds are shared, it is its own. `together`: it is pooled over places too,
    unless `places_differ`. A reference that all arms of a place are compared with, and that spreads more than
    they do, counts with a spread of its own. The number of standard errors comes from
    the studentized maximum modulus (Hochberg 1974), taken over places whose spreads are independent, so that
    all intervals cover the truth at least 95 % of the time under equal spreads.

    `step` is what one example more or less changes. Counting rounds each value to a step, so that equal
    differences are no proof of no spread: the standard deviation of a difference is taken to be at least that
    of two such roundings, step / sqrt(6).
    """
    plain = [summary(pair.differences) for pair in pairs]
    places = {pair.place: [other for other in pairs if other.place == pair.place] for pair in pairs}
    pooled = pooled_spreads([p for each in places.items() if (p := _place(*each))], together=together)
    spreads: dict[int, Spread] = {}
    for i, own in enumerate(plain):
        if own is not None and own.n >= FEW:
            assert own.sd is not None
            spreads[i] = pooled.get(pairs[i].place) or Spread(own.sd**2, own.n - 1, ("own", i))
    tail = simultaneous_tail(_layout(spreads.values()))
    made: list[Difference | None] = [None if s is None else Difference(s) for s in plain]
    for i, spread in spreads.items():
        own = plain[i]
        assert own is not None
        error = math.sqrt(max(spread.variance, step**2 / 6) / own.n)
        critical = t_quantile(spread.freedom, tail)
        made[i] = Difference(replace(own, half=critical * error), spread.freedom, error, critical)
    return made


def _layout(spreads: Iterable[Spread]) -> tuple[Shared, ...]:
    """Return (degrees of freedom, comparisons that share the spread, correlation) of each spread."""
    counts = Counter((spread.shared, spread.freedom, spread.correlation) for spread in spreads)
    return tuple(sorted((freedom, m, correlation) for (_, freedom, correlation), m in counts.items()))


def _place(name: Hashable, pairs: Sequence[Pair]) -> Place | None:
    """Return what is left of a place's values; None where nothing can be pooled there."""
    arms = {p.arm: p.values for p in pairs} | {p.reference: p.baseline for p in pairs}
    seeds = sorted(set.intersection(*(set(values) for values in arms.values())))
    if len(arms) < POOLED or len(seeds) < FEW:
        return None
    references = {pair.reference for pair in pairs}
    common = len(references) == 1 and len(pairs) == len(arms) - 1
    rows = {arm: [values[seed] for seed in seeds] for arm, values in arms.items()}
    return place_of(name, list(rows.values()), list(rows).index(references.pop()) if common else None)


@lru_cache(maxsize=4096)
def simultaneous_tail(layout: tuple[Shared, ...]) -> float:
    """Return the two-sided tail at which t-intervals must be taken for all to hold together 95 % of the time.

    `layout`: of each independent spread its degrees of freedom, how many comparisons share it, and their
    correlation. The probability that all hold is the product over spreads of
    E[(Φ((c S + r Z) / q) - Φ((-c S + r Z) / q))^m], with S² a chi-squared variable over its degrees of
    freedom, Z a normal one, r² the correlation and q² = 1 - r² (Dunnett 1955): exact where differences of a
    spread correlate by that much, on the safe side where by more.
    """
    if sum(m for _, m, _ in layout) < 2:
        return 1 - LEVEL
    low, high = (1 - LEVEL) / 10 / sum(m for _, m, _ in layout), 1 - LEVEL
    for _ in range(25):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if _joint(layout, middle) > LEVEL else (low, middle)
    return low


def _joint(layout: Sequence[Shared], tail: float) -> float:
    parts = (_holds(t_quantile(freedom, tail), freedom, m, rho) for freedom, m, rho in layout)
    return math.prod(parts, start=1.0)


def _holds(critical: float, freedom: int, m: int, correlation: float) -> float:
    """Return the probability that m intervals which share a spread hold together."""
    from scipy.special import ndtr

    if not correlation:
        return float(((2 * ndtr(critical * _spreads(freedom, _POINTS)) - 1) ** m).mean())
    reach, (normals, weights) = critical * _spreads(freedom, _FEWER), _normals()
    common, own = math.sqrt(correlation) * normals, math.sqrt(1 - correlation)
    parts = (ndtr((common + reach) / own) - ndtr((common - reach) / own)) ** m
    return float(weights @ parts.mean(axis=1))


@lru_cache(maxsize=1)
def _normals() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return values of a normal variable and their weights, to take means with (Gauss and Hermite)."""
    import numpy as np

    values, weights = np.polynomial.hermite_e.hermegauss(_NORMALS)
    return values[:, None], weights / weights.sum()


@lru_cache(maxsize=256)
def _spreads(freedom: int, points: int) -> NDArray[np.float64]:
    """Return sqrt(chi² / freedom) at evenly spaced probabilities."""
    import numpy as np
    from scipy.special import chdtri

    spreads: NDArray[np.float64] = np.sqrt(chdtri(freedom, (np.arange(points) + 0.5) / points) / freedom)
    return spreads


def detectable(freedom: int, error: float, critical: float | None = None) -> float:
    """Return the true difference that an interval excludes four times out of five, given its standard error.

    (critical + t(0.8)) · error with these degrees of freedom: the usual approximation of the power of a
    t-test. critical: standard errors that the interval reaches; by default those of one comparison.
    """
    from scipy.special import stdtrit

    reach = t_quantile(freedom) if critical is None else critical
    return (reach + float(stdtrit(freedom, _POWER))) * error


def detectable_by(seeds: int, methods: Sequence[int]) -> list[float] | None:
    """Return, for each place, the true difference from a reference that is shown four times out of five.

    In standard deviations of a run about the means of its method and its seed. `methods`: how many are
    compared with the reference at each place (a sparsity). As `compared` makes the intervals of a table where
    spreads are equal; None for fewer than three seeds, which have no interval.
    """
    if seeds < FEW or not methods:
        return None
    pooled = [m for m in methods if m + 1 >= POOLED]
    shared = [(sum(pooled) * (seeds - 1), sum(pooled), 0.0)] if pooled else []
    alone = [(seeds - 1, m, 0.0) for m in methods if m + 1 < POOLED]
    tail = simultaneous_tail(tuple(sorted(shared + alone)))
    freedoms = [shared[0][0] if m + 1 >= POOLED else seeds - 1 for m in methods]
    error = math.sqrt(2 / seeds)
    return [detectable(freedom, error, t_quantile(freedom, tail)) for freedom in freedoms]
