"""Well-known networks, small: half of the MACs go by one call, and what is compacted computes the same."""

import copy

import graph_compare
import graph_nets
import pytest
import torch
from graph_nets_full import FULL, QUICK

import prunery
from prunery.export.compact import compacted


def test_each_network_has_a_full_and_a_small_size():
    assert list(FULL) == list(QUICK)
    assert len(FULL) == 12


@pytest.mark.parametrize("name", QUICK)
def test_half_of_the_macs_go(name):
    net = QUICK[name]
    model, example = graph_nets.built(net.build), net.example(1)
    masked = copy.deepcopy(model)
    masks = prunery.prune(masked, "50%", granularity="channel", budget="macs", example=example)
    done = compacted(model, masks, example)
    macs = [prunery.cost(m, example).macs.dense for m in (model, done.model)]
    assert macs[1] <= 0.5 * macs[0]
    assert done.parameters[1] < 0.7 * done.parameters[0]
    for x in (example, net.example(2)):
        found = [graph_compare.call(m, x) for m in (masked, done.model)]
        assert graph_compare.difference(*found) <= graph_compare.TOLERANCE
    assert all(torch.isfinite(p).all() for p in done.model.parameters())
