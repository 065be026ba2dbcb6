"""Training in bfloat16: only forward and backward passes are, and every run gives the same bits."""

import pytest
import torch
from torch import nn
from train_kit import digits, half_masks, norm_network, same, settings, weights

from prunery.measure.accuracy import evaluate
from prunery.train.job import job_of
from prunery.train.loop import fit

SPLITS = digits()


def trained(precision, *, build=norm_network, **more):
    model = build()
    history = fit(model, SPLITS, settings(precision=precision, **more), seed=1)
    return model, history


def test_products_are_in_bfloat16_and_the_loss_is_not():
    seen = []

    class Spy(nn.Module):
        def forward(self, x):
            seen.append(x.dtype)
            return x

    model = nn.Sequential(*norm_network()[:2], Spy(), *norm_network()[2:])
    job = job_of(model, SPLITS, settings(precision="bfloat16"), 0)
    loss, logits = job.loss(*next(iter(job.batches(0, 0))))
    assert seen == [torch.float32, torch.bfloat16]  # the first is the trial of channels-last
    assert (loss.dtype, logits.dtype) == (torch.float32, torch.float32)
    loss.backward()
    assert {p.grad.dtype for p in model.parameters()} == {torch.float32}


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_weights_statistics_and_the_optimiser_stay_in_single_precision(optimizer):
    model = norm_network()
    job = job_of(model, SPLITS, settings(precision="bfloat16", optimizer=optimizer, learning_rate=0.01), 0)
    job.loss(*next(iter(job.batches(0, 0))))[0].backward()
    job.optimizer.step()
    kept = [v for state in job.optimizer.state.values() for v in state.values() if torch.is_tensor(v)]
    assert kept
    tensors = [*model.state_dict().values(), *kept]
    assert {t.dtype for t in tensors} <= {torch.float32, torch.int64}


def test_it_gives_other_bits_than_single_precision_and_the_same_ones_each_time():
    (half, first), (again, second), (single, _) = map(trained, ("bfloat16", "bfloat16", "float32"))
    assert same(weights(half), weights(again))
    assert first == second
    assert not same(weights(half), weights(single))


def test_it_learns_as_well():
    right = [evaluate(trained(p, epochs=8)[0], SPLITS.test).top1 for p in ("float32", "bfloat16")]
    assert min(right) > 85
    assert abs(right[0] - right[1]) < 3


def test_masks_hold():
    model = norm_network()
    masks = half_masks(model)
    fit(model, SPLITS, settings(precision="bfloat16"), seed=1, masks=masks)
    parameters = dict(model.named_parameters())
    assert all(not parameters[name].detach()[~mask].any() for name, mask in masks.items())
    assert masks.holds(model)


def test_measuring_is_in_single_precision():
    model, history = trained("bfloat16", epochs=2)
    counts = evaluate(model, SPLITS.validation)
    assert (counts.correct1, counts.loss) == (
        history.rows[-1].validation_correct,
        history.rows[-1].validation_loss,
    )
