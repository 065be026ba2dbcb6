"""How far runs spread: pooled over what may be pooled, by tests that say where it may not.

A place is a sparsity, or whatever else comparisons are made at. Values are rows of arms (methods, and what
they are compared with) by seeds; what is left of them once each arm's and each seed's mean is taken off is
spread (randomised blocks).
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prunery.stats import FEW

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

UNLIKE = 0.01  # the level of the test that the spreads of a place's arms differ
UNLIKE_PLACES, UNLIKE_REFERENCE = 0.05, 0.2  # ... that places' do, and that a reference's is larger


@dataclass(frozen=True)
class Spread:
    """The variance of a difference, its degrees of freedom, and what other differences share it.

    correlation: of the differences that share it, as far as it is known; 0 is on the safe side.
    """

    variance: float
    freedom: int
    shared: Hashable
    correlation: float = 0.0


@dataclass(frozen=True)
class Place:
    """What is left of a place's values, squared and summed, of all arms and of those that are no reference.

    beyond: the variance of a reference of all arms about their mean; None without one.
    """

    name: Hashable
    seeds: int
    squares: float
    freedom: int
    of_arms: float
    freedom_of_arms: int
    beyond: float | None


def place_of(name: Hashable, rows: Sequence[Sequence[float]], reference: int | None) -> Place | None:
    """Return a place with these values (arms x seeds); None where the spreads of its arms differ.

    reference: the row that all others are compared with, if there is one.
    """
    squares, n = (_left(rows) ** 2).sum(axis=1), len(rows[0])
    if spreads_differ(squares.tolist(), n):
        return None
    total, freedom = float(squares.sum()), (len(rows) - 1) * (n - 1)
    if reference is None:
        return Place(name, n, total, freedom, total, freedom, None)
    arms = [row for i, row in enumerate(rows) if i != reference]
    means = (statistics.fmean(each) for each in zip(*arms, strict=True))
    beyond = statistics.variance([v - mean for v, mean in zip(rows[reference], means, strict=True)])
    return Place(name, n, total, freedom, float((_left(arms) ** 2).sum()), freedom - (n - 1), beyond)


def pooled_spreads(places: Sequence[Place], *, together: bool) -> dict[Hashable, Spread]:
    """Return the spread of a difference at each place.

    It is pooled over the arms of a place, and with `together` over places, unless `places_differ`. Where a
    reference spreads more than the arms, it counts with a spread of its own.
    """
    differ = not together or places_differ([p.of_arms for p in places], [p.freedom_of_arms for p in places])
    found: dict[Hashable, Spread] = {}
    for group in [[place] for place in places] if differ else [places]:
        within = sum(p.of_arms for p in group), sum(p.freedom_of_arms for p in group)
        apart = {p.name: spread for p in group if (spread := _with_own_reference(p, *within)) is not None}
        rest = [p for p in group if p.name not in apart]
        freedom = sum(p.freedom for p in rest)
        variance = 2 * sum(p.squares for p in rest) / freedom if rest else 0.0
        found |= apart | {p.name: Spread(variance, freedom, ("places", group[0].name)) for p in rest}
    return found


def _with_own_reference(place: Place, squares: float, freedom: int) -> Spread | None:
    """Return the spread of differences to a reference that spreads more than the arms; None where none does.

    Under equal spreads the reference varies about the mean of m arms by 1 + 1/m times an arm's variance. The
    level of the test is high: one reference enters all comparisons of a place, and few seeds hardly tell its
    spread. Degrees of freedom: Satterthwaite's (1946).
    """
    from scipy.special import fdtrc

    if place.beyond is None or squares == 0:
        return None
    few = place.seeds - 1
    within, m = squares / freedom, place.freedom // few
    if fdtrc(few, freedom, place.beyond / (within * (1 + 1 / m))) >= UNLIKE_REFERENCE:
        return None
    arm = within * (1 - 1 / m)
    known = (arm + place.beyond) ** 2 / (arm**2 / freedom + place.beyond**2 / few)
    correlation = max(0.0, place.beyond - within / m) / (arm + place.beyond)
    below = math.floor(10 * correlation) / 10  # few values, so that few integrals are taken
    return Spread(arm + place.beyond, math.floor(known), ("reference", place.name), below)


def places_differ(squares: Sequence[float], freedoms: Sequence[int]) -> bool:
    """Return whether a test at 5 % says that the spreads of places differ (Bartlett 1937).

    `squares`: of each place, a sum of squares with so many degrees of freedom.
    """
    from scipy.special import chdtrc

    k, freedom = len(squares), sum(freedoms)
    if k < 2 or sum(squares) == 0:
        return False
    if min(squares) == 0:
        return True
    parts = (f * math.log(s / f) for s, f in zip(squares, freedoms, strict=True))
    statistic = freedom * math.log(sum(squares) / freedom) - sum(parts)
    correction = 1 + (sum(1 / f for f in freedoms) - 1 / freedom) / (3 * (k - 1))
    return bool(chdtrc(k - 1, statistic / correction) < UNLIKE_PLACES)


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
