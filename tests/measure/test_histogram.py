"""Histograms: exact counts against counting by hand, masks, empty layers, NaN, no trace."""

import math
import time
from fractions import Fraction

import pytest
import torch
from nets import ConvNet, Tied, mlp
from torch import nn

import prunery
from prunery.core.masks import Masks
from prunery.errors import ChoiceError, MasksError
from prunery.measure.histogram import histograms


def linear(rows):
    layer = nn.Linear(len(rows[0]), len(rows), bias=False)
    layer.weight.data = torch.tensor(rows)
    return layer


def counted(values, bins):
    """Counts in exact arithmetic."""
    top = Fraction(max(map(abs, values)))
    half, counts = bins // 2, [0] * bins
    for value in values:
        counts[min(bins - 1, half + math.floor(Fraction(value) * half / top))] += 1
    return tuple(counts)


def test_counts_by_hand():
    (found,) = histograms(linear([[-2.0, -1.0, -0.5, 0.0], [0.25, 1.0, 1.5, 2.0]]), bins=4)
    assert (found.low, found.high, found.layer) == (-2.0, 2.0, "weight")
    assert found.edges == (-2.0, -1.0, 0.0, 1.0, 2.0)
    assert found.counts == (1, 2, 1, 3)  # an edge belongs to the bin above it, the last one to the last bin
    assert (found.kept, found.total, found.nonfinite) == (7, 8, 0)


@pytest.mark.parametrize("bins", [2, 14, 60, 98])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_counts_are_exact_at_edges_too(bins, dtype):
    edges = torch.arange(-bins // 2, bins // 2 + 1).double() * 3 / (bins // 2)
    beside = [edges.float().nextafter(torch.tensor(side)) for side in (-9.0, 9.0)]
    noise = torch.randn(300, generator=torch.Generator().manual_seed(0))
    values = torch.cat([edges.float(), *beside, noise]).clamp(-3, 3).to(dtype)
    (found,) = histograms(linear([values.tolist()]).to(dtype), bins=bins)
    assert found.counts == counted([v for v in values.tolist() if v != 0], bins)


def test_layers_are_those_of_prunable_in_their_order():
    names = [h.layer for h in histograms(ConvNet())]
    assert names == ["conv1.weight", "conv2.weight", "head.weight"]
    assert [h.layer for h in histograms(ConvNet(), exclude=["@output"])] == names[:2]
    assert len(histograms(Tied())) == len({h.layer for h in histograms(Tied())})


def test_masks_decide_what_is_kept_and_zeros_decide_without_them():
    model = ConvNet()
    masks = prunery.prune(model, 0.75, exclude=["head"])
    by_masks, by_zeros = histograms(model, masks), histograms(model)
    assert by_masks == by_zeros
    kept = {layer.name: layer.kept for layer in masks.layers()}
    assert [(h.layer, h.kept) for h in by_masks[:2]] == list(kept.items())
    assert all(sum(h.counts) == h.kept for h in by_masks)
    assert by_masks[2].kept == by_masks[2].total == 40
    # a kept weight may be 0, and a removed one may be anything
    layer = linear([[0.0, 0.0, 5.0, 1.0]])
    (found,) = histograms(layer, Masks({"weight": torch.tensor([[True, False, False, True]])}), bins=2)
    assert (found.counts, found.high, found.kept) == ((0, 2), 1.0, 2)


def test_an_empty_layer_gives_zeros():
    model = mlp(4, 3, 2)
    masks = Masks({"0.weight": torch.zeros(3, 4, dtype=torch.bool)})
    empty = histograms(model, masks)[0]
    assert (empty.low, empty.high, empty.kept, empty.total) == (0.0, 0.0, 0, 12)
    assert empty.counts == (0,) * 60
    masks.apply_(model)
    assert histograms(model)[0] == empty
    all_zero = histograms(model, Masks({"0.weight": torch.ones(3, 4, dtype=torch.bool)}))[0]
    assert (sum(all_zero.counts), all_zero.counts[30], all_zero.high) == (12, 12, 0.0)


def test_what_is_not_finite_is_counted_apart():
    layer = linear([[math.nan, math.inf, -math.inf, 0.0, -1.0, 0.5]])
    (found,) = histograms(layer, bins=2)
    assert (found.counts, found.kept, found.nonfinite, found.high) == ((1, 1), 5, 3, 1.0)
    (masked,) = histograms(layer, Masks({"weight": torch.tensor([[False, True, False, True, False, False]])}))
    assert (sum(masked.counts), masked.kept, masked.nonfinite, masked.high) == (1, 2, 1, 0.0)


@pytest.mark.parametrize("bins", [0, 1, 7, -2, 2.0, True])
def test_bins_that_leave_no_edge_at_0(bins):
    with pytest.raises(ChoiceError, match="even"):
        histograms(mlp(2, 2), bins=bins)


def test_masks_of_another_model():
    with pytest.raises(MasksError):
        histograms(mlp(4, 3), Masks({"weight": torch.ones(2, 2, dtype=torch.bool)}))


def test_memory_layout_and_wrappers_change_nothing():
    model = ConvNet()
    masks = prunery.prune(model, 0.5)
    before = histograms(model, masks)
    assert histograms(model.to(memory_format=torch.channels_last), masks) == before
    assert histograms(nn.DataParallel(model), masks) == before


def test_no_trace():
    model = ConvNet()
    state = {k: v.clone() for k, v in model.state_dict().items()}
    versions = [p._version for p in model.parameters()]
    histograms(model)
    assert model.training
    assert versions == [p._version for p in model.parameters()]
    assert all(torch.equal(v, state[k]) for k, v in model.state_dict().items())


def test_fifteen_million_weights_take_about_a_second_at_most():
    layer = nn.Linear(3000, 5000, bias=False)
    with torch.no_grad():
        layer.weight.uniform_(-1, 1, generator=torch.Generator().manual_seed(0))
    begin = time.process_time()
    (found,) = histograms(layer)
    assert time.process_time() - begin < 3  # processor time, on a machine that may be slow
    assert sum(found.counts) == int(layer.weight.count_nonzero())
    assert max(found.counts) < 1.02 * min(found.counts)
