"""Masks: a plain mapping, saved bit-packed; filters take their bias and batch norm along."""

import copy
import pickle

import pytest
import torch
from nets import ConvNet, Odd, batch, mlp
from torch import nn

import prunery
from prunery import Masks
from prunery.core.context import ScoringContext
from prunery.core.granularity import granularity
from prunery.core.layers import prunable
from prunery.errors import ChoiceError, EvidenceError, MasksError


def test_masks_are_a_mapping_with_counts():
    masks = Masks(
        {"a": torch.tensor([[True, False], [False, False]]), "b": torch.ones(3, 1, dtype=torch.bool)}
    )
    assert dict(masks).keys() == {"a", "b"}
    assert (masks.kept, masks.total, masks.sparsity) == (4, 7, 1 - 4 / 7)
    first, second = masks.layers()
    assert (first.name, first.shape, first.kept, first.total, first.sparsity) == ("a", (2, 2), 1, 4, 0.75)
    assert second.kept == second.total == 3
    with pytest.raises(MasksError, match="bool"):
        Masks({"a": torch.ones(2)})


def test_save_and_load_are_exact_small_and_without_pickle(tmp_path):
    masks = prunery.prune(mlp(100, 300, 10), "90%", scope="layer")
    path = tmp_path / "masks.safetensors"
    masks.save(path)
    loaded = Masks.load(path)
    assert list(loaded) == list(masks)
    assert all(torch.equal(loaded[n], masks[n]) for n in masks)
    assert path.stat().st_size < masks.total / 8 + 1000
    assert b"pickle" not in path.read_bytes()
    assert list(tmp_path.iterdir()) == [path]


def test_filter_masks_survive_the_file(tmp_path):
    x, _ = batch((3, 8, 8), 5)
    masks = prunery.prune(ConvNet(), 0.5, granularity="filter", scope="layer", example=x)
    masks.save(tmp_path / "m")
    loaded = Masks.load(tmp_path / "m")
    assert (loaded.total, loaded.kept, loaded.uncounted) == (masks.total, masks.kept, masks.uncounted)
    assert loaded.layers() == masks.layers()


@pytest.mark.parametrize("content", [b"", b"nonsense", b"\x80\x04K\x01."])
def test_files_that_hold_no_masks_are_refused(tmp_path, content):
    path = tmp_path / "bad"
    path.write_bytes(content)
    with pytest.raises(MasksError, match="whole file"):
        Masks.load(path)
    with pytest.raises(MasksError):
        Masks.load(tmp_path / "absent")
    prunery.prune(mlp(30, 30, 3), 0.5).save(path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(MasksError):
        Masks.load(path)


def test_of_reads_the_zero_pattern():
    model = mlp(20, 30, 5)
    masks = prunery.prune(model, 0.8)
    again = Masks.of(model)
    assert all(torch.equal(again[n], masks[n]) for n in masks)
    assert copy.deepcopy(masks).kept == pickle.loads(pickle.dumps(masks)).kept == masks.kept


def test_channels_last_weights_are_cleared_in_place():
    model = ConvNet().to(memory_format=torch.channels_last)
    strides = model.conv2.weight.stride()
    masks = prunery.prune(model, 0.5)
    plain = ConvNet()
    assert all(torch.equal(masks[n], m) for n, m in prunery.prune(plain, 0.5).items())
    assert model.conv2.weight.stride() == strides
    assert torch.equal(model.conv2.weight, plain.conv2.weight)


@pytest.mark.parametrize("with_example", [True, False])
def test_filters_take_bias_and_batch_norm_along(with_example):
    model = ConvNet()
    x, _ = batch((3, 8, 8), 5)
    norms = model.conv1.weight.detach().abs().sum((1, 2, 3))
    masks = prunery.prune(
        model, 0.5, granularity="filter", scope="layer", exclude=["head"], example=x if with_example else None
    )
    removed = norms.argsort()[:4]
    for tensor in (model.conv1.weight, model.conv1.bias, model.bn1.weight, model.bn1.bias):
        assert (tensor[removed] == 0).all()
        assert int((tensor.reshape(8, -1).abs().sum(1) == 0).sum()) == 4
    assert int((model.bn2.bias == 0).sum()) == 4
    assert masks.total == 8 * 27 + 8 * 72
    assert masks.kept == 4 * 27 + 4 * 72
    assert [(row.units_kept, row.units_total) for row in masks.layers()] == [(4, 8), (4, 8)]
    model.eval()
    assert (model.bn1(model.conv1(x))[:, removed] == 0).all()


def test_filter_norms_l1_and_l2_by_hand():
    model = nn.Sequential(nn.Linear(2, 3, bias=False))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[3.0, 0.0], [1.9, 1.9], [0.1, 0.1]]))
    for norm, kept in (("l1", 1), ("l2", 0)):  # |.|1: 3, 3.8, 0.2; |.|2: 3, 2.69, 0.14
        units = {"name": "filter", "norm": norm}
        masks = prunery.prune(copy.deepcopy(model), "3x", granularity=units, exclude=())
        assert masks["0.weight"].any(1).nonzero().flatten().tolist() == [kept]
    with pytest.raises(ChoiceError, match="'l1' or 'l2'"):
        prunery.prune(model, 0.5, granularity="filter(norm='max')", exclude=())
    with pytest.raises(ChoiceError, match="signed"):
        prunery.prune(model, 0.5, granularity="filter(norm='l2')", criterion="grasp")


def test_filters_of_transposed_convolutions_are_output_channels():
    model = Odd()
    layers = prunable(model, ["attention.in_proj_weight"])
    (unit_set,) = [
        u for u in granularity.bind("filter")(ScoringContext(model, layers)) if u.name == "up.weight"
    ]
    assert unit_set.count == 4
    keep = torch.tensor([True, True, True, False])  # group 1, second output channel
    mask = unit_set.members[0].expand(keep)
    assert mask.shape == model.up.weight.shape == (6, 2, 3)
    assert not mask[3:, 1].any()
    assert int((~mask).sum()) == 9
    masks = prunery.prune(model, 0.5, granularity="filter", exclude=["attention.in_proj_weight"])
    x = torch.randn(2, 6, 9)
    dead = (model.up(x) == 0).all(2).all(0)
    assert int(dead.sum()) == 2
    assert masks.kept < masks.total


@pytest.mark.parametrize("criterion", ["random", "magnitude", "snip", "grasp", "synflow"])
@pytest.mark.parametrize("scope", ["global", "layer"])
def test_filter_counts_are_exact_and_nested(criterion, scope):
    model = ConvNet()
    x, y = batch((3, 8, 8), 5)
    masks = None
    for sparsity in (0.25, 0.6):
        earlier = masks
        masks = prunery.prune(
            model, sparsity, granularity="filter", criterion=criterion, scope=scope, batches=[(x, y)],
            masks=masks, rounds=2, floor=0.1,
        )  # fmt: skip
        rows = masks.layers()
        for pool in [[row] for row in rows] if scope == "layer" else [rows]:
            total = sum(row.units_total for row in pool)
            assert total - sum(row.units_kept for row in pool) == round(sparsity * total)
        for name in earlier or {}:
            assert not (masks[name] & ~earlier[name]).any()


@pytest.mark.filterwarnings("ignore::prunery.errors.OutputWarning")
def test_untraceable_models_with_norms_ask_for_an_example():
    class Branching(ConvNet):
        def forward(self, x):
            return super().forward(x if x.sum() > 0 else -x)

    with pytest.raises(EvidenceError, match="example=, what the model is called with"):
        prunery.prune(Branching(), 0.5, granularity="filter")
    x, _ = batch((3, 8, 8), 5)
    masks = prunery.prune(Branching(), 0.5, granularity="filter", scope="layer", example=x)
    assert "bn1.weight" in masks


def test_random_filters_are_drawn_whatever_weights_they_lost():
    model = nn.Sequential(nn.Conv2d(3, 200, 3))
    weights = prunery.prune(model, 0.5, criterion="random", seed=1)
    first = weights["0.weight"][:, 0, 0, 0]  # what a filter's random score is drawn for
    masks = prunery.prune(
        model, 0.6, criterion="random", granularity="filter", masks=weights, exclude=(), seed=2
    )
    kept = masks["0.weight"].flatten(1).any(1)
    share = [float(kept[of].float().mean()) for of in (first, ~first)]
    assert kept.sum() == 80
    assert share == [pytest.approx(0.4, abs=0.15), pytest.approx(0.4, abs=0.15)]


def test_units_are_those_of_the_last_cut():
    model = nn.Sequential(nn.Conv2d(3, 10, 3))
    filters = prunery.prune(model, 0.5, granularity="filter", exclude=())
    assert [(r.units_kept, r.units_total) for r in filters.layers()] == [(5, 10)]
    weights = prunery.prune(model, 0.8, masks=filters)
    assert [(r.units_kept, r.units_total) for r in weights.layers()] == [(54, 270)]


def test_masks_are_equal_where_their_bits_are():
    masks = prunery.prune(mlp(6, 8, 3), 0.5)
    assert masks == Masks({name: masks[name] for name in ("2.weight", "0.weight")})
    other = {name: mask.clone() for name, mask in masks.items()}
    other["0.weight"][0, 0] ^= True
    assert masks not in (Masks(other), Masks({}), "masks")


def test_masks_on_another_device_know_their_coverage():
    masks = prunery.prune(mlp(6, 8, 3), 0.5)
    assert masks.to("cpu").coverage == masks.coverage is not None


@pytest.mark.parametrize("given", [None, [1], "masks"])
def test_what_is_no_mapping_is_no_masks(given):
    with pytest.raises(MasksError, match="Give a mapping"):
        Masks(given)
    with pytest.raises(MasksError):
        Masks.load(3)
