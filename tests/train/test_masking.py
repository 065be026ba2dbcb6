"""Masks that change during a training: bits of a plain loop, optimiser state, chosen epochs, divergence."""

import dataclasses
import random

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook
from train_kit import (
    Random,
    Seen,
    digits,
    half_masks,
    network,
    norm_network,
    same,
    settings,
    updated,
    weights,
)

from prunery.measure.accuracy import evaluate
from prunery.train.history import EpochRow, History
from prunery.train.loop import fit
from prunery.train.masking import reset_state_
from prunery.train.updates import in_training

SPLITS = digits()
STEPS = -(-len(SPLITS.train) // 128)
OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, lr=9, momentum=0.9, weight_decay=0.01, fused=True),
    "adam": lambda p: torch.optim.Adam(p, lr=9, weight_decay=0.01, fused=True),
    "adamw": lambda p: torch.optim.AdamW(p, lr=9, weight_decay=0.01, fused=True),
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("steps", [(0, 5, 6, STEPS), (3, 4 * STEPS)])
@pytest.mark.parametrize("masked", [False, True])
def test_bits_of_a_hand_written_loop(optimizer, steps, masked):
    training = settings(optimizer=optimizer, learning_rate=0.01, weight_decay=0.01)
    ours, plain = network(), network()
    masks = half_masks(ours) if masked else None
    history = fit(ours, SPLITS, training, seed=3, masks=masks, updates=[Random(steps)])
    made = OPTIMIZERS[optimizer](plain.parameters())
    expected = updated(plain, SPLITS, training, made, Random(steps), seed=3, masks=masks or {})
    assert same(weights(ours), weights(plain))
    assert same(dict(history.masks), expected)
    assert history.rows[-1].validation_correct == evaluate(plain, SPLITS.validation).correct1


@pytest.mark.parametrize("schedule", ["gradual(end=0.9)", "drop_grow(cuts=9)"])
def test_removed_weights_are_zero_after_every_step(schedule):
    model, counts = network(), []
    update = Seen(in_training(0.8, schedule=schedule))

    def look(*_):
        masks = update.after[-1] if update.after else {}
        counts.append(sum(int(torch.count_nonzero(model.get_parameter(n)[~m])) for n, m in masks.items()))

    hook = register_optimizer_step_post_hook(look)
    try:
        fit(model, SPLITS, settings(optimizer="adam", weight_decay=0.1), seed=0, updates=[update])
    finally:
        hook.remove()
    assert counts == [0] * (4 * STEPS)
    assert update.after[-1].sparsity == pytest.approx(0.8, abs=1e-3)
    assert not any(p.grad is not None or p._post_accumulate_grad_hooks for p in model.parameters())


class Asked:
    """Is never due, and notes what it is asked."""

    def __init__(self):
        self.asked = []

    def due(self, step, total):
        self.asked.append((step, total))
        return False

    def __call__(self, context):
        raise AssertionError("it was not due")


def test_an_update_is_asked_before_every_step_and_after_the_last():
    asked, plain, model = Asked(), network(), network()
    history = fit(model, SPLITS, settings(), seed=0, updates=[asked])
    assert asked.asked == [(step, 4 * STEPS) for step in range(4 * STEPS + 1)]
    assert [row.removed for row in history.rows] == [0] * 4
    expected = fit(plain, SPLITS, settings(), seed=0)
    assert same(weights(model), weights(plain))
    assert [dataclasses.replace(row, removed=None) for row in history.rows] == list(expected.rows)
    assert expected.masks is None


class Looks:
    """Changes nothing, but uses all that it may: the gradient, and torch's global random numbers."""

    def __init__(self):
        self.gradients = {}

    def due(self, step, total):
        return step in (2, 7, total)

    def __call__(self, context):
        self.gradients[context.step] = context.gradient()
        torch.rand(5)
        assert context.model.training
        return context.masks


@pytest.mark.parametrize("build", [lambda: network(dropout=0.5), norm_network])
def test_looking_leaves_no_trace(build):
    looks, watched, plain = Looks(), build(), build()
    masks = half_masks(plain)
    state = torch.get_rng_state(), random.getstate(), str(np.random.get_state())
    histories = [
        fit(model, SPLITS, settings(epochs=1), seed=0, masks=masks, updates=updates)
        for model, updates in ((watched, [looks]), (plain, []))
    ]
    assert same(weights(watched), weights(plain))
    assert histories[0].rows[0].validation_loss == histories[1].rows[0].validation_loss
    assert torch.equal(state[0], torch.get_rng_state())
    assert state[1:] == (random.getstate(), str(np.random.get_state()))
    assert set(looks.gradients) == {2, 7, STEPS}


def test_the_gradient_is_that_of_the_next_batch_at_every_weight():
    looks, model, steps = Looks(), network(dropout=0.5), []
    masks = half_masks(model)
    named = dict(model.named_parameters())
    hook = register_optimizer_step_pre_hook(
        lambda *_: steps.append({n: p.grad.clone() for n, p in named.items()})
    )
    try:
        fit(model, SPLITS, settings(epochs=1), seed=0, masks=masks, updates=[looks])
    finally:
        hook.remove()
    for step in (2, 7):
        found = looks.gradients[step]
        assert found.keys() == named.keys()
        for name, mask in masks.items():
            assert torch.equal(found[name] * mask, steps[step][name])
            assert torch.count_nonzero(found[name][~mask]) > 0
        assert torch.equal(found["1.bias"], steps[step]["1.bias"])


def test_an_update_sees_the_model_in_train_mode_however_it_was_handed_over():
    looks, model = Looks(), network().eval()
    fit(model, SPLITS, settings(epochs=0), seed=0, updates=[looks])
    assert list(looks.gradients) == [0]
    assert not model.training


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_optimiser_forgets_what_changed_and_nothing_else(optimizer):
    model = network()
    made = OPTIMIZERS[optimizer](model.parameters())
    for _ in range(2):
        nn.functional.cross_entropy(model(SPLITS.train.x[:9].float()), SPLITS.train.y[:9]).backward()
        made.step()
    before, after = half_masks(model, 1), half_masks(model, 2)
    state = {n: {k: v.clone() for k, v in made.state[p].items()} for n, p in model.named_parameters()}
    reset_state_(made, model, before, after)
    names = {"sgd": {"momentum_buffer"}}.get(optimizer, {"exp_avg", "exp_avg_sq", "step"})
    for name, parameter in model.named_parameters():
        assert made.state[parameter].keys() == names
        for key, value in made.state[parameter].items():
            expected = state[name][key]
            if name in before and key != "step":
                expected = expected * (before[name] == after[name])
            assert torch.equal(value, expected)
    some = {"1.weight": before["1.weight"]}
    reset_state_(made, model, some, {})  # without a mask all is kept
    left = [v for k, v in made.state[model[1].weight].items() if k != "step"]
    assert all(torch.count_nonzero(value[~before["1.weight"]]) == 0 for value in left)


def test_a_fresh_optimiser_has_nothing_to_forget():
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    reset_state_(optimizer, model, half_masks(model), {})
    assert not optimizer.state


def test_updates_act_one_after_the_other():
    first, second = Random((4,)), Seen(in_training(0.9, schedule="gradual(cuts=1, end=0.1)"))
    assert second.due(4, 4 * STEPS)
    history = fit(network(), SPLITS, settings(), seed=0, updates=[first, second])
    assert second.contexts[0].masks.sparsity == pytest.approx(0.5, abs=0.05)
    assert history.masks.sparsity == pytest.approx(0.9, abs=1e-3)


EARLY = settings(epochs=12, lr_schedule="constant", learning_rate=0.5, select="validation")


def test_only_epochs_at_the_final_sparsity_are_chosen():
    update = in_training(0.98, schedule="gradual(end=0.6)")
    model, after = network(), []
    history = fit(
        model, SPLITS, EARLY, seed=2, updates=[update], on_epoch=lambda r: after.append(weights(model))
    )
    rows = history.rows
    final = [row for row in rows if row.removed == rows[-1].removed]
    assert [row.epoch for row in final] == [8, 9, 10, 11, 12]
    best = max(row.validation_correct for row in final)
    assert history.chosen == next(row.epoch for row in final if row.validation_correct == best)
    correct = [row.validation_correct for row in rows]
    assert 1 + correct.index(max(correct)) < 8, "no earlier epoch would be chosen: change the seed"
    assert same(weights(model), after[history.chosen - 1])
    assert history.masks.kept == history.masks.total - round(0.98 * history.masks.total)


def test_the_masks_of_the_chosen_epoch_come_back_with_its_weights():
    update = Seen(in_training(0.8, schedule="drop_grow(end=0.95)"))
    model, masks = network(), []
    history = fit(
        model, SPLITS, EARLY, seed=2, updates=[update], on_epoch=lambda _: masks.append(update.after[-1])
    )
    assert history.chosen < 12
    assert len({row.removed for row in history.rows}) == 1
    correct = [row.validation_correct for row in history.rows]
    assert history.chosen == 1 + correct.index(max(correct))
    assert same(dict(history.masks), dict(masks[history.chosen - 1]))
    assert not same(dict(history.masks), dict(masks[-1]))
    assert all(torch.count_nonzero(model.get_parameter(n)[~m]) == 0 for n, m in history.masks.items())
    assert evaluate(model, SPLITS.validation).correct1 == max(correct)


def test_the_best_on_test_is_of_epochs_at_the_final_sparsity():
    row = EpochRow(1, 1.0, 1, 2, 1.0, 1, 2, 0.1, 2, test_correct=9, test_total=10, removed=5)
    rows = [row, *(dataclasses.replace(row, epoch=e, test_correct=t, removed=7) for e, t in ((2, 8), (3, 6)))]
    assert History(tuple(rows), 3).test_max == (8, 10)
    assert History(tuple(dataclasses.replace(r, removed=None) for r in rows), 3).test_max == (9, 10)
    assert (row.plain()["removed"], "removed" in dataclasses.replace(row, removed=None).plain()) == (5, False)


@pytest.mark.parametrize("schedule", ["gradual(begin=0.5)", "gradual(cuts=50)", "drop_grow"])
def test_a_divergence_does_not_spoil_the_count(schedule):
    """Random scores need no weights, so the cuts that are left are made."""
    training = settings(epochs=9, learning_rate=1e18)
    plain = fit(network(), SPLITS, training, seed=0)
    update = in_training(0.9, criterion="random", schedule=schedule)
    history = fit(network(), SPLITS, training, seed=0, updates=[update])
    assert history.diverged_at is not None
    assert len(history.rows) == 1
    assert history.masks.kept == history.masks.total - round(0.9 * history.masks.total)
    assert history.unfinished is None
    assert history.rows[0].removed == round(0.9 * history.masks.total)
    if "begin" in schedule:
        assert history.diverged_at == plain.diverged_at


def test_weights_that_diverged_are_scored_by_nothing_and_it_is_said():
    training = settings(epochs=9, learning_rate=1e18)
    history = fit(
        network(), SPLITS, training, seed=0, updates=[in_training(0.9, schedule="gradual(cuts=50)")]
    )
    assert history.diverged_at is not None
    assert "NaN" in history.unfinished
    assert f"the masks stay at sparsity {history.masks.sparsity:.6g}" in history.unfinished
    assert history.note.endswith(history.unfinished)
    assert history.rows[0].train_total < len(SPLITS.train), "it went on to train what had diverged"
    assert history.masks.sparsity < 0.9
