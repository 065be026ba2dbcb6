"""SynFlow's call keeps its form: shapes, masks, indices, single numbers and the steps of sequences."""

import dataclasses
from collections import namedtuple
from types import SimpleNamespace

import pytest
import torch
from flow_kit import Recurrent, alike, flow, plain_flow, seeded
from nets import mlp
from torch import nn

from prunery.core.context import ScoringContext
from prunery.core.evidence import gather
from prunery.core.flow import is_additive_mask
from prunery.core.layers import prunable
from prunery.errors import EvidenceError


class Attention(nn.Module):
    def __init__(self, mask=None, tokens=4):
        super().__init__()
        self.places = nn.Parameter(torch.rand(tokens, 8))
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.head = nn.Linear(8, 3)
        self.register_buffer("mask", mask)

    def forward(self, x, mask=None):
        x = x + self.places
        mask = self.mask if mask is None else mask
        return self.head(self.attention(x, x, x, attn_mask=mask, need_weights=False)[0])


def causal(low=-torch.inf, tokens=4):
    return torch.full((tokens, tokens), low).triu(1)


MASKS = {
    "minus infinity": causal(),
    "the least float": causal(torch.finfo(torch.float32).min),
    "half": causal(-65504.0).half(),
    "-1e9": causal(-1e9),
}


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
@pytest.mark.parametrize("examples", [1, 3, 4])  # 4: as many as tokens
def test_float_masks_keep_their_shape_and_values(mask, examples):
    expected = plain_flow(seeded(Attention), torch.ones(examples, 4, 8).double(), causal().double())
    unmasked = plain_flow(seeded(Attention), torch.ones(examples, 4, 8).double())
    assert not alike(expected, unmasked)
    x = torch.randn(examples, 4, 8)
    assert alike(flow(seeded(Attention), (x, mask)), expected)
    assert alike(flow(seeded(Attention), {"x": x, "mask": mask}), expected)
    assert alike(flow(seeded(Attention, mask.float()), x), expected)  # as a buffer


def test_boolean_masks_and_indices_keep_their_shape():
    mask = causal().bool()
    expected = plain_flow(seeded(Attention), torch.ones(3, 4, 8).double(), mask)
    assert alike(flow(seeded(Attention), (torch.randn(3, 4, 8), mask)), expected)


@pytest.mark.parametrize(
    ("tensor", "masks"),
    [
        (causal(), True),
        (torch.tensor(-1e4), True),
        (causal() - 1, True),  # slopes and minus infinity
        (torch.zeros(3, 3), False),
        (torch.ones(3, 3).tril(), False),
        (torch.tensor([-5e4, 1.0]), False),
        (-torch.rand(3), False),
        (torch.empty(0), False),
        (torch.tensor([torch.nan, 1.0]), False),
    ],
)
def test_what_an_additive_mask_is(tensor, masks):
    assert is_additive_mask(tensor) is masks


@pytest.mark.parametrize(
    "scale", [torch.tensor(2.0), torch.tensor(3), torch.tensor(-2.0), torch.tensor(True)]
)
def test_inputs_without_axes_are_kept(scale):
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = mlp(6, 8, 3)

        def forward(self, x, scale):
            assert scale.ndim == 0
            return self.net(x) * scale

    x, model = torch.randn(3, 6), Scaled()
    bare = flow(model.net, x)
    scored = flow(model, (x, scale))
    assert all(torch.equal(scored[f"net.{n}"], 3 * float(scale) * bare[n]) for n in bare)


@pytest.mark.parametrize("kind", ["example", "batches"])
@pytest.mark.parametrize("examples", [3, 5])  # 5: as many as time steps
def test_sequences_keep_their_time_steps(kind, examples):
    """(time, batch, values): the first axis is not that of the examples, and no step is cut off."""
    last, first = seeded(Recurrent, batch_first=False), seeded(Recurrent)
    x = torch.randn(5, examples, 6)
    given = {"example": x} if kind == "example" else {"batches": [(x, torch.zeros(examples).long())]}
    scored = flow(last, **given)
    assert scored["cell.weight_hh_l0"].abs().sum() > 0
    assert alike(scored, flow(first, torch.randn(examples, 5, 6)))


def test_one_example_stands_for_all_that_are_alike():
    seen = []

    class Noting(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = mlp(6, 8, 3)

        def forward(self, x, y=None):
            seen.append(len(x))
            return self.net(x if y is None else x + y)

    model, x = Noting(), torch.randn(50, 6)
    context = ScoringContext(model, prunable(model), example=x)
    for _ in range(3):
        gather("flow_grad", context)
    assert seen == [1, 2, 1, 1, 1]  # looked at once, for all cuts of a call
    seen.clear()
    flow(model, batches=[(x, torch.zeros(50).long())])
    assert seen == [1]  # as many labels as rows: nothing to look at
    assert alike(flow(model, (x, x)), flow(model, (x[:1], x[:1])))
    assert alike(flow(model, x), flow(model, x[:1]))


def test_axes_that_are_no_examples_are_found():
    class Mean(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = mlp(6, 8, 3)

        def forward(self, x, weights):
            assert len(x) == len(weights) == 7
            return self.net((x * weights).mean(0))

    model = Mean()
    expected = {f"net.{name}": g for name, g in flow(model.net, torch.ones(1, 6)).items()}
    assert alike(flow(model, (torch.randn(7, 6), torch.rand(7, 6))), expected)


def test_data_in_named_tuples_and_dataclasses_is_replaced_by_ones():
    pair = namedtuple("pair", "x y")

    @dataclasses.dataclass
    class Inputs:
        x: torch.Tensor
        y: torch.Tensor

    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = mlp(6, 8, 3)

        def forward(self, both):
            return self.net(both.x + both.y)

    model = Two()
    expected = flow(model, (pair(torch.ones(1, 6), torch.ones(1, 6)),))
    for form in (pair, Inputs):
        scored = flow(model, (form(torch.randn(1, 6), torch.zeros(1, 6)),))
        assert all(torch.equal(scored[name], expected[name]) for name in expected)


@pytest.mark.parametrize("form", [torch.Tensor.to_sparse, torch.Tensor.to_sparse_csr, torch.clone])
@pytest.mark.filterwarnings("ignore:Sparse CSR")
def test_a_sparse_input_has_ones_where_it_has_values(form):
    class Graph(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(6, 6), nn.Linear(6, 3)

        def forward(self, x, edges):
            return self.b(edges @ torch.relu(self.a(x)))

    x, edges = torch.randn(4, 6), 1 + torch.rand(4, 4)
    model = seeded(Graph)
    expected = flow(model, (x, torch.ones(4, 4)))
    scored = flow(model, (x, form(edges)))
    assert all(torch.allclose(scored[name], expected[name]) for name in expected)


class Data:
    """An object around tensors, as libraries for graphs and detection have them."""

    def __init__(self, **tensors):
        self._store = {"tensors": tensors}

    @property
    def x(self):
        return self._store["tensors"]["x"]


def test_tensors_in_other_objects_are_refused_and_in_namespaces_are_replaced():
    class Takes(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Linear(6, 3)

        def forward(self, data, settings=None):
            return self.a(data.x)

    model, x = seeded(Takes), torch.randn(4, 6)
    with pytest.raises(EvidenceError, match="an object of type Data"):
        flow(model, (Data(x=x), None))
    scored = flow(model, (SimpleNamespace(x=x), Data(size=torch.tensor(3))))
    assert torch.equal(scored["a.weight"], torch.ones(3, 6, dtype=torch.float64))
