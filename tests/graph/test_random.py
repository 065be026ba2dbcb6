"""Random networks, of which `benchmarks/graph_fuzz.py` has more: a smaller copy computes the same."""

import graph_compare
import graph_nets
import graph_random
import graph_random_parts  # noqa: F401  (enters more parts)
import numpy as np
import pytest
import torch

from prunery.graph.coupling import graph_of

EACH = 20


@pytest.mark.parametrize("first", range(0, 200, EACH))
def test_random_networks(first):
    shrunk = 0
    for seed in range(first, first + EACH):
        model = graph_nets.built(lambda seed=seed: graph_random.Network(seed), seed)
        example = graph_random.input_of(2, seed)
        graph = graph_of(model, example)
        roots = graph_compare.chosen(graph.free, np.random.default_rng(seed).uniform(0.1, 0.9), seed)
        more = [example, graph_random.input_of(3, seed + 1)]
        same, detail = graph_compare.verdict(model, graph, roots, more)
        assert same, (seed, detail)
        shrunk += bool(len(roots))
    assert shrunk >= 0.8 * EACH


def test_networks_have_many_parts():
    assert len(graph_random.PARTS) >= 20
    kinds = {type(module).__name__ for seed in range(40) for module in graph_random.Network(seed).modules()}
    assert {"LSTM", "MultiheadAttention", "ConvTranspose2d", "GroupNorm", "LayerNorm", "PReLU"} <= kinds
    assert torch.equal(graph_random.input_of(2, 5), graph_random.input_of(2, 5))
