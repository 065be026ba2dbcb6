"""Channels, heads and hidden units: what a unit owns, which stay, and budgets met with the fewest units."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional

import prunery
from prunery.errors import ChoiceError, EvidenceError, ModelError, SparsityError

X = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))


class Block(nn.Module):
    """A residual block between a stem and a head."""

    def __init__(self):
        super().__init__()
        self.stem, self.bn = nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.a, self.b = nn.Conv2d(8, 16, 3, padding=1), nn.Conv2d(16, 8, 3, padding=1)
        self.head = nn.Linear(8, 5)

    def forward(self, x):
        x = functional.relu(self.bn(self.stem(x)))
        x = x + self.b(functional.relu(self.a(x)))
        return self.head(x.mean((2, 3)))


@pytest.fixture
def block():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Block()


def test_a_channel_owns_rows_columns_and_riders(block):
    scores = [
        block.stem.weight.abs().sum((1, 2, 3)) + block.b.weight.abs().sum((1, 2, 3)),
        block.a.weight.abs().sum((0, 2, 3)) + block.head.weight.abs().sum(0),
    ]
    best = set((scores[0] + scores[1]).topk(4).indices.tolist())
    masks = prunery.prune(block, 0.5, granularity="channel", example=X)
    kept = masks["stem.weight"].flatten(1).any(1)
    assert set(kept.nonzero().view(-1).tolist()) == best
    for name in ("bn.weight", "bn.bias", "b.bias"):
        assert torch.equal(masks[name], kept), name
    assert torch.equal(masks["head.weight"], kept.expand(5, 8))
    inner = masks["a.bias"]
    assert torch.equal(masks["a.weight"], (inner[:, None] & kept)[..., None, None].expand(16, 8, 3, 3))
    assert torch.equal(masks["b.weight"], (kept[:, None] & inner)[..., None, None].expand(8, 16, 3, 3))
    assert {n: u for n, u in masks.units.items() if u[1]} == {"stem.weight": (4, 8), "a.weight": (8, 16)}
    assert (masks.kept, masks.total) == (4 * 27 + 2 * 8 * 4 * 9 + 5 * 4, 8 * 27 + 2 * 8 * 16 * 9 + 40)


def test_an_excluded_layer_keeps_its_outputs_and_its_inputs_follow(block):
    masks = prunery.prune(block, 0.5, granularity="channel", example=X, exclude=["b", "head"])
    assert masks.units == {"a.weight": (8, 16), "stem.weight": (0, 0)}
    assert masks["stem.weight"].all()
    inner = masks["a.bias"]
    assert torch.equal(masks["b.weight"], inner[None, :, None, None].expand(8, 16, 3, 3))
    assert "b.weight" in masks.uncounted


def test_frozen_parameters_are_seen_and_one_unit_stays(block):
    block.requires_grad_(False)
    masks = prunery.prune(block, 0.999, granularity="channel", example=X)
    assert {n: u for n, u in masks.units.items() if u[1]} == {"stem.weight": (1, 8), "a.weight": (1, 16)}


def test_rounds_are_nested_and_end_at_the_same_count(block):
    first = prunery.prune(copy.deepcopy(block), 0.25, granularity="channel", example=X)
    model = copy.deepcopy(block)
    again = prunery.prune(model, 0.5, granularity="channel", example=X, masks=first, rounds=2)
    assert again.units["a.weight"] == (8, 16)
    assert all((again[name] <= first[name]).all() for name in first)


def test_every_norm_ranks_as_by_hand(block):
    own = [block.a.weight.flatten(1), block.b.weight.transpose(0, 1).flatten(1)]
    ranked = {
        "l1": sum(w.abs().sum(1) for w in own),
        "l2": sum(w.square().sum(1) for w in own),
        "mean": sum(w.abs().mean(1) for w in own),
        "max": torch.stack([w.abs().amax(1) for w in own]).amax(0),
    }
    for norm, scores in ranked.items():
        model = copy.deepcopy(block)
        masks = prunery.prune(model, 0.5, granularity=f"channel(norm={norm!r})", example=X)
        best = set(scores.topk(8).indices.tolist())
        assert set(masks["a.bias"].nonzero().view(-1).tolist()) == best, norm
    big = copy.deepcopy(block)
    with torch.no_grad():
        big.b.weight *= 1e4  # so that its columns alone decide, unless parameters count evenly
    even = sum(w / w.square().mean().sqrt() for w in (v.abs() for v in own)).sum(1)
    masks = prunery.prune(copy.deepcopy(big), 0.5, granularity="channel(even=True)", example=X)
    assert set(masks["a.bias"].nonzero().view(-1).tolist()) == set(even.topk(8).indices.tolist())


@pytest.mark.parametrize("scope", ["layer", "global"])
def test_multiples(block, scope):
    masks = prunery.prune(block, 0.4, granularity="channel(multiple=4)", scope=scope, example=X)
    counts = {n: u for n, u in masks.units.items() if u[1]}
    assert all(kept % 4 == 0 and kept for kept, _ in counts.values()), counts
    if scope == "layer":
        assert counts == {"stem.weight": (4, 8), "a.weight": (8, 16)}  # 5 and 10 by the sparsity


@pytest.mark.parametrize("scope", ["layer", "global"])
@pytest.mark.parametrize("currency", ["weights", "macs"])
@pytest.mark.parametrize("sparsity", [0.3, 0.5, 0.8])
def test_a_budget_is_met_with_the_fewest_units(block, currency, scope, sparsity):
    def left(masks):
        dense = prunery.cost(block, X)
        kept = prunery.cost(block, X, masks)
        amount = "params" if currency == "weights" else "macs"
        return getattr(kept, amount).kept / getattr(dense, amount).dense

    about = {"granularity": "channel", "scope": scope, "example": X, "budget": currency}
    masks = prunery.prune(copy.deepcopy(block), sparsity, **about)
    assert left(masks) <= 1 - sparsity + 1e-9
    for step in range(1, 200):  # a little less sparsity: the same masks, or more is left than was allowed
        looser = prunery.prune(copy.deepcopy(block), max(0.0, sparsity - step / 1000), **about)
        if looser.kept != masks.kept:
            assert left(looser) > 1 - sparsity
            return
    raise AssertionError("no looser budget kept more")


def test_budgets_that_cannot_be_are_refused(block):
    about = {"granularity": "channel", "example": X}
    with pytest.raises(SparsityError, match="with as few units as may be left"):
        prunery.prune(block, 0.999, budget="macs", **about)
    for budget, match in (("ms", "no budget yet"), ("flops", "none of that name")):
        with pytest.raises(ChoiceError, match=match):
            prunery.prune(block, 0.5, budget=budget, **about)
    with pytest.raises(ChoiceError, match="each unit is one weight already"):
        prunery.prune(block, 0.5, budget="weights")
    with pytest.raises(ChoiceError, match="leaves nothing to choose"):
        prunery.prune(block, {"a": 0.5}, budget="macs", **about)


class Attention(nn.Module):
    """Grouped queries: four heads, two keys and values."""

    def __init__(self):
        super().__init__()
        self.q, self.k, self.v, self.o = (nn.Linear(16, n) for n in (16, 8, 8, 16))
        self.out = nn.Linear(16, 3)

    def forward(self, x):
        q, k, v = (f(x).unflatten(-1, (-1, 4)).transpose(1, 2) for f in (self.q, self.k, self.v))
        k, v = (t.repeat_interleave(2, 1) for t in (k, v))
        mixed = functional.scaled_dot_product_attention(q, k, v)
        return self.out(x + self.o(mixed.transpose(1, 2).flatten(2)))


def test_a_head_goes_with_its_key_and_value():
    model, x = Attention(), torch.randn(2, 5, 16)
    masks = prunery.prune(model, 0.5, granularity="head", example=x)
    assert masks.units["q.weight"] == (1, 2)
    kept = masks["k.weight"].any(1).view(2, 4)
    assert (kept == kept[:, :1]).all()
    assert kept.sum() == 4
    assert torch.equal(masks["q.weight"].any(1).view(2, 8), kept.repeat(1, 2))
    assert torch.equal(masks["o.weight"].any(0), masks["q.weight"].any(1))
    with pytest.raises(ModelError, match=r"units to remove: the model has none"):
        prunery.prune(model, 0.5, granularity="unit", example=x)


def test_a_hidden_unit_goes_from_all_gates_and_all_readers():
    class Tagger(nn.Module):
        def __init__(self):
            super().__init__()
            self.r, self.out = nn.LSTM(5, 8, 2, batch_first=True), nn.Linear(8, 3)

        def forward(self, x):
            return self.out(self.r(x)[0])

    model, x = Tagger(), torch.randn(2, 6, 5)
    masks = prunery.prune(model, 0.5, granularity="unit", example=x)
    kept = masks["out.weight"].any(0)
    assert kept.sum() == 4
    for layer in (0, 1):
        assert torch.equal(masks[f"r.weight_hh_l{layer}"].any(0), kept)
        assert torch.equal(masks[f"r.bias_hh_l{layer}"], kept.repeat(4))


def test_where_nothing_can_go_the_reasons_are_given():
    with pytest.raises(ModelError, match=r"0.weight: it leaves the model"):
        prunery.prune(nn.Sequential(nn.Linear(4, 3)), 0.5, granularity="channel", example=torch.randn(2, 4))
    with pytest.raises(EvidenceError, match="no example was given to read them from"):
        prunery.prune(nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2)), 0.5, granularity="channel")
    model = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
    with pytest.raises(ModelError, match=r"0.weight: 0.weight is excluded"):
        prunery.prune(model, 0.5, granularity="channel", example=torch.randn(2, 4), exclude=["0"])
    with pytest.raises(ChoiceError, match="multiple=0"):
        prunery.prune(model, 0.5, granularity="channel(multiple=0)", example=torch.randn(2, 4))
    with pytest.raises(ChoiceError, match="norm 'l3'"):
        prunery.prune(model, 0.5, granularity="channel(norm='l3')", example=torch.randn(2, 4))
