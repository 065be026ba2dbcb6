"""Hand-computed statistics, and the level and coverage they promise."""

import math

import numpy as np
import pytest

from prunery.comparisons import Pair, compared, detectable_by, paired, simultaneous_tail
from prunery.spreads import spread_of
from prunery.stats import median_interval, noise_floor, summary, t_quantile


def test_the_summary_of_three_values():
    # sd of 1, 2, 3 is 1; t(2) = 4.302652729911275 (any table: 4.303)
    values = summary([1.0, 2.0, 3.0])
    assert (values.n, values.mean, values.sd) == (3, 2.0, 1.0)
    assert values.half == pytest.approx(4.302652729911275 / math.sqrt(3))
    assert values.low == pytest.approx(2 - 2.484137713)
    assert values.high == pytest.approx(2 + 2.484137713)


@pytest.mark.parametrize(
    ("freedom", "quantile"), [(1, 12.706), (2, 4.303), (4, 2.776), (9, 2.262), (30, 2.042)]
)
def test_the_quantiles_are_those_of_the_printed_table(freedom, quantile):
    assert t_quantile(freedom) == pytest.approx(quantile, abs=5e-4)


def test_one_value_has_no_interval_and_none_has_nothing():
    values = summary([97.5])
    found = (values.n, values.mean, values.sd, values.half, values.low, values.high)
    assert found == (1, 97.5, None, None, None, None)
    assert summary([]) is None


def test_a_paired_difference_by_hand():
    # differences 2, 1, 3: sd 1, so ±4.303 / sqrt(3) = ±2.48
    difference = paired({0: 3, 1: 5, 2: 7}, {0: 1, 1: 4, 2: 4})
    assert difference.summary.mean == 2
    assert difference.summary.half == pytest.approx(2.484137713)
    assert difference.verdict == "not shown"
    assert paired({0: 4, 1: 6, 2: 8}, {0: 1, 1: 4, 2: 4}).verdict == "higher"  # 3 ±2.48


def test_pairing_removes_what_the_seeds_share():
    seeds = range(5)
    base = {s: 90 + 3.0 * s for s in seeds}  # spreads by far more than the difference
    better = {s: base[s] + 0.5 + 0.01 * s for s in seeds}
    assert paired(better, base).verdict == "higher"
    assert paired(base, better).verdict == "lower"


def test_only_shared_seeds_are_paired():
    difference = paired({0: 10.0, 1: 20.0, 7: 99.0}, {0: 11.0, 1: 22.0, 8: 0.0})
    assert (difference.summary.n, difference.summary.mean) == (2, -1.5)
    assert paired({0: 1.0}, {1: 1.0}) is None


def test_one_pair_gives_a_difference_and_no_verdict():
    difference = paired({0: 97.0}, {0: 96.0})
    assert difference.summary.mean == 1.0
    assert difference.verdict is None


def test_equal_differences_of_counts_have_the_spread_of_rounding():
    base = dict.fromkeys(range(3), 97.5)
    assert paired(base, base, step=0.01).verdict == "not shown"
    # 97.3 - 97.5 is not exactly -0.2 in floats, and the same three times; one of 400 images is 0.25 points:
    # error = 0.25 / sqrt(6) / sqrt(3)
    constant = paired(dict.fromkeys(range(3), 97.3), base, step=0.25)
    assert constant.summary.sd == 0.0
    assert constant.summary.half == pytest.approx(4.302652729911275 * 0.25 / math.sqrt(18))
    assert constant.verdict == "not shown"
    assert paired(dict.fromkeys(range(3), 97.3), base, step=0.01).verdict == "lower"


def test_the_spread_of_rounding_is_a_floor_and_no_addition():
    values, base = {0: 3.0, 1: 5.0, 2: 7.0}, {0: 1.0, 1: 4.0, 2: 4.0}
    assert paired(values, base, step=0.01) == paired(values, base)


def test_the_floor_keeps_the_level_on_small_test_sets():
    rng = np.random.default_rng(7)
    false = 0
    for _ in range(2000):
        a, b = (np.round(rng.normal(345, 1.5, size=3)) / 3.6 for _ in range(2))
        false += paired(dict(enumerate(a)), dict(enumerate(b)), step=1 / 3.6).verdict != "not shown"
    assert false / 2000 <= 0.06


@pytest.mark.parametrize(
    ("freedom", "m", "value"), [(5, 2, 3.09), (5, 3, 3.40), (10, 3, 2.83), (10, 6, 3.20), (20, 10, 3.12)]
)
def test_many_intervals_reach_as_far_as_the_printed_table_of_the_maximum_modulus(freedom, m, value):
    # Hahn and Hendrickson 1971, table 1: studentized maximum modulus, 5 %, correlation 0
    assert t_quantile(freedom, simultaneous_tail(((freedom, m, 0.0),))) == pytest.approx(value, abs=0.015)


@pytest.mark.parametrize(
    ("freedom", "m", "value"), [(10, 2, 2.57), (10, 9, 3.24), (20, 3, 2.54), (20, 9, 2.95)]
)
def test_with_one_reference_they_reach_as_far_as_the_printed_table_of_dunnett(freedom, m, value):
    # Dunnett 1964, table 2: two-sided, 5 %, equal spreads, so that comparisons correlate by a half
    assert t_quantile(freedom, simultaneous_tail(((freedom, m, 0.5),))) == pytest.approx(value, abs=0.015)


def test_one_comparison_is_the_t_interval_and_independent_spreads_multiply():
    assert simultaneous_tail(((4, 1, 0.0),)) == pytest.approx(0.05)
    assert simultaneous_tail(((4, 1, 0.0), (7, 1, 0.0))) == pytest.approx(1 - math.sqrt(0.95), rel=1e-3)


def _table(rng, spreads, n):
    """One row of values for each arm, with effects of seeds that all arms share."""
    shared = rng.normal(0, 1, n)
    return [dict(enumerate(shared + rng.normal(0, sd, n))) for sd in spreads]


def test_the_spread_is_pooled_over_the_arms_of_a_place():
    # residuals of (0, 1, 2), (2, 1, 0), (1, 1, 1): squares 2, 2, 0; mean square 4 / 4 = 1; of a difference 2
    values = [dict(enumerate(v)) for v in ((0.0, 1.0, 2.0), (2.0, 1.0, 0.0), (1.0, 1.0, 1.0))]
    pairs = [Pair(0.9, i, "dense", values[i], values[2]) for i in (0, 1)]
    first, second = compared(pairs)
    assert (first.freedom, first.error) == (4, pytest.approx(math.sqrt(2 / 3)))
    assert first.critical == pytest.approx(t_quantile(4, simultaneous_tail(((4, 2, 0.0),))))
    assert first.summary.half == pytest.approx(first.critical * first.error)
    assert first.summary.half == second.summary.half
    apart = compared([Pair(i, i, "dense", values[i], values[2]) for i in (0, 1)])
    assert [d.freedom for d in apart] == [2, 2]


def test_an_interval_stays_within_its_bounds():
    cut = summary([10.0, 50.0, 90.0], bounds=(0.0, 100.0))
    assert (cut.low, cut.high, cut.cut) == (0.0, 100.0, True)
    assert not summary([49.0, 50.0, 51.0], bounds=(0.0, 100.0)).cut


def test_the_noise_floor_of_three_dense_repeats():
    assert noise_floor([1.0, 2.0, 3.0]) == pytest.approx(4.302652729911275 * math.sqrt(2 / 3))
    assert noise_floor([98.0, 99.0]) is None


@pytest.mark.parametrize("n", [3, 5])
def test_intervals_cover_the_truth_as_often_as_they_say(n):
    draws = np.random.default_rng(20 + n).normal(97.0, 0.3, size=(2000, n))
    summaries = [summary(list(row)) for row in draws]
    covered = sum(s.low <= 97.0 <= s.high for s in summaries) / len(summaries)
    assert 0.93 <= covered <= 0.97


def test_paired_tests_keep_their_level():
    rng = np.random.default_rng(5)
    false = 0
    for _ in range(2000):
        shared = rng.normal(0, 1, size=3)
        a, b = shared + rng.normal(0, 0.2, size=3), shared + rng.normal(0, 0.2, size=3)
        false += paired(dict(enumerate(a)), dict(enumerate(b))).verdict != "not shown"
    assert 0.03 <= false / 2000 <= 0.07


def studies(rng, times, spreads, n, truth=0.0, places=1):
    """Return how often all intervals of a study hold, and how often its first difference is shown."""
    hold = shown = 0
    for _ in range(times):
        dense, *arms = _table(rng, spreads, n)
        arms[0] = {seed: value + truth for seed, value in arms[0].items()}
        pairs = [Pair(i % places, i, "dense", arm, dense) for i, arm in enumerate(arms)]
        differences = compared(pairs, together=True)
        truths = [truth, *[0.0] * (len(arms) - 1)]
        hold += all(
            abs(d.summary.mean - t) <= d.summary.half for d, t in zip(differences, truths, strict=True)
        )
        shown += differences[0].verdict == "higher"
        for d in differences:  # a verdict is its interval
            assert (d.verdict == "not shown") == (d.summary.low <= 0 <= d.summary.high)
    return hold / times, shown / times


@pytest.mark.parametrize("n", [3, 5])
def test_the_intervals_of_a_table_hold_together(n):
    hold, _ = studies(np.random.default_rng(10 + n), 500, [1.0] * 10, n)
    assert 0.94 <= hold <= 0.985


@pytest.mark.parametrize("n", [3, 5])
@pytest.mark.parametrize("places", [1, 3])
@pytest.mark.parametrize(
    "spreads", [[1.0, *[1.0, 2.0] * 4, 1.0], [2.0, *[1.0] * 9], [1.0, *[1.0, 1.0, 2.0] * 3]]
)
def test_they_hold_nine_times_out_of_ten_where_spreads_differ_twofold(n, places, spreads):
    """Every other method's, the dense network's, every third method's or (of three) one sparsity's."""
    assert studies(np.random.default_rng(20 + n), 500, spreads, n, places=places)[0] >= 0.9


@pytest.mark.parametrize("places", [1, 3])
def test_three_seeds_show_a_difference_of_twice_the_spread_in_half_of_the_studies(places):
    # nine comparisons; the spread is that of a difference, sqrt(2) times that of an arm
    found = studies(np.random.default_rng(30), 500, [1.0] * 10, 3, truth=2 * math.sqrt(2), places=places)
    assert found[1] >= 0.5


def test_the_interval_of_a_median_by_hand():
    # P(B < 10) = 0.0214 and P(B < 11) = 0.0494 for B binomial (30, 1/2): the 10th of 30 from either side
    values = [(i // 2 + 1) if i % 2 else 30 - i // 2 for i in range(30)]  # 30, 1, 29, 2, ...: no memory
    assert median_interval(values, level=0.95) == (10, 21)
    assert median_interval(values, level=0.5) == (13, 18)
    # 2 / 2^6 = 3 %: all of six values; of five, 2 / 2^5 = 6 % is too much
    assert median_interval([3, 1, 6, 2, 5, 4]) == (1, 6)
    for few in ([], [1.0], [3, 1, 5, 2, 4]):
        assert median_interval(few) == (-math.inf, math.inf)


@pytest.mark.parametrize(("memory", "least"), [(0.0, 0.94), (0.5, 0.90)])
def test_the_interval_of_a_median_covers_it(memory, least):
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((1500, 30))
    for i in range(1, 30):  # each value resembles the one before
        noise[:, i] = memory * noise[:, i - 1] + math.sqrt(1 - memory**2) * noise[:, i]
    intervals = np.array([median_interval(list(row)) for row in np.exp(noise)])  # skewed; its median is 1
    covered = float(((intervals[:, 0] <= 1) & (intervals[:, 1] >= 1)).mean())
    assert least <= covered < 0.995


@pytest.mark.parametrize(("seeds", "methods"), [(3, [4, 4, 4]), (5, [2]), (4, [1, 1])])
def test_what_a_plan_says_is_what_the_intervals_then_show(seeds, methods):
    draws, pairs, tables = np.random.default_rng(0), [], []
    for place, count in enumerate(methods):
        arms = draws.normal(size=(count + 1, seeds))
        tables.append(arms.tolist())
        values = [dict(enumerate(row)) for row in arms.tolist()]
        pairs += [Pair(place, i, "dense", values[i], values[0]) for i in range(1, count + 1)]
    found = detectable_by(seeds, methods)
    for pair, difference in zip(pairs, compared(pairs, together=True), strict=True):
        error = math.sqrt(2 / seeds)  # of a spread of 1, in place of the one that was drawn
        assert found[pair.place] == pytest.approx(difference.detectable / difference.error * error)
    assert spread_of(tables) == pytest.approx(1, abs=0.6)
