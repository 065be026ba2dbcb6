"""The sensitivity scan: rows against pruning by hand, every bit put back, what is refused."""

import copy
import math

import pytest
import torch
from nets import ConvNet, mlp
from torch import nn

import prunery
from prunery.data.batches import balanced
from prunery.data.splits import Split, split
from prunery.errors import ChoiceError, DataError, PatternError, SparsityError
from prunery.measure.accuracy import evaluate
from prunery.measure.sensitivity import SPARSITIES, sensitivity


def images(n=40, classes=5, name="validation"):
    x = torch.randint(0, 256, (n, 3, 8, 8), generator=torch.Generator().manual_seed(1)).to(torch.uint8)
    return Split(name, x, torch.arange(n) % classes, (0.5,) * 3, (0.3,) * 3, classes)


def bits(model):
    return {
        k: v.clone().view(torch.int32) if v.is_floating_point() else v.clone()
        for k, v in model.state_dict().items()
    }


def same(model, before):
    return all(torch.equal(v, before[k]) for k, v in bits(model).items())


def test_each_row_is_that_layer_alone_pruned():
    model = ConvNet().eval()
    found = sensitivity(model, images(), sparsities=["50%", 0.9])
    names = ("conv1.weight", "conv2.weight", "head.weight")
    assert (found.layers, found.sparsities) == (names, (0.5, 0.9))
    assert [(row.layer, row.sparsity) for row in found.rows] == [(n, s) for n in names for s in (0.5, 0.9)]
    for row in found.rows:
        alone = copy.deepcopy(model)
        masks = prunery.prune(alone, {row.layer: row.sparsity})
        counts = evaluate(alone, images())
        assert (row.correct, row.total, row.loss) == (counts.correct1, 40, counts.loss)
        assert row.kept == int(masks[row.layer].sum()) == row.weights - round(row.weights * row.sparsity)
        assert row.weights == model.get_parameter(row.layer).numel()
    counts = evaluate(model, images())
    unpruned = found.unpruned
    assert (unpruned.correct, unpruned.loss, unpruned.top1) == (counts.correct1, counts.loss, counts.top1)
    assert (unpruned.sparsity, unpruned.share) == (None, 1.0)
    assert sum(row.share for row in found.rows[::2]) == pytest.approx(1)
    assert len({row.loss for row in found.rows}) == 6  # no cut is still there when the next one is measured


def test_five_sparsities_by_default():
    assert sensitivity(dense(192, 4, 5), images()).sparsities == SPARSITIES


def dense(*widths):
    return nn.Sequential(nn.Flatten(), *mlp(*widths))


@pytest.mark.parametrize("granularity", ["weight", "filter"])
@pytest.mark.parametrize("criterion", ["magnitude", "snip", "random"])
def test_the_model_is_the_same_bits_afterwards(criterion, granularity):
    model = ConvNet()
    model.bn2.eval()
    model.conv1.weight.data.view(-1)[:3] = torch.tensor([-0.0, 1e-42, 0.0])
    model.to(memory_format=torch.channels_last)
    before, random = bits(model), torch.random.get_rng_state()
    batch = (images().x.float() / 255, images().y)
    asked = {"criterion": criterion, "granularity": granularity, "batches": [batch]}
    found = sensitivity(model, images(), sparsities=[0.5], **asked)
    assert len(found.rows) == 3
    assert same(model, before)
    assert (model.training, model.conv1.training, model.bn2.training) == (True, True, False)
    assert torch.equal(random, torch.random.get_rng_state())
    assert all(p.grad is None and p.requires_grad for p in model.parameters())
    assert model.conv1.weight.is_contiguous(memory_format=torch.channels_last)


def test_the_bits_are_put_back_after_an_error_too(monkeypatch):
    model = ConvNet()
    before, seen = bits(model), []

    def stop(done, of):
        seen.append((done, of))

    def failing(module, args):
        if int(model.conv2.weight.count_nonzero()) < 300:
            raise RuntimeError("stopped while conv2 is pruned")

    model.register_forward_pre_hook(failing)
    with pytest.raises(RuntimeError, match="while conv2"):
        sensitivity(model, images(), sparsities=[0.5, 0.9], on_row=stop)
    assert same(model, before)
    assert seen == [(1, 7), (2, 7), (3, 7)]


def test_filters_take_their_bias_and_norm_along_and_are_put_back():
    model = ConvNet().eval()
    example = torch.zeros(1, 3, 8, 8)
    found = sensitivity(model, images(), sparsities=[0.5], granularity="filter", example=example)
    for row in found.rows[:2]:
        alone = copy.deepcopy(model)
        prunery.prune(alone, {row.layer: 0.5}, granularity="filter", example=example)
        assert row.loss == evaluate(alone, images()).loss
        assert row.kept * 2 == row.weights


def test_what_is_excluded_has_no_row_and_counts_in_the_share():
    model = ConvNet()
    found = sensitivity(model, images(), sparsities=[0.5], exclude=["@output"])
    assert found.layers == ("conv1.weight", "conv2.weight")
    assert sum(row.share for row in found.rows) == pytest.approx(1 - 40 / (216 + 576 + 40))


def test_a_pruned_model_has_rows_only_for_what_is_still_there():
    model = ConvNet()
    prunery.prune(model, {"conv2": 0.75})
    found = sensitivity(model, images(), sparsities=[0.5, 0.75, 0.9])
    assert [row.sparsity for row in found.rows if row.layer == "conv2.weight"] == [0.75, 0.9]
    assert found.unpruned.kept == 216 + 144 + 40
    assert found.rows[3].loss == found.unpruned.loss  # nothing more to remove


def test_an_emptied_layer_is_a_row_without_a_warning():
    model = dense(192, 2, 5)
    (row,) = [r for r in sensitivity(model, images(), sparsities=[0.99]).rows if r.weights == 10]
    assert (row.kept, row.weights) == (0, 10)
    assert math.isfinite(row.loss)
    assert row.note.startswith("predicts class")  # only the biases are left


def test_snip_on_digits_is_scored_on_the_train_batch(digits):
    splits = split(digits, seed=0)
    model = dense(64, 20, 10)
    asked = {"criterion": "snip", "sparsities": [0.9]}
    one, two = (
        sensitivity(
            model, splits.validation, batches=[balanced(splits.train, per_class=2, seed=seed)], **asked
        )
        for seed in (0, 1)
    )
    assert one != two
    assert one.unpruned == two.unpruned


def test_what_cannot_be_scanned():
    model = ConvNet()
    with pytest.raises(DataError, match="validation split"):
        sensitivity(model, images(name="test"))
    with pytest.raises(DataError, match="empty"):
        sensitivity(model, images(n=0))
    with pytest.raises(SparsityError, match="at least one"):
        sensitivity(model, images(), sparsities=[])
    with pytest.raises(SparsityError, match=r"1\.5"):
        sensitivity(model, images(), sparsities=[1.5])
    with pytest.raises(ChoiceError, match="magnitude"):
        sensitivity(model, images(), criterion="magnitud")
    with pytest.raises(PatternError, match="matches no layer"):
        sensitivity(model, images(), exclude=["conv9"])
