"""Hand-computed statistics, and the level and coverage they promise."""

import math

import numpy as np
import pytest

from prunery.stats import holm, median_interval, noise_floor, paired, summary, t_quantile


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
    assert (values.n, values.mean, values.sd, values.half, values.low, values.high) == (
        1,
        97.5,
        None,
        None,
        None,
        None,
    )
    assert summary([]) is None


def test_a_paired_difference_by_hand():
    # differences 2, 1, 3: t = 2·sqrt(3), and for 2 degrees p = 1 - t / sqrt(t² + 2)
    difference = paired({0: 3, 1: 5, 2: 7}, {0: 1, 1: 4, 2: 4})
    t = 2 * math.sqrt(3)
    assert difference.summary.mean == 2
    assert difference.p == pytest.approx(1 - t / math.sqrt(t * t + 2))
    assert difference.verdict() == "indistinguishable"
    assert difference.verdict(0.04) == "higher"


def test_pairing_removes_what_the_seeds_share():
    seeds = range(5)
    base = {s: 90 + 3.0 * s for s in seeds}  # spreads by far more than the difference
    better = {s: base[s] + 0.5 + 0.01 * s for s in seeds}
    assert paired(better, base).verdict() == "higher"
    assert paired(base, better).verdict() == "lower"


def test_only_shared_seeds_are_paired():
    difference = paired({0: 10.0, 1: 20.0, 7: 99.0}, {0: 11.0, 1: 22.0, 8: 0.0})
    assert (difference.summary.n, difference.summary.mean) == (2, -1.5)
    assert paired({0: 1.0}, {1: 1.0}) is None


def test_one_pair_gives_a_difference_and_no_verdict():
    difference = paired({0: 97.0}, {0: 96.0})
    assert difference.summary.mean == 1.0
    assert difference.p is None
    assert difference.verdict() is None


def test_equal_differences_of_counts_have_the_spread_of_rounding():
    base = dict.fromkeys(range(3), 97.5)
    assert paired(base, base, step=0.01).p == 1.0
    # 97.3 - 97.5 is not exactly -0.2 in floats, and the same three times; one of 400 images is 0.25 points:
    # error = 0.25 / sqrt(6) / sqrt(3), t = 0.2 / error, and for 2 degrees p = 1 - t / sqrt(t² + 2)
    constant = paired(dict.fromkeys(range(3), 97.3), base, step=0.25)
    error = 0.25 / math.sqrt(18)
    t = 0.2 / error
    assert constant.summary.sd == 0.0
    assert constant.summary.half == pytest.approx(4.302652729911275 * error)
    assert constant.p == pytest.approx(1 - t / math.sqrt(t * t + 2))
    assert constant.verdict() == "indistinguishable"
    assert paired(dict.fromkeys(range(3), 97.3), base, step=0.01).verdict() == "lower"


def test_the_spread_of_rounding_is_a_floor_and_no_addition():
    values, base = {0: 3.0, 1: 5.0, 2: 7.0}, {0: 1.0, 1: 4.0, 2: 4.0}
    assert paired(values, base, step=0.01) == paired(values, base)


def test_the_floor_keeps_the_level_on_small_test_sets():
    rng = np.random.default_rng(7)
    false = 0
    for _ in range(2000):
        a, b = (np.round(rng.normal(345, 1.5, size=3)) / 3.6 for _ in range(2))
        false += paired(dict(enumerate(a)), dict(enumerate(b)), step=1 / 3.6).verdict() != "indistinguishable"
    assert false / 2000 <= 0.06


def test_holm_by_hand():
    # sorted 0.005·4, 0.01·3, 0.03·2, 0.04·1 -> 0.02, 0.03, 0.06, 0.06 (the last may not fall)
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([0.02]) == [0.02]
    assert holm([]) == []


def test_the_noise_floor_of_three_dense_repeats():
    assert noise_floor([1.0, 2.0, 3.0]) == pytest.approx(4.302652729911275 * math.sqrt(2 / 3))
    assert noise_floor([98.0]) is None


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
        false += paired(dict(enumerate(a)), dict(enumerate(b))).verdict() != "indistinguishable"
    assert 0.03 <= false / 2000 <= 0.07


def test_holm_keeps_the_level_of_the_whole_family():
    rng = np.random.default_rng(6)
    families = 0
    for _ in range(1000):
        differences = [
            paired(dict(enumerate(rng.normal(0, 1, size=5))), dict.fromkeys(range(5), 0.0)) for _ in range(10)
        ]
        families += min(holm([d.p for d in differences])) <= 0.05
    assert families / 1000 <= 0.07


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
