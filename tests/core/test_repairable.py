"""Scope `repairable`: the least sum of costs, exact counts, and outputs that change less than elsewhere."""

import itertools

import pytest
import torch
from nets import ConvNet, batch, mlp
from torch import nn

import prunery
from prunery.core.repairable import densities, hull, shared
from prunery.errors import ChoiceError, EvidenceError

X = [batch((3, 12, 12), 5, n=64)[0]]


def test_the_hull_is_below_all_points_and_convex():
    costs = [(10, 8.0), (20, 5.0), (30, 4.9), (40, 1.0), (80, 0.5), (100, 0.0)]
    points = hull(costs)
    assert points == [(10, 8.0), (20, 5.0), (40, 1.0), (100, 0.0)]


def test_shares_have_the_least_cost_of_all_that_keep_as_many():
    def cost_of(costs, kept):
        low = max(p for p in hull(costs) if p[0] <= kept)
        high = min(p for p in hull(costs) if p[0] >= kept)
        return low[1] + (high[1] - low[1]) * (kept - low[0]) / ((high[0] - low[0]) or 1)

    layers = [
        [(1, 9.0), (2, 4.0), (4, 1.0), (6, 0.0)],
        [(1, 3.0), (3, 2.5), (5, 0.0)],
        [(2, 100.0), (4, 2.0), (8, 0.0)],
    ]
    ranges = [range(costs[0][0], costs[-1][0] + 1) for costs in layers]
    for keep in range(4, 20):
        kept = shared(keep, layers)
        assert sum(kept) == keep
        every = [some for some in itertools.product(*ranges) if sum(some) == keep]
        best = min(sum(map(cost_of, layers, some)) for some in every)
        assert sum(map(cost_of, layers, kept)) == pytest.approx(best)


@pytest.mark.parametrize("keep", [0, 1, 5, 9])
def test_fewer_than_all_lowest_levels_are_shared_in_proportion(keep):
    kept = shared(keep, [[(4, 1.0), (8, 0.0)], [(6, 1.0), (9, 0.0)]])
    assert sum(kept) == keep
    assert kept[0] <= 4
    assert kept[1] <= 6


def test_levels_rise_and_none_is_the_whole_layer():
    for count, density in ((1000, 0.1), (12, 0.9), (3, 0.01), (50_000, 0.5)):
        levels = densities(count, density)
        assert levels == sorted(set(levels))
        assert all(0 < level < count for level in levels)


@pytest.mark.parametrize("sparsity", [0.3, 0.8, 0.95, 0.98])
def test_exactly_what_was_asked_is_kept(sparsity):
    model = ConvNet()
    masks = prunery.prune(model, sparsity, criterion="obs", scope="repairable", batches=X)
    assert masks.kept == masks.total - round(sparsity * masks.total)
    assert masks.holds(model)


def test_rounds_and_earlier_masks_are_nested():
    model = ConvNet()
    first = prunery.prune(model, 0.5, scope="repairable", batches=X, rounds=2)
    second = prunery.prune(model, 0.9, scope="repairable", batches=X, masks=first)
    assert all(bool((second[name] <= first[name]).all()) for name in second)
    assert second.kept == second.total - round(0.9 * second.total)


def test_a_layer_that_the_outputs_hardly_read_gives_more():
    model = mlp(12, 40, 40, 5)
    layers = [m for m in model if isinstance(m, nn.Linear)]
    wide = nn.Linear(40, 40)
    with torch.no_grad():
        layers[1].weight.copy_(torch.eye(40) + 0.01 * wide.weight)  # as large, and little is needed
    x = batch((12,), 5, n=256)[0]
    masks = prunery.prune(model, 0.6, criterion="magnitude", scope="repairable", batches=[x])
    kept = {row.name: 1 - row.sparsity for row in masks.layers()}
    names = list(kept)
    assert kept[names[1]] < 0.5 * min(kept[names[0]], kept[names[2]]), kept


def test_sparsities_by_pattern_are_met_each():
    model = ConvNet()
    masks = prunery.prune(model, {"conv*": 0.8, "head": 0.5}, scope="repairable", batches=X)
    kept = {row.name: row.kept for row in masks.layers()}
    total = 8 * 3 * 9 + 8 * 8 * 9
    assert kept["conv1.weight"] + kept["conv2.weight"] == total - round(0.8 * total)
    assert kept["head.weight"] == 20


def test_what_it_cannot_do_is_refused():
    with pytest.raises(EvidenceError, match="inputs to see what enters each layer"):
        prunery.prune(ConvNet(), 0.5, scope="repairable")
    with pytest.raises(ChoiceError, match="not single weights"):
        prunery.prune(ConvNet(), 0.5, granularity="filter", scope="repairable", batches=X)
