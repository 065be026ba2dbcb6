"""Whether a model is as sparse as its masks, and masks that say less than the model shows."""

import copy
import warnings

import pytest
import torch
from nets import ConvNet, Tied, batch, mlp
from torch import nn

import prunery
from prunery import Masks
from prunery.errors import MasksError, SilentCriterionWarning, ZerosKeptWarning


@pytest.mark.parametrize("value", [1.0, -1e-30, torch.nan, torch.inf])
def test_violations_are_counted_by_parameter(value):
    model = mlp(20, 30, 10, 5)
    masks = prunery.prune(model, 0.8)
    assert masks.violations(model) == {}
    assert masks.holds(model)
    masks.verify(model)
    expected = {"0.weight": 3, "4.weight": 1}
    with torch.no_grad():
        for name, count in expected.items():
            model.get_parameter(name)[tuple((~masks[name]).nonzero()[:count].T)] = value
    assert masks.violations(model) == expected
    assert not masks.holds(model)
    with pytest.raises(MasksError, match=r"not 0: 3 in 0\.weight, 1 in 4\.weight") as caught:
        masks.verify(model)
    assert "apply_" in caught.value.do
    masks.check(model)  # asks for names and shapes alone, as ever
    masks.apply_(model)
    masks.verify(model)


def test_kept_weights_may_be_zero_and_removed_ones_minus_zero():
    model = mlp(20, 30, 5)
    masks = prunery.prune(model, 0.5)
    with torch.no_grad():
        model[0].weight.mul_(-1).mul_(0)
    assert (model[0].weight.signbit()).any()
    masks.verify(model)


def test_norms_and_biases_that_follow_a_filter_count_as_violations():
    model, (x, _) = ConvNet(), batch((3, 8, 8), 5)
    masks = prunery.prune(model, 0.5, granularity="filter", example=x)
    with torch.no_grad():
        model.bn1.bias.add_(1)
    assert masks.violations(model) == {"bn1.bias": 4}


def test_masks_that_do_not_fit_or_weights_without_values_have_no_answer():
    masks = prunery.prune(mlp(20, 30, 5), 0.5)
    for ask in (masks.violations, masks.holds, masks.verify):
        with pytest.raises(MasksError, match="no parameter"):
            ask(nn.Linear(3, 3))
        with pytest.raises(MasksError, match="shape"):
            ask(mlp(20, 31, 5))
        with pytest.raises(MasksError, match="meta device"):
            ask(mlp(20, 30, 5).to("meta"))
    with pytest.raises(MasksError, match="meta device"):
        Masks.of(mlp(20, 30, 5).to("meta"))
    masks.check(mlp(20, 30, 5).to("meta"))
    masks.apply_(mlp(20, 30, 5).to("meta"))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions(dtype):
    model = mlp(20, 30, 5, dtype=dtype)
    masks = prunery.prune(model, 0.5)
    masks.verify(model)
    assert Masks.of(model).kept == masks.kept
    with torch.no_grad():
        model[2].weight.add_(torch.finfo(dtype).tiny)
    assert masks.violations(model) == {"2.weight": int((~masks["2.weight"]).sum())}
    with pytest.warns(ZerosKeptWarning):
        prunery.prune(model, 0.1)


def test_tied_weights_are_asked_for_once():
    model = Tied()
    masks = prunery.prune(model, 0.5)
    with torch.no_grad():
        model.second.weight.fill_(1)
    assert masks.violations(model) == {"first.weight": 18}


def lowered(model, sparsity, **choices):
    with pytest.warns(ZerosKeptWarning) as caught:
        masks = prunery.prune(model, sparsity, **choices)
    assert [w.filename for w in caught] == [__file__]
    assert masks.sparsity == pytest.approx(sparsity)
    return str(caught[0].message)


def test_a_lower_target_on_a_model_with_zeros_warns_with_the_counts():
    model = mlp(20, 30, 5)
    first = prunery.prune(model, 0.6)
    text = lowered(model, 0.4)
    zeros = {row.name: row.total - row.kept for row in first.layers()}
    now = {row.name: row for row in prunery.prune(copy.deepcopy(mlp(20, 30, 5)), 0.4).layers()}
    assert sum(zeros.values()) == 450
    for name in zeros:
        alive = int((model.get_parameter(name) != 0).sum())
        assert alive == now[name].total - zeros[name]
        assert f"of the {alive + _told(text, name)} weights kept in {name}" in text
    assert sum(_told(text, name) for name in zeros) == 450 - 300
    assert "masks=prunery.Masks.of(model)" in text
    again = prunery.prune(model, 0.7, masks=Masks.of(model))  # as it advises
    assert not (again["0.weight"] & ~first["0.weight"]).any()


def _told(text, name):
    (part,) = [part for part in text.split(" are 0 already")[0].split(", ") if part.endswith(name)]
    return int(part.split()[0])


def test_other_ways_to_a_lower_target():
    model = mlp(20, 30, 5)
    prunery.prune(model, 0.6, scope="layer")
    assert "2.weight" in lowered(model, 0.4, scope="layer")
    model = mlp(20, 30, 5)
    prunery.prune(model, 0.5)
    assert "0.weight" in lowered(model, 0.5, criterion="random")  # other weights than those that are 0
    model = mlp(20, 30, 5)
    mask = torch.rand(30, 20, generator=torch.Generator().manual_seed(0)) > 0.7
    model[0].weight.data *= mask  # by hand, -0.0 among them
    assert (model[0].weight.signbit() & ~mask).any()
    assert f"{int((~mask).sum())} of the 600" in lowered(model, 0.0)


def test_filters_that_are_zero_already():
    model, (x, _) = ConvNet(), batch((3, 8, 8), 5)
    prunery.prune(model, 0.75, granularity="filter", example=x)
    with pytest.warns(ZerosKeptWarning, match=r"4 of the 6 rows kept in conv1\.weight, 4 of the 6"):
        prunery.prune(model, 0.25, granularity="filter", example=x)
    sparse = ConvNet()
    prunery.prune(sparse, 0.5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # zeros within the filters that are kept are no filters
        prunery.prune(sparse, 0.25, granularity="filter", example=x)


@pytest.mark.parametrize("criterion", ["magnitude", "random"])
def test_weights_that_are_zero_for_other_reasons_are_no_surprise(criterion):
    model = mlp(20, 30, 10, 5)
    nn.init.zeros_(model[2].weight)  # as the last layer of a residual branch, or the second of an adapter
    nn.init.sparse_(model[4].weight, 0.1)
    choices = {"criterion": criterion, "exclude": ["4"] if criterion == "random" else ()}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", SilentCriterionWarning)  # magnitude says nothing of a layer of zeros
        masks = prunery.prune(model, 0.5, scope="layer", **choices)
    assert masks["2.weight"].sum() == 150


@pytest.mark.parametrize("zeros", ["columns", "rows", "all over"])
def test_zeros_in_a_large_layer_are_seen_wherever_they_lie(zeros):
    model = nn.Sequential(nn.Linear(512, 4096, bias=False))
    where = {
        "columns": (slice(None), slice(1, 256, 2)),
        "rows": (slice(1, 512), slice(None)),
        "all over": torch.rand(4096, 512, generator=torch.Generator().manual_seed(0)) < 0.01,
    }[zeros]
    with torch.no_grad():
        model[0].weight[where] = 0
    count = int((model[0].weight == 0).sum())
    assert f"{count} of the {4096 * 512}" in lowered(model, 0.0)


def test_a_handful_of_zeros_among_thousands_is_no_surprise():
    model = nn.Sequential(nn.Linear(100, 100))
    with torch.no_grad():
        model[0].weight[0, :10] = 0
    prunery.prune(model, 0.0)
    with torch.no_grad():
        model[0].weight[0, 10] = 0
    with pytest.warns(ZerosKeptWarning, match="11 of the 10000"):
        prunery.prune(model, 0.0)
    model = nn.Sequential(nn.Linear(90, 111))  # of 9990 weights, 9 may be 0 by chance
    with torch.no_grad():
        model[0].weight[0, :10] = 0
    with pytest.warns(ZerosKeptWarning, match="10 of the 9990"):
        prunery.prune(model, 0.0)


def test_a_handful_is_counted_by_the_size_of_the_layer_not_by_what_is_kept():
    model = nn.Sequential(nn.Linear(100, 100))
    masks = prunery.prune(copy.deepcopy(model), 0.5, criterion="random")
    kept = masks["0.weight"].nonzero()
    with torch.no_grad():
        model[0].weight[tuple(kept[:10].T)] = 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = prunery.prune(model, 0.5, criterion="random")
    assert torch.equal(again["0.weight"], masks["0.weight"])
    with torch.no_grad():
        model[0].weight[tuple(kept[10])] = 0
    assert "11 of the 5000 weights kept" in lowered(model, 0.5, criterion="random")


@pytest.mark.parametrize("width", [1, 2, 100])
def test_one_row_of_zeros_is_a_surprise_however_small_it_is(width):
    model = nn.Sequential(nn.Linear(width, 5000))
    with torch.no_grad():
        model[0].weight[0] = 0
    choices = {"granularity": "filter", "exclude": ()}
    assert "1 of the 5000 rows kept in 0.weight" in lowered(model, 0.0, **choices)


def test_rows_of_zeros_are_counted_under_masks_of_weights_too():
    model, filters = nn.Sequential(nn.Linear(20, 30)), {"granularity": "filter", "exclude": ()}
    masks = prunery.prune(model, 0.5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        prunery.prune(copy.deepcopy(model), 0.0, masks=masks, **filters)
    with torch.no_grad():
        model[0].weight[3] = 0
    with pytest.warns(ZerosKeptWarning, match="1 of the 30 rows"):
        prunery.prune(model, 0.0, masks=masks, **filters)


def test_one_zero_in_a_row_makes_no_row_of_zeros():
    model = nn.Sequential(nn.Linear(20, 30))
    with torch.no_grad():
        model[0].weight[3, 4] = 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        prunery.prune(model, 0.0, granularity="filter", exclude=())


def test_continuing_and_pruning_further_do_not_warn():
    model = mlp(20, 30, 5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        masks = prunery.prune(model, 0.4)
        masks = prunery.prune(model, 0.6, masks=masks, criterion="random")
        masks = prunery.prune(model, 0.7)
        prunery.prune(model, 0.8, masks=Masks.of(model), rounds=3)
