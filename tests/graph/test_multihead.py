"""Attention with fewer heads: the same as torch's where that can say, and usable where torch's is."""

from __future__ import annotations

import copy
import pickle

import graph_compare
import pytest
import torch
from graph_nets import built
from torch import nn

from prunery.graph.coupling import graph_of
from prunery.graph.multihead import PrunedMultiheadAttention
from prunery.graph.shrink import Removal, shrunk


def pair(**options) -> tuple[nn.MultiheadAttention, nn.MultiheadAttention]:
    """Torch's module, and one of ours with the same parameters."""
    torchs = built(lambda: nn.MultiheadAttention(12, 3, **options))
    ours = copy.deepcopy(torchs)
    PrunedMultiheadAttention.replace_(ours)
    return torchs, ours


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


CAUSAL = torch.triu(torch.full((4, 6), float("-inf")), 1)
PADDING = torch.tensor([[False] * 6, [False] * 4 + [True] * 2])
CALLS = [
    {},
    {"need_weights": False},
    {"average_attn_weights": False},
    {"attn_mask": CAUSAL},
    {"attn_mask": CAUSAL < 0, "need_weights": False},
    {"attn_mask": CAUSAL, "is_causal": True, "need_weights": False},
    {"attn_mask": CAUSAL, "is_causal": True, "key_padding_mask": PADDING},
    {"attn_mask": normal(6, 4, 6), "need_weights": False},
    {"key_padding_mask": PADDING},
    {"key_padding_mask": PADDING, "attn_mask": CAUSAL < 0, "need_weights": False},
    {"key_padding_mask": torch.where(PADDING, -1.0, 0.0), "attn_mask": CAUSAL},
]
KINDS = [{}, {"batch_first": True}, {"bias": False}, {"kdim": 5, "vdim": 7}]


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("number", range(len(CALLS)))
def test_it_computes_what_torchs_does(kind, number):
    torchs, ours = pair(**kind)
    inputs = [
        normal(2, 4, 12),
        normal(2, 6, kind.get("kdim", 12)),
        normal(2, 6, kind.get("vdim", 12), seed=1),
    ]
    if kind.get("kdim") is None:
        inputs[2] = inputs[1]
    if not kind.get("batch_first"):
        inputs = [x.transpose(0, 1) for x in inputs]
    expected, weights = torchs(*inputs, **CALLS[number])
    found, found_weights = ours(*inputs, **CALLS[number])
    torch.testing.assert_close(found, expected)
    assert (weights is None) == (found_weights is None)
    if weights is not None:
        torch.testing.assert_close(found_weights, weights)


def test_one_example_without_an_axis_of_examples():
    torchs, ours = pair()
    for options in ({}, {"need_weights": False}, {"attn_mask": normal(3, 4, 4)}):
        outputs = [module(*[normal(4, 12)] * 3, **options) for module in (ours, torchs)]
        for found, expected in zip(*outputs, strict=True):
            assert (found is None) == (expected is None)
            if found is not None:
                torch.testing.assert_close(found, expected)


def test_the_same_numbers_are_dropped_in_training():
    torchs, ours = pair(dropout=0.4)
    outputs = []
    for module in (torchs.train(), ours.train()):
        with torch.random.fork_rng():
            torch.manual_seed(3)
            outputs.append(module(*[normal(4, 2, 12)] * 3)[0])
    torch.testing.assert_close(*outputs)


def test_a_mask_for_other_heads_is_refused():
    _, ours = pair()
    with pytest.raises(RuntimeError, match="2 examples x 3 heads"):
        ours(*[normal(4, 2, 12)] * 3, attn_mask=normal(4, 4, 4))
    with pytest.raises(RuntimeError, match="attn_mask too"):
        ours(*[normal(4, 2, 12)] * 3, is_causal=True)


def smaller(model: nn.Module, example: torch.Tensor) -> tuple[nn.Module, nn.Module]:
    """A copy without one head of each attention, and the original whose heads are zero."""
    graph = graph_of(model, example)
    roots = [group.roots[1] for group in graph.free if "in_proj_weight" in group.name]
    assert roots
    removal = Removal(graph.flow, roots)
    return shrunk(model, removal, graph.widths), graph_compare.masked(model, removal)


def encoder() -> nn.Module:
    layer = nn.TransformerEncoderLayer(12, 3, 16, batch_first=True)
    return nn.Sequential(nn.Linear(5, 12), nn.TransformerEncoder(layer, 2), nn.Linear(12, 4))


def test_heads_go_from_an_encoder():
    small, zeroed = smaller(built(encoder), normal(2, 4, 5))
    attention = small[1].layers[0].self_attn
    assert isinstance(attention, PrunedMultiheadAttention)
    assert (attention.num_heads, attention.head_dim, attention.embed_dim) == (2, 4, 12)
    assert attention.in_proj_weight.shape == (24, 12)
    assert list(small.state_dict()) == list(zeroed.state_dict())
    for x in (normal(2, 4, 5), normal(3, 7, 5, seed=1)):
        torch.testing.assert_close(small(x), zeroed(x))
        with torch.no_grad():  # torch would take its fused kernels here
            torch.testing.assert_close(small(x), zeroed(x))


def test_training_goes_on():
    small, _ = smaller(built(encoder), normal(2, 4, 5))
    small.train()(normal(2, 4, 5)).sum().backward()
    assert all(p.grad is not None and p.grad.shape == p.shape for p in small.parameters())


def test_copies_pickles_and_graphs_of_it():
    small, _ = smaller(built(encoder), normal(2, 4, 5))
    x = normal(3, 4, 5)
    for copied in (copy.deepcopy(small), pickle.loads(pickle.dumps(small))):
        torch.testing.assert_close(copied(x), small(x))
    torch.testing.assert_close(torch.compile(small, backend="eager", fullgraph=True)(x), small(x))
    torch.testing.assert_close(torch.export.export(small, (x,)).module()(x), small(x))


def test_a_smaller_copy_can_be_made_smaller_again():
    first, _ = smaller(built(encoder), normal(2, 4, 5))
    second, zeroed = smaller(first, normal(2, 4, 5))
    assert second[1].layers[1].self_attn.num_heads == 1
    torch.testing.assert_close(second(normal(3, 4, 5)), zeroed(normal(3, 4, 5)))


@pytest.mark.parametrize("option", ["add_bias_kv", "add_zero_attn"])
def test_added_keys_keep_the_heads(option):
    class Added(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention, self.fc = nn.MultiheadAttention(12, 3, **{option: True}), nn.Linear(12, 4)

        def forward(self, x):
            return self.fc(self.attention(x, x, x)[0])

    graph = graph_of(built(Added), normal(4, 2, 12))
    assert [group.name for group in graph.free if "in_proj" in group.name] == []


def test_a_single_head_loses_features():
    class Single(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention, self.fc = nn.MultiheadAttention(8, 1, batch_first=True), nn.Linear(8, 4)

        def forward(self, x):
            return self.fc(self.attention(x, x, x)[0])

    x = normal(2, 4, 8)
    small, zeroed = smaller(built(Single), x)
    assert (small.attention.num_heads, len(small.attention.in_proj_weight)) == (1, 21)
    torch.testing.assert_close(small(x), zeroed(x))
