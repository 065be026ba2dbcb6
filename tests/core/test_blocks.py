"""Blocks of a matrix: scores by hand, edges, exact counts."""

import pytest
import torch
from torch import nn

import prunery
from prunery.errors import ChoiceError

NORMS = {
    "l1": lambda w: w.abs().sum(),
    "l2": lambda w: w.square().sum(),
    "mean": lambda w: w.abs().mean(),
    "max": lambda w: w.abs().max(),
}


def blocks_of(weight, rows, columns):
    """Each block as (places, values), in the order of rows."""
    for i in range(0, weight.shape[0], rows):
        for j in range(0, weight.shape[1], columns):
            yield (slice(i, i + rows), slice(j, j + columns)), weight[i : i + rows, j : j + columns]


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("layer", [nn.Linear(10, 7), nn.Conv2d(10, 7, 3), nn.Linear(12, 8)])
def test_the_best_blocks_stay_whole_and_the_others_go(layer, norm):
    weight = layer.weight.detach().clone()
    found = list(blocks_of(weight, 4, 3))
    scores = torch.stack([NORMS[norm](values) for _, values in found])
    keep = len(found) - round(0.4 * len(found))
    best = set(scores.topk(keep).indices.tolist())
    model = nn.Sequential(layer)
    with torch.no_grad():
        layer.weight.copy_(weight)
    masks = prunery.prune(model, 0.4, granularity=f"block(rows=4, columns=3, norm={norm!r})")
    assert masks.units == {"0.weight": (keep, len(found))}
    for number, (places, _) in enumerate(found):
        mask = masks["0.weight"][places]
        assert mask.all() if number in best else not mask.any()


def test_a_second_cut_is_nested_and_all_layers_compete():
    model = nn.Sequential(nn.Linear(9, 8), nn.Linear(8, 5))
    first = prunery.prune(model, 0.25, granularity="block")
    second = prunery.prune(model, 0.75, granularity="block", masks=first)
    assert sum(kept for kept, _ in second.units.values()) == 10 - round(0.75 * 10)  # 2 x 3 and 2 x 2 blocks
    assert all((second[name] <= first[name]).all() for name in first)


@pytest.mark.parametrize(("option", "match"), [("rows=0", "rows=0"), ("norm='x'", "norm 'x'")])
def test_what_is_no_block_is_refused(option, match):
    with pytest.raises(ChoiceError, match=match):
        prunery.prune(nn.Linear(4, 4), 0.5, granularity=f"block({option})")
