"""The loop against a plain one, under masks, clipping, divergence; and what it must leave alone."""

import dataclasses
import random

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim.optimizer import register_optimizer_step_post_hook
from train_kit import digits, half_masks, network, norm_network, reference, same, settings, weights

from prunery.errors import DataError, ModelError, SpecError
from prunery.measure.accuracy import evaluate
from prunery.train import loop
from prunery.train.history import History
from prunery.train.loop import fit

SPLITS = digits()
OPTIMIZERS = {
    "sgd": lambda p, t: torch.optim.SGD(
        p, lr=9, momentum=t.momentum, nesterov=t.nesterov, weight_decay=t.weight_decay, fused=True
    ),
    "adam": lambda p, t: torch.optim.Adam(p, lr=9, weight_decay=t.weight_decay, fused=True),
    "adamw": lambda p, t: torch.optim.AdamW(p, lr=9, weight_decay=t.weight_decay, fused=True),
}
CASES = [
    settings(),
    settings(momentum=0.5, nesterov=True, weight_decay=0.01, label_smoothing=0.1),
    settings(optimizer="adam", learning_rate=0.01, weight_decay=0.01, augmentation="flip"),
    settings(optimizer="adamw", learning_rate=0.01, weight_decay=0.1, clip_norm=0.5, batch=100),
]


@pytest.mark.parametrize("training", CASES, ids=lambda t: t.optimizer)
@pytest.mark.parametrize("build", [network, norm_network])
def test_bits_of_a_hand_written_loop(training, build):
    ours, plain = build(), build()
    history = fit(ours, SPLITS, training, seed=7)
    optimizer = OPTIMIZERS[training.optimizer](plain.parameters(), training)
    expected = reference(plain, SPLITS, training, optimizer, seed=7)
    assert same(weights(ours), weights(plain))
    last, steps = history.rows[-1], len(expected["losses"]) // training.epochs
    assert (last.train_correct, last.train_total) == (expected["correct"], len(SPLITS.train))
    sizes = [training.batch] * (steps - 1) + [len(SPLITS.train) - training.batch * (steps - 1)]
    losses = zip(expected["losses"][-steps:], sizes, strict=True)
    assert last.train_loss == pytest.approx(sum(a * b for a, b in losses) / len(SPLITS.train), rel=1e-14)
    assert [row.samples for row in history.rows] == [len(SPLITS.train) * e for e in (1, 2, 3, 4)]
    assert [row.epoch for row in history.rows] == [1, 2, 3, 4]
    assert history.samples == 4 * len(SPLITS.train)
    assert last.learning_rate == optimizer.param_groups[0]["lr"]
    counts = evaluate(plain, SPLITS.validation)
    validated = (last.validation_loss, last.validation_correct, last.validation_total)
    assert validated == (counts.loss, counts.correct1, len(SPLITS.validation))
    assert history.chosen == 4


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_removed_weights_are_zero_after_every_step(optimizer):
    model = network()
    masks, seen = half_masks(model), []

    def look(*_):
        removed = [p.detach()[~masks[n]] for n, p in model.named_parameters() if n in masks]
        seen.append(sum(int(torch.count_nonzero(r)) for r in removed))

    hook = register_optimizer_step_post_hook(look)
    try:
        training = settings(optimizer=optimizer, learning_rate=0.05, weight_decay=0.1, epochs=2)
        fit(model, SPLITS, training, seed=0, masks=masks)
    finally:
        hook.remove()
    assert len(seen) == 2 * -(-len(SPLITS.train) // 128)
    assert set(seen) == {0}
    kept = torch.cat([p.detach()[masks[n]] for n, p in model.named_parameters() if n in masks])
    assert torch.count_nonzero(kept) == len(kept)
    assert not any(p.grad is not None for p in model.parameters())


def test_clipping_sees_masked_gradients():
    training = settings(clip_norm=0.3)
    ours, right, wrong = network(), network(), network()
    masks = half_masks(ours)
    fit(ours, SPLITS, training, seed=1, masks=masks)
    for model, clip_first in ((right, False), (wrong, True)):
        optimizer = OPTIMIZERS["sgd"](model.parameters(), training)
        reference(model, SPLITS, training, optimizer, seed=1, masks=dict(masks), clip_first=clip_first)
    assert same(weights(ours), weights(right))
    assert not same(weights(ours), weights(wrong))


def test_same_seed_same_bits_other_seed_other_bits():
    ends = []
    for seed, noise in ((3, 0), (3, 99), (4, 0)):
        torch.manual_seed(noise)  # dropout must not listen to it
        model = network(dropout=0.3)
        ends.append((fit(model, SPLITS, settings(), seed=seed), weights(model)))
    assert ends[0][0] == ends[1][0]
    assert same(ends[0][1], ends[1][1])
    assert ends[0][0] != ends[2][0]
    assert not same(ends[0][1], ends[2][1])


def test_dropout_differs_between_steps():
    seen = []
    model = network(dropout=0.5)
    model[3].register_forward_hook(
        lambda m, x, y: seen.append((y == 0) & (x[0] != 0)) if m.training else None
    )
    fit(model, SPLITS, settings(epochs=2), seed=0)
    steps = -(-len(SPLITS.train) // 128)
    assert not torch.equal(seen[0], seen[1])
    assert not torch.equal(seen[0], seen[steps])


def test_global_random_state_and_modes_are_left_alone():
    model = network(dropout=0.3)
    model[1].eval()
    before = torch.get_rng_state(), random.getstate(), str(np.random.get_state())
    modes, drawn = [m.training for m in model.modules()], []
    fit(model, SPLITS, settings(), seed=3, on_epoch=lambda row: drawn.append(torch.get_rng_state()))
    assert all(torch.equal(before[0], state) for state in [*drawn, torch.get_rng_state()])
    assert before[1:] == (random.getstate(), str(np.random.get_state()))
    assert [m.training for m in model.modules()] == modes


class Untouchable:
    def __getattribute__(self, name):
        raise AssertionError(f"the test split was touched: {name}")

    def __len__(self):
        raise AssertionError("the test split was touched: len")


def test_the_test_split_is_never_touched():
    splits = dataclasses.replace(SPLITS, test=Untouchable())
    history = fit(network(), splits, settings(select="validation"), seed=0)
    assert len(history.rows) == 4
    with pytest.raises(AssertionError, match="touched"):
        len(splits.test)


def test_validation_chooses_the_earliest_best_epoch():
    model, after = network(), []
    training = settings(epochs=12, lr_schedule="constant", learning_rate=0.5, select="validation")
    history = fit(model, SPLITS, training, seed=2, on_epoch=lambda row: after.append(weights(model)))
    correct = [row.validation_correct for row in history.rows]
    assert history.chosen == 1 + correct.index(max(correct))
    assert 1 < history.chosen < 12, "the case shows nothing: change the seed"
    assert correct.count(max(correct)) > 1, "no tie in this case: change the seed"
    assert same(weights(model), after[history.chosen - 1])
    assert not same(weights(model), after[-1])
    last = network()
    kept = fit(last, SPLITS, training.model_copy(update={"select": "last"}), seed=2)
    assert (kept.chosen, kept.rows) == (12, history.rows)
    assert same(weights(last), after[-1])


@pytest.mark.parametrize("every", [2, 256])
def test_divergence_is_flagged_and_stops(monkeypatch, every):
    monkeypatch.setattr(loop, "CHECK_EVERY", every)
    training = settings(epochs=50, learning_rate=1e18)
    plain = network()
    optimizer = OPTIMIZERS["sgd"](plain.parameters(), training)
    losses = reference(plain, SPLITS, training.model_copy(update={"epochs": 1}), optimizer, seed=0)["losses"]
    bad = next(i for i, loss in enumerate(losses) if not np.isfinite(loss))
    history = fit(network(), SPLITS, training, seed=0)
    assert history.diverged_at == bad
    assert bad > 0
    assert len(history.rows) == 1
    assert np.isnan(history.rows[0].train_loss)
    steps = len(losses) if every == 256 else bad + 2 - bad % 2
    assert history.rows[0].train_total == min(128 * steps, len(SPLITS.train))
    assert f"in epoch 1, at step {bad} of all" in history.note
    assert fit(network(), SPLITS, settings(), seed=0).note is None


def test_zero_epochs_train_nothing_but_masks_hold():
    model = network()
    before, masks = weights(model), half_masks(model)
    assert fit(model, SPLITS, settings(epochs=0), seed=0) == History((), 0)
    assert same(weights(model), before)
    fit(model, SPLITS, settings(epochs=0), seed=0, masks=masks)
    assert all(torch.count_nonzero(model.get_parameter(n)[~m]) == 0 for n, m in masks.items())


def test_without_validation():
    empty = dataclasses.replace(SPLITS.validation, x=SPLITS.validation.x[:0], y=SPLITS.validation.y[:0])
    splits = dataclasses.replace(SPLITS, validation=empty)
    row = fit(network(), splits, settings(epochs=1), seed=0).rows[0]
    assert (row.validation_loss, row.validation_correct, row.validation_total) == (None, 0, 0)
    with pytest.raises(SpecError, match="validation split is empty"):
        fit(network(), splits, settings(select="validation"), seed=0)
    with pytest.raises(DataError, match="training split is empty"):
        fit(network(), dataclasses.replace(SPLITS, train=empty), settings(), seed=0)


def test_frozen_parameters_do_not_move():
    model = network()
    model[1].requires_grad_(False)
    before = weights(model)
    fit(model, SPLITS, settings(weight_decay=0.1), seed=0)
    assert torch.equal(model[1].weight, before["1.weight"])
    assert not torch.equal(model[4].weight, before["4.weight"])
    with pytest.raises(ModelError, match="requires a gradient"):
        fit(model.requires_grad_(False), SPLITS, settings(), seed=0)


def test_training_is_in_training_mode():
    handed, plain = norm_network().eval(), norm_network()
    fit(handed, SPLITS, settings(epochs=1), seed=0)
    fit(plain, SPLITS, settings(epochs=1), seed=0)
    assert same(weights(handed), weights(plain))
    assert not handed.training
    assert plain[1].num_batches_tracked == -(-len(SPLITS.train) // 128)


def test_outputs_with_logits_and_other_precisions():
    class Answer:
        def __init__(self, logits):
            self.logits = logits

    class Wrapped(nn.Sequential):
        def forward(self, x):
            return Answer(super().forward(x))

    plain, wrapped, double = network(), Wrapped(*network()), network().double()
    histories = [fit(model, SPLITS, settings(), seed=0) for model in (plain, wrapped, double)]
    assert histories[0] == histories[1]
    assert same(weights(plain), weights(wrapped))
    assert histories[2].rows[-1].train_loss == pytest.approx(histories[0].rows[-1].train_loss, rel=1e-3)
    assert double[1].weight.dtype is torch.float64
