"""What is said of times that are known: which form is the fastest, or that nothing can be said."""

import json

import pytest

from prunery.forms.comparison import Comparison, Row
from prunery.measure.accuracy import Counts
from prunery.measure.speed_up import CallTimes, Latency


def counts(right):
    return Counts(1000, right, None, 0.5, (500, 500))


def comparison(busy=1.0, **times):
    """Forms with these milliseconds; names in capitals gain by what was pruned."""
    wobble = [1 + 0.01 * ((7 * i) % 5 - 2) for i in range(30)]
    rows, calls = [], {}
    for name, ms in times.items():
        name = name.replace("_", " ")
        calls[name] = CallTimes(name, tuple(busy * ms * w for w in wobble), tuple(ms * w for w in wobble), 1)
        right = 901 if name == "dense" else 898
        size = 1000 if name == "dense" else 250
        rows.append(Row(name, print, size, "own", name.isupper(), 0.0, counts(right)))
    return Comparison(tuple(rows), {}, Latency(calls, 30, 1, "cpu"))


def noisy(*factors):
    """The forms dense and SPARSE, where the ratio of each round is one of these factors."""
    values = [factors[i % len(factors)] for i in range(30)]
    times = {"dense": [1.0] * 30, "SPARSE": [1 / value for value in values]}
    calls = {name: CallTimes(name, tuple(ms), tuple(ms), 1) for name, ms in times.items()}
    rows = tuple(Row(name, print, 10, "own", name.isupper(), 0.0, None) for name in times)
    return Comparison(rows, {}, Latency(calls, 30, 1, "cpu"))


def test_what_gains_by_pruning_is_the_fastest():
    verdict = comparison(dense=4, engine=2, SPARSE=1, OTHER=3).verdict
    assert verdict.startswith("SPARSE is the fastest: 2.00 times (")
    assert "as fast as engine, the fastest form that takes removed weights like any others" in verdict
    assert "; 4.00 times (" in verdict
    assert (
        "as fast as dense in torch; in 250 bytes instead of 1,000; top-1 89.80 % instead of 90.10 %."
        in verdict
    )


def test_an_engine_that_takes_zeros_like_other_weights_is_named_where_it_is_faster():
    verdict = comparison(dense=4, engine=1, SPARSE=2).verdict
    assert verdict.startswith(
        "Nothing is gained in time: engine, the fastest form that takes removed weights"
    )
    assert "is 2.00 times (" in verdict
    assert "as fast as SPARSE" in verdict


def test_ties_are_named():
    assert "SPARSE is the fastest (OTHER may be as fast): " in comparison(dense=4, SPARSE=1, OTHER=1).verdict


def test_noise_is_no_gain():
    verdict = noisy(1.3, 0.8, 1.2, 0.7, 1.1).verdict
    assert verdict.startswith(
        "Whether anything is gained in time is undecided: SPARSE cannot be told apart from dense"
    )
    assert noisy(1.3, 1.2, 1.1).verdict.startswith("SPARSE is the fastest")


def test_a_busy_machine_is_told_by_the_processors_time():
    quiet, busy = (comparison(busy=busy, dense=4, SPARSE=1) for busy in (1.02, 2.0))
    assert (quiet.clock, busy.clock) == ("wall", "cpu")
    assert busy.elsewhere == pytest.approx(0.5)
    assert "Other work had the processor for 50% of the time" in str(busy)
    assert "Other work" not in str(quiet)


def test_the_numbers_as_data():
    data = json.loads(json.dumps(comparison(dense=4, SPARSE=1).data()))
    assert data["forms"]["SPARSE"]["times_as_fast"][0] == pytest.approx(4)
    assert data["forms"]["dense"]["top1"] == pytest.approx(90.1)
    assert len(data["forms"]["dense"]["wall_ms"]) == 30
