"""Faults at random, a few of each kind; benchmarks/faults.py makes hundreds."""

import pytest
from fault_trials import KINDS, Trials
from lab_kit import linux

SLOW = ("kill run", "kill worker", "side by side", "full disk", "read-only disk")


@pytest.fixture(scope="module")
def trials(tmp_path_factory):
    return Trials(tmp_path_factory.mktemp("trials"))


@linux
@pytest.mark.parametrize("seed", range(1))
@pytest.mark.parametrize("kind", SLOW)
def test_a_run_that_is_disturbed_ends_as_one_that_is_not(trials, kind, seed):
    assert trials.run(kind, 1000 + seed) == ""


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in SLOW])
def test_a_file_that_was_hurt_is_noticed(trials, kind):
    for seed in range(8):
        assert trials.run(kind, 1000 + seed) == "", seed
