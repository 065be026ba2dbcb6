"""What is removed is gone: a smaller copy computes what the original does with those channels at zero."""

from __future__ import annotations

import re

import graph_compare
import graph_nets
import pytest
import torch
from graph_nets import example_of, made
from graph_nets_24 import CASES
from torch import nn

from prunery.graph.coupling import Graph, graph_of

NETS = graph_nets.load_all()

# the groups by hand: free | pinned
EXPECTED = {
    "PlainConvNet": "body.0.0.weight:8, body.2.0.weight:16 | fc.weight:5",
    "FrozenConvs": "body.0.0.weight:8, body.2.0.weight:16 | fc.weight:5",
    "SplitUnequal": (
        "small.0.weight:8, large.0.weight:16 | stem.0.weight:8, stem.0.weight:24, head.fc.weight:5"
    ),
    "ChunkGlu": "stem.0.weight:8, wide.weight:16 | head.fc.weight:5",
    "PixelShuffle": "stem.0.weight:8, up.weight:8, after.weight:8 | head.fc.weight:5",
    "HardCodedView": "stem.0.weight:8 | second.0.weight:16, fc.weight:5",
    "FusedQkv": "into.weight:12, qkv.weight:4 | fc.weight:5",
    "MultiheadAttention": "into.weight:16, attention.in_proj_weight:4 | fc.weight:5",
    "LoneEncoderLayer": "self_attn.in_proj_weight:4, linear1.weight:24 | self_attn.out_proj.weight:16",
    "EncoderInModel": (
        "encoder.layers.0.self_attn.in_proj_weight:4, encoder.layers.0.linear1.weight:24, "
        "encoder.layers.1.self_attn.in_proj_weight:4, encoder.layers.1.linear1.weight:24 | "
        "into.weight:16, fc.weight:5"
    ),
    "TiedEmbedding": "back.weight:8, hidden.weight:16 | embedding.weight:20",
    "DataDependentBranch": (
        " | first.weight:8, one.weight:12, other.weight:12, other.weight:8, middle.weight:16, last.weight:3"
    ),
    "WeightNorm": (
        "first.parametrizations.weight.original0:8, second.parametrizations.weight.original0:16 | "
        "head.fc.weight:5"
    ),
    "Gru": "into.weight:8, layer.weight_ih_l0:12 | fc.weight:5",
    "Lstm": "into.weight:8, layer.weight_ih_l0:12 | fc.weight:5",
    "GroupedUnequal": "stem.0.weight:4 | head.fc.weight:5",
    "DepthwiseSqueeze": "stem.0.weight:16, down.weight:4 | head.fc.weight:5",
    "DenseBlock": (
        "stem.0.weight:8, layers.0.0.weight:6, layers.1.0.weight:6, layers.2.0.weight:6 | head.fc.weight:5"
    ),
    "ResidualAdd": "stem.0.weight:8, one.0.weight:12 | head.fc.weight:5",
    "EinsumRaw": "first.weight:12, mix:8 | last.weight:5",
    "NoGradInside": "body.0.0.weight:8, body.2.0.weight:16 | fc.weight:5",
    "DictOutput": "body.0.0.weight:8 | body.2.0.weight:16, fc.weight:5",
    "GroupNorm": "one.weight:4, two.weight:8 | head.fc.weight:5",
    "ConvTranspose": "one.0.weight:8, up.weight:12 | two.weight:4",
}

# how many groups are free, and how many there are
COUNTS = {
    "ResNet": (12, 13),
    "ResNetBottleneck": (11, 12),
    "ResNeXt": (7, 8),
    "VggBn": (5, 6),
    "MobileNetV2": (6, 7),
    "DenseNet": (14, 15),
    "ConvNeXt": (3, 6),
    "VitTimm": (4, 7),
    "VitTorch": (4, 7),
    "UNet": (7, 8),
    "UNetUpsample": (7, 8),
    "Yolo": (23, 26),
    "ShuffleNet": (4, 5),
    "ShuffleNetGrouped": (3, 4),
    "LstmTagger": (2, 3),
    "RnnStates": (1, 2),
    "LstmCells": (1, 2),
    "Gpt2ByHeads": (4, 6),
    "Llama": (4, 6),
    "LlamaEager": (4, 6),
    "EncoderDecoder": (5, 7),
    "DefaultAttention": (3, 4),
    "TransposedGroups": (1, 2),
    "Slices": (1, 3),
    "WrittenBatch": (2, 3),
    "Siamese": (2, 3),
    "Reused": (2, 3),
}


def spelled(graph: Graph) -> str:
    pinned = [group for group in graph.groups if group.pinned]
    return " | ".join(", ".join(f"{g.name}:{g.count}" for g in part) for part in (graph.free, pinned))


def examples(name: str) -> list:
    more = [example_of(name, 5, 3)] if NETS[name].batches else []
    return [example_of(name), example_of(name, 2, 7), *more]


@pytest.mark.parametrize("name", NETS)
def test_a_smaller_copy_computes_the_same(name):
    model = made(name)
    graph = graph_of(model, example_of(name))
    for seed, share in enumerate((0.3, 0.5, 0.7)):
        roots = graph_compare.chosen(graph.free, share, seed)
        assert graph_compare.worst(model, graph, roots, examples(name)) <= graph_compare.TOLERANCE
    if name in EXPECTED:
        assert spelled(graph) == EXPECTED[name]
    if name in COUNTS:
        assert (len(graph.free), len(graph.groups)) == COUNTS[name]
    check_reasons(graph)
    check_nothing_changed(model, name)


@pytest.mark.parametrize(
    ("name", "kind", "first", "count"),
    [
        ("FusedQkv", "head", "qkv.weight", 4),
        ("CrossAttention", "head", "attention.q_proj_weight", 3),
        ("SeparateHeads", "head", "q.weight", 4),
        ("Llama", "head", "blocks.0.attention.q_proj.weight", 2),
        ("Gpt2ByHeads", "head", "blocks.0.attn.c_attn.weight", 4),
        ("LlamaEager", "head", "blocks.0.attention.q_proj.weight", 2),
        ("LstmTagger", "unit", "lstm.weight_ih_l0", 12),
    ],
)
def test_heads_and_hidden_units_are_told_from_channels(name, kind, first, count):
    groups = [g for g in graph_of(made(name), example_of(name)).groups if g.kind != "channel"]
    assert {g.kind for g in groups} == {kind}
    assert (groups[0].name, groups[0].count) == (first, count)


def test_most_of_the_hard_cases_shrink():
    assert len(CASES) == 24
    assert set(CASES) == set(EXPECTED)
    assert sum(not groups.startswith(" | ") for groups in EXPECTED.values()) == 23


def check_nothing_changed(model: nn.Module, name: str) -> None:
    before, after, sizes = (
        made(name).state_dict(),
        model.state_dict(),
        [repr(m) for m in made(name).modules()],
    )
    assert list(after) == list(before)
    assert all(torch.equal(after[key], tensor) for key, tensor in before.items())
    assert [repr(module) for module in model.modules()] == sizes
    assert not any(module.training for module in model.modules())


def check_reasons(graph: Graph) -> None:
    """Each reason says which operation and where, unless there is none."""
    plain = ("it leaves the model", "it takes no part in the run on this example")
    for group in graph.groups:
        for reason in group.pinned:
            where = re.fullmatch(r"[^:]+.*: [\w:]+( in '[\w.]+')? \(\w+\.py:\d+\)", reason)
            assert reason in plain or where, reason


def test_a_comparison_sees_a_wrong_copy():
    model = made("PlainConvNet")
    graph = graph_of(model, example_of("PlainConvNet"))
    right = graph_compare.chosen(graph.free, 0.5)
    assert graph_compare.worst(model, graph, right, examples("PlainConvNet")) <= graph_compare.TOLERANCE
    with torch.no_grad():
        zeroed = graph_compare.masked(model, graph_compare.Removal(graph.flow, right))
        other = graph_compare.masked(model, graph_compare.Removal(graph.flow, right[1:]))
    x = example_of("PlainConvNet")
    assert graph_compare.difference([zeroed(x)], [other(x)]) > 1e-3
