"""Training that ends where an accuracy on validation is reached."""

import dataclasses

import pytest
from train_kit import StopError, digits, network, same, settings, stop_at, weights

from prunery.errors import SpecError
from prunery.train import loop
from prunery.train.loop import fit
from prunery.train.updates import in_training

SPLITS = digits()
STEPS = -(-len(SPLITS.train) // 128)


def accuracies(history):
    return [100 * row.validation_correct / row.validation_total for row in history.rows]


@pytest.fixture(scope="module")
def whole():
    """A training of all its epochs; its accuracies rise, so that one is first reached in the middle."""
    return fit(network(), SPLITS, settings(epochs=6), seed=1)


def test_the_first_epoch_that_reaches_it_is_the_last(whole):
    reached = accuracies(whole)
    asked = reached[2]
    assert max(reached[:2]) < asked, "choose another seed"
    history = fit(network(), SPLITS, settings(epochs=6, stop_at=asked), seed=1)
    assert history.rows == whole.rows[:3]  # learning rates too: the schedule is that of six epochs
    assert history.chosen == 3
    more = fit(network(), SPLITS, settings(epochs=6, stop_at=asked + 0.001), seed=1)
    assert more.rows[:4] == whole.rows[:4]
    assert fit(network(), SPLITS, settings(epochs=6, stop_at=100), seed=1).rows == whole.rows


def test_interrupted_it_ends_with_the_same_bits(whole, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "BETWEEN_EPOCHS", 0.0)
    training = settings(epochs=6, stop_at=accuracies(whole)[2])
    plain, broken, again = network(), network(), network()
    history = fit(plain, SPLITS, training, seed=1)
    hook, _ = stop_at(2 * STEPS + 1)
    broken.register_forward_pre_hook(hook)
    with pytest.raises(StopError):
        fit(broken, SPLITS, training, seed=1, checkpoint=tmp_path / "state")
    assert fit(again, SPLITS, training, seed=1, checkpoint=tmp_path / "state") == history
    assert same(weights(again), weights(plain))
    assert fit(network(), SPLITS, training, seed=1, checkpoint=tmp_path / "state") == history


def test_it_needs_images_to_tell_and_masks_that_stay():
    empty = dataclasses.replace(SPLITS.validation, x=SPLITS.validation.x[:0], y=SPLITS.validation.y[:0])
    splits = dataclasses.replace(SPLITS, validation=empty)
    with pytest.raises(SpecError, match="validation split is empty"):
        fit(network(), splits, settings(stop_at=90), seed=0)
    update = in_training(0.5, criterion="magnitude", schedule="gradual")
    with pytest.raises(SpecError, match="they would not be finished"):
        fit(network(), SPLITS, settings(stop_at=90), seed=0, updates=[update])
