"""Paired differences whose intervals hold together, and verdicts that are those intervals.

The comparisons of one table hold together: their intervals are wide enough that all of them cover the truth
95 % of the time, and a verdict is whether its interval excludes 0.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

from prunery.stats import FEW, LEVEL, Summary, summary, t_quantile

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

POOLED = 3  # arms at one place, with which their spreads are pooled
UNLIKE = 0.01  # the level of the test that spreads differ
_POWER = 0.8
_POINTS = 2000
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


def compared(pairs: Sequence[Pair], *, step: float = 0.0) -> list[Difference | None]:
    """Return the difference of each pair, with intervals that hold together; None where no seed is shared.

    The spread of a difference is pooled over all arms of its place (the mean square of what is left of values
    once each arm's and each seed's mean is taken off: randomised blocks), unless `spreads_differ`; then, and
    where fewer than three arms or seeds are shared, it is its own. The number of standard errors comes from
    the studentized maximum modulus (Hochberg 1974), taken over places whose spreads are independent, so that
    all intervals cover the truth at least 95 % of the time under equal spreads.

    `step` is what one example more or less changes. Counting rounds each value to a step, so that equal
    differences are no proof of no spread: the standard deviation of a difference is taken to be at least that
    of two such roundings, step / sqrt(6).
    """
    plain = [summary(pair.differences) for pair in pairs]
    known = [i for i, s in enumerate(plain) if s is not None and s.n >= FEW]
    pooled = {place: _pooled([p for p in pairs if p.place == place]) for place in {p.place for p in pairs}}
    variances: dict[int, tuple[float, int]] = {}
    for i in known:
        own = plain[i]
        assert own is not None
        assert own.sd is not None
        variances[i] = pooled[pairs[i].place] or (own.sd**2, own.n - 1)
    tail = simultaneous_tail(_layout(pairs, pooled, variances))
    made: list[Difference | None] = [None if s is None else Difference(s) for s in plain]
    for i, (variance, freedom) in variances.items():
        own = plain[i]
        assert own is not None
        error = math.sqrt(max(variance, step**2 / 6) / own.n)
        critical = t_quantile(freedom, tail)
        made[i] = Difference(replace(own, half=critical * error), freedom, error, critical)
    return made


def _layout(
    pairs: Sequence[Pair],
    pooled: Mapping[Hashable, tuple[float, int] | None],
    variances: Mapping[int, tuple[float, int]],
) -> tuple[tuple[int, int], ...]:
    """Return (degrees of freedom, comparisons that share the spread) of each independent spread."""
    together: dict[Hashable, list[int]] = {}
    for i, (_, freedom) in variances.items():
        place = pairs[i].place
        together.setdefault(("place", place) if pooled[place] else i, []).append(freedom)
    return tuple(sorted((freedoms[0], len(freedoms)) for freedoms in together.values()))


def _pooled(pairs: Sequence[Pair]) -> tuple[float, int] | None:
    """Return the variance of a difference, pooled over a place's arms, and its degrees of freedom."""

    arms = {p.arm: p.values for p in pairs} | {p.reference: p.baseline for p in pairs}
    seeds = sorted(set.intersection(*(set(values) for values in arms.values())))
    if len(arms) < POOLED or len(seeds) < FEW:
        return None
    left = _left([[values[seed] for seed in seeds] for values in arms.values()])
    squares = (left**2).sum(axis=1)
    if spreads_differ(squares.tolist(), len(seeds)):
        return None
    freedom = (len(arms) - 1) * (len(seeds) - 1)
    return 2 * float(squares.sum()) / freedom, freedom


def spreads_differ(squares: Sequence[float], n: int) -> bool:
    """Return whether a test at 1 % says that some arm's spread is larger than that of the others.

    `squares`: of each arm, what is left of its n values once seeds' and arms' means are taken off, squared
    and summed. If all k spreads are equal, each one's share of their sum is (k - 1) / k times a variable of
    the distribution Beta((n - 1) / 2, (k - 2)(n - 1) / 2); the probability is taken k times, for the largest
    was chosen (Cochran 1941, here for blocks).
    """
    from scipy.special import betainc

    k, total = len(squares), sum(squares)
    if k < 3 or total == 0:
        return False
    share = min(1.0, max(squares) / total * k / (k - 1))
    return bool(k * (1 - betainc((n - 1) / 2, (k - 2) * (n - 1) / 2, share)) < UNLIKE)


@lru_cache(maxsize=4096)
def simultaneous_tail(layout: tuple[tuple[int, int], ...]) -> float:
    """Return the two-sided tail at which t-intervals must be taken for all to hold together 95 % of the time.

    `layout`: degrees of freedom of each independent spread, and how many comparisons share it. The
    probability that all hold is the product over spreads of E[(2 Φ(c S) - 1)^m], with S² a chi-squared
    variable over its degrees of freedom: exact for independent differences, on the safe side for others.
    """
    if sum(m for _, m in layout) < 2:
        return 1 - LEVEL
    low, high = (1 - LEVEL) / 10 / sum(m for _, m in layout), 1 - LEVEL
    for _ in range(40):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if _joint(layout, middle) > LEVEL else (low, middle)
    return low


def _joint(layout: Sequence[tuple[int, int]], tail: float) -> float:
    from scipy.special import ndtr

    parts = ((2 * ndtr(t_quantile(f, tail) * _spreads(f)) - 1) ** m for f, m in layout)
    return math.prod(float(part.mean()) for part in parts)


@lru_cache(maxsize=256)
def _spreads(freedom: int) -> NDArray[np.float64]:
    """Return sqrt(chi² / freedom) at evenly spaced probabilities."""
    import numpy as np
    from scipy.special import chdtri

    spreads: NDArray[np.float64] = np.sqrt(chdtri(freedom, (np.arange(_POINTS) + 0.5) / _POINTS) / freedom)
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
    compared with the reference at each place (a sparsity). As `compared` makes the intervals where spreads
    are equal; None for fewer than three seeds, which have no interval.
    """
    if seeds < FEW or not methods:
        return None
    freedoms = [(m if m + 1 >= POOLED else 1) * (seeds - 1) for m in methods]
    tail = simultaneous_tail(tuple(sorted(zip(freedoms, methods, strict=True))))
    error = math.sqrt(2 / seeds)
    return [detectable(freedom, error, t_quantile(freedom, tail)) for freedom in freedoms]


def spread_of(tables: Sequence[Sequence[Sequence[float]]]) -> float | None:
    """Return the standard deviation of a run about the means of its method and its seed, in the values' unit.

    `tables`: of each place, a row of values for each method, by seed. Pooled over the tables; None where no
    table has two rows and three seeds.
    """
    squares, freedom = 0.0, 0
    for rows in tables:
        if len(rows) < 2 or len(rows[0]) < FEW:
            continue
        squares += float((_left(rows) ** 2).sum())
        freedom += (len(rows) - 1) * (len(rows[0]) - 1)
    return math.sqrt(squares / freedom) if freedom else None


def _left(rows: Sequence[Sequence[float]]) -> NDArray[np.float64]:
    """Return values (methods x seeds) less the means of methods and of seeds."""
    import numpy as np

    table = np.array(rows)
    left: NDArray[np.float64] = table - table.mean(axis=1, keepdims=True) - table.mean(axis=0) + table.mean()
    return left
