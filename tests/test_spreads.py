"""Which spreads are pooled, and what tests say where they may not be; by hand, and on draws."""

import math

import numpy as np
import pytest

from prunery.comparisons import Pair, compared, detectable_by
from prunery.spreads import places_differ, spread_of, spreads_differ


def _table(rng, spreads, n):
    """One row of values for each arm, with effects of seeds that all arms share."""
    shared = rng.normal(0, 1, n)
    return [dict(enumerate(shared + rng.normal(0, sd, n))) for sd in spreads]


def test_spreads_that_differ_are_not_pooled():
    assert not spreads_differ([1.0, 1.2, 0.9, 1.1], 3)
    assert spreads_differ([100.0, 0.1, 0.1, 0.1], 3)
    assert not spreads_differ([100.0, 0.1], 3)  # of two arms, which one it is cannot be told
    values = [
        dict(enumerate(v)) for v in ((0.0, 0.1, 0.0), (0.1, 0.0, 0.1), (0.0, 0.1, 0.1), (50.0, 0.0, -50.0))
    ]
    differences = compared([Pair(0.9, i, "dense", values[i], values[0]) for i in (1, 2, 3)])
    assert [d.freedom for d in differences] == [2, 2, 2]
    assert differences[2].summary.half > 100 * differences[0].summary.half


def test_the_test_of_spreads_keeps_its_level():
    rng = np.random.default_rng(8)
    wrong = 0
    for _ in range(2000):
        values = np.array([list(v.values()) for v in _table(rng, [1.0] * 5, 3)])
        left = values - values.mean(1, keepdims=True) - values.mean(0) + values.mean()
        wrong += spreads_differ((left**2).sum(1).tolist(), 3)
    assert wrong / 2000 <= 0.016


def test_places_whose_spreads_differ_are_told_by_hand():
    # Bartlett: 8 ln(3) - 4 ln(1) - 4 ln(5) = 2.351, over 1 + (1/4 + 1/4 - 1/8) / 3 = 1.125: chi-squared 2.09
    assert not places_differ([4.0, 20.0], [4, 4])
    assert places_differ([4.0, 100.0], [4, 4])  # 8 ln(13) - 4 ln(25) = 7.644, over 1.125: 6.79, P = 0.009
    assert not places_differ([0.0, 0.0], [4, 4])
    assert places_differ([0.0, 1.0], [4, 4])
    assert not places_differ([1.0], [4])


@pytest.mark.parametrize("together", [False, True])
def test_the_spread_is_pooled_over_places_that_may_be(together):
    rng = np.random.default_rng(0)
    dense, *arms = _table(rng, [1.0] * 7, 3)
    pairs = [Pair(i % 2, i, "dense", arm, dense) for i, arm in enumerate(arms)]
    found = {(d.freedom, round(d.error, 9)) for d in compared(pairs, together=together)}
    assert {freedom for freedom, _ in found} == ({12} if together else {6})
    assert len(found) == (1 if together else 2)
    far = [
        Pair(p.place, p.arm, "dense", {k: v * (1 + 99 * p.place) for k, v in p.values.items()}, dense)
        for p in pairs
    ]
    assert {d.freedom for d in compared(far, together=together)} <= {2, 3, 4, 5, 6}


def test_a_reference_that_spreads_more_counts_with_a_spread_of_its_own():
    # arms 0, 0.1, 0.2 and back: residuals square to 0.02 + 0.02 over 2 degrees of freedom; the reference lies
    # 0.5, -0.5, 0 about their mean of 0.1: variance 0.25, so the difference's is 0.02 * (1 - 1/2) + 0.25;
    # F = 0.25 / (0.02 * (1 + 1/2)) = 8.3, P = 0.11; 0.26^2 / (0.01^2 / 2 + 0.25^2 / 2) = 2.16 degrees
    arms = [dict(enumerate(v)) for v in ((0.0, 0.1, 0.2), (0.2, 0.1, 0.0))]
    dense = dict(enumerate((0.6, -0.4, 0.1)))
    steady = dict(enumerate((0.1, 0.1, 0.1)))
    found = compared([Pair(0.9, i, "dense", arm, dense) for i, arm in enumerate(arms)])
    assert [d.error for d in found] == pytest.approx([math.sqrt(0.26 / 3)] * 2)
    assert [d.freedom for d in found] == [2, 2]
    same = compared([Pair(0.9, i, "dense", arm, steady) for i, arm in enumerate(arms)])
    assert [d.freedom for d in same] == [4, 4]


def test_a_spread_is_what_methods_and_seeds_leave():
    rows = [[1.0, 2.0, 3.0], [11.0, 12.0, 13.0]]  # seeds and methods explain all of it
    assert spread_of([rows]) == pytest.approx(0)
    # -1, 1 and 0 about the means of one arm are halved by the other: 2 * (0.5 ** 2 + 0.5 ** 2) over 2
    assert spread_of([[[-1.0, 1.0, 0.0], [0.0, 0.0, 0.0]]]) == pytest.approx(math.sqrt(0.5))
    assert spread_of([[[1.0, 2.0], [3.0, 5.0]], [[1.0, 2.0, 3.0]]]) is None
    assert detectable_by(2, [4]) is None
    assert detectable_by(3, []) is None
