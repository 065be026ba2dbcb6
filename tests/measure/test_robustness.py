"""Robustness: counts of a real small network, worse by severity, on the same images for every model."""

import pytest
import torch
from torch import nn

from prunery.core.bits import one_thread
from prunery.data.batches import Batches
from prunery.data.corruptions import corrupted, corruption
from prunery.data.splits import split
from prunery.errors import ChoiceError, DataError
from prunery.measure.accuracy import evaluate
from prunery.measure.robustness import Corrupted, Robustness, robustness
from prunery.models.build import build


@pytest.fixture(scope="module")
def splits(digits):
    return split(digits, validation=0.2, seed=0)


@pytest.fixture(scope="module")
def trained(splits):
    model = build("lenet300", shape=(1, 8, 8), classes=10, seed=0)
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    with one_thread():
        for epoch in range(8):
            for x, y in Batches(splits.train, batch=60, seed=0, epoch=epoch, shuffle=True):
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(x), y).backward()
                optimizer.step()
    return model


def test_a_trained_network_gets_worse_with_severity(trained, splits):
    clean = evaluate(trained, splits.train).top1
    assert clean > 97
    found = {s: robustness(trained, splits.train, severities=[s]).mean for s in (1, 3, 5)}
    assert clean > found[1] > found[3] > found[5] > 20, found


def test_rows_are_the_counts_on_those_images(trained, splits):
    found = robustness(trained, splits.test, kinds=["contrast", "shot_noise"], severities=(5, 2), seed=3)
    asked = [("contrast", 5), ("contrast", 2), ("shot_noise", 5), ("shot_noise", 2)]
    assert [(row.corruption, row.severity) for row in found.rows] == asked
    for row in found.rows:
        counts = evaluate(trained, corrupted(splits.test, row.corruption, row.severity, 3))
        assert (row.correct, row.total) == (counts.correct1, len(splits.test))


def test_all_corruptions_by_default(trained, splits):
    found = robustness(trained, splits.validation)
    assert [row.corruption for row in found.rows[::3]] == list(corruption)
    assert [row.severity for row in found.rows[:3]] == [1, 3, 5]
    assert found == robustness(trained, splits.validation)


def test_the_mean_by_hand():
    found = Robustness((Corrupted("a", 1, 3, 4), Corrupted("b", 1, 1, 4)))
    assert (found.correct, found.total, found.mean, found.rows[0].top1) == (4, 8, 50.0, 75.0)


def test_the_model_is_left_as_it_was(trained, splits):
    state = {k: v.clone() for k, v in trained.state_dict().items()}
    trained.train()
    robustness(trained, splits.validation, kinds=["contrast"])
    assert trained.training
    assert all(torch.equal(v, state[k]) for k, v in trained.state_dict().items())


def test_what_cannot_be_measured(trained, splits):
    with pytest.raises(ChoiceError, match="none of that name"):
        robustness(trained, splits.test, kinds=["fog_of_war"])
    with pytest.raises(ChoiceError, match="at least one"):
        robustness(trained, splits.test, kinds=[])
    with pytest.raises(ChoiceError, match="at least one"):
        robustness(trained, splits.test, severities=())
    with pytest.raises(DataError, match="severity 7"):
        robustness(trained, splits.test, kinds=["contrast"], severities=(7,))
