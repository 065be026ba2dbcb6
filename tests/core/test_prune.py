"""`prunery.prune`: counts, patterns, floors, continuation, dtypes, NaN."""

import copy
import warnings

import pytest
import torch
from nets import ConvNet, batch, mlp
from torch import nn

import prunery
from prunery.errors import EmptyLayerWarning, ModelError, PatternError, ScoreError, SparsityError

CRITERIA = ["random", "magnitude", "snip", "grasp", "synflow"]
BATCH = [batch((20,), 5)]


def kept_of(masks):
    return {layer.name: layer.kept for layer in masks.layers()}


@pytest.mark.parametrize("criterion", CRITERIA)
@pytest.mark.parametrize("scope", ["global", "layer"])
@pytest.mark.parametrize("sparsity", [0.0, 0.5, "90%", "37x"])
def test_exact_count_and_removed_weights_are_zero(criterion, scope, sparsity):
    from prunery.core.sparsity import parse

    model = mlp(20, 31, 17, 5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", EmptyLayerWarning)
        masks = prunery.prune(model, sparsity, criterion=criterion, scope=scope, batches=BATCH, rounds=3)
    s = parse(sparsity)
    pools = [[layer] for layer in masks.layers()] if scope == "layer" else [masks.layers()]
    for pool in pools:
        total = sum(layer.total for layer in pool)
        assert total - sum(layer.kept for layer in pool) == round(s * total)
    for name, mask in masks.items():
        assert (model.get_parameter(name)[~mask] == 0).all()
    assert masks.total == 20 * 31 + 31 * 17 + 17 * 5
    assert masks.sparsity == pytest.approx(1 - masks.kept / masks.total)


def test_magnitude_keeps_the_largest():
    model = mlp(4, 3, 2)
    reference = torch.cat([model[0].weight.flatten(), model[2].weight.flatten()]).abs()
    threshold = reference.sort(descending=True).values[8]
    masks = prunery.prune(model, 0.5)
    expected = torch.cat([masks["0.weight"].flatten(), masks["2.weight"].flatten()])
    assert torch.equal(expected, reference >= threshold)


def test_mapping_prunes_each_pattern_on_its_own_and_leaves_the_rest():
    model = mlp(10, 10, 10, 10, 10)
    masks = prunery.prune(model, {"0": 0.9, "[24].weight": 0.5})
    assert kept_of(masks) == {"0.weight": 10, "6.weight": 100} | {
        k: v for k, v in kept_of(masks).items() if k in ("2.weight", "4.weight")
    }
    assert kept_of(masks)["2.weight"] + kept_of(masks)["4.weight"] == 100


def test_patterns_that_match_nothing_or_are_shadowed_are_errors():
    with pytest.raises(PatternError, match=r"layer9.*matches no layer"):
        prunery.prune(mlp(4, 4, 4), {"layer9.*": 0.5})
    with pytest.raises(PatternError, match="specific pattern first"):
        prunery.prune(mlp(4, 4, 4), {"*": 0.5, "0.*": 0.9})
    with pytest.raises(PatternError, match="matches no layer"):
        prunery.prune(mlp(4, 4, 4), 0.5, exclude=["nothing"])
    with pytest.raises(PatternError, match="all 2 prunable layers"):
        prunery.prune(mlp(4, 4, 4), 0.5, exclude=["*"])
    with pytest.raises(ModelError, match="no prunable weight"):
        prunery.prune(nn.Sequential(nn.ReLU()), 0.5)


def test_exclude_by_parameter_module_and_output():
    model = mlp(10, 10, 10, 10)
    assert list(prunery.prune(model, 0.5, exclude=["@output"])) == ["0.weight", "2.weight"]
    assert list(prunery.prune(model, 0.5, exclude=["2"])) == ["0.weight", "4.weight"]
    assert list(prunery.prune(ConvNet(), 0.5, exclude=["bn*", "conv1.weight"])) == [
        "conv2.weight",
        "head.weight",
    ]


def test_floor_keeps_every_layer_alive():
    model = mlp(50, 40, 30, 5)
    with torch.no_grad():
        model[2].weight.mul_(1e-3)
    with pytest.warns(EmptyLayerWarning, match=r"2\.weight"):
        without = prunery.prune(copy.deepcopy(model), 0.9)
    assert kept_of(without)["2.weight"] == 0
    masks = prunery.prune(model, 0.9, floor=0.05)
    assert kept_of(masks)["2.weight"] == 60
    assert masks.total - masks.kept == round(0.9 * masks.total)
    with pytest.raises(SparsityError, match="floors keep"):
        prunery.prune(model, 0.9, floor=0.2)


@pytest.mark.parametrize("criterion", CRITERIA)
@pytest.mark.parametrize("scope", ["global", "layer"])
def test_continuing_is_nested_and_counts_all_weights(criterion, scope):
    model = mlp(20, 30, 10, 5)
    masks, before = None, None
    for sparsity in (0.3, 0.5, 0.9):
        before = masks
        masks = prunery.prune(
            model,
            sparsity,
            criterion=criterion,
            scope=scope,
            batches=BATCH,
            masks=masks,
            floor=0.01,
            rounds=2,
        )
        pools = [[layer] for layer in masks.layers()] if scope == "layer" else [masks.layers()]
        for pool in pools:
            total = sum(layer.total for layer in pool)
            assert total - sum(layer.kept for layer in pool) == round(sparsity * total)
        for name in before or {}:
            assert not (masks[name] & ~before[name]).any()
    with pytest.raises(SparsityError, match="already remove"):
        prunery.prune(model, 0.5, criterion="random", scope=scope, masks=masks)


def test_removed_weights_do_not_return_when_their_values_do():
    model = mlp(20, 30, 5)
    masks = prunery.prune(model, 0.5)
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.randn(p.shape, generator=torch.Generator().manual_seed(1)))
    again = prunery.prune(model, 0.7, masks=masks)
    assert not any((again[name] & ~masks[name]).any() for name in masks)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("criterion", ["magnitude", "random", "synflow", "snip"])
def test_half_and_double_models_are_exact(dtype, criterion):
    model = mlp(64, 50, 10, dtype=dtype)
    x, y = batch((64,), 10)
    masks = prunery.prune(model, "77%", criterion=criterion, batches=[(x.to(dtype), y)])
    assert masks.total - masks.kept == round(0.77 * masks.total)
    assert all(p.dtype == dtype for p in model.parameters())


def test_nan_is_an_error_and_leaves_the_model_alone():
    model = mlp(10, 10, 10)
    with torch.no_grad():
        model[2].weight[3, 4] = torch.nan
    state = copy.deepcopy(model.state_dict())
    with pytest.raises(ScoreError, match=r"2\.weight"):
        prunery.prune(model, 0.5)
    assert torch.equal(model[0].weight, state["0.weight"])


def test_removed_nan_and_infinite_weights_become_zero():
    model = mlp(10, 10, 10)
    masks = prunery.prune(copy.deepcopy(model), 0.5, criterion="random")
    with torch.no_grad():
        model[0].weight[~masks["0.weight"]] = torch.nan
        model[2].weight[~masks["2.weight"]] = -torch.inf
    masks.apply_(model)
    assert all((model.get_parameter(n)[~m] == 0).all() for n, m in masks.items())
    with torch.no_grad():
        model[0].weight[~masks["0.weight"]] = torch.nan
    assert prunery.prune(model, 0.7, masks=masks).kept == masks.total - round(0.7 * masks.total)
    assert torch.isfinite(model[0].weight).all()


def test_rounds_leave_an_empty_layer_that_nothing_is_asked_of():
    model = mlp(4, 4, 4)
    names = [layer.name for layer in prunery.prune(copy.deepcopy(model), 0.5).layers()]
    empty = prunery.Masks(
        {names[0]: torch.zeros(4, 4, dtype=torch.bool), names[1]: torch.ones(4, 4, dtype=torch.bool)}
    )
    with pytest.warns(EmptyLayerWarning):
        masks = prunery.prune(model, {names[1].split(".")[0]: 0.5}, masks=empty, rounds=3)
    assert [(row.kept, row.total) for row in masks.layers()] == [(0, 16), (8, 16)]
