"""Norms that are written out, behind concatenations, or computed: their scales go with the filters."""

import warnings

import pytest
import torch
from filter_nets import Net, X, conv_net, head
from torch import nn
from torch.nn import functional

import prunery
from prunery.errors import NormWarning


class ByHand(nn.Module):
    """Scale and shift over axis 1 of a function of one's own."""

    def __init__(self, call, width=8, *, buffers=False):
        super().__init__()
        self.call = call
        for name in ("weight", "bias"):
            value = torch.rand(width) + 0.5
            if buffers:
                self.register_buffer(name, value)
            else:
                setattr(self, name, nn.Parameter(value))
        self.register_buffer("mean", torch.randn(width))
        self.register_buffer("var", torch.rand(width) + 0.5)

    def over(self, name):
        return getattr(self, name).view(1, -1, 1, 1)

    def forward(self, x):
        return self.call(self, x)


def batch_by_hand(n, x):
    return (x - n.over("mean")) / (n.over("var") + 1e-5).sqrt() * n.over("weight") + n.over("bias")


def batch_folded(n, x):
    scale = n.weight * (n.var + 1e-5).rsqrt()
    return x * scale.view(1, -1, 1, 1) + (n.bias - n.mean * scale).view(1, -1, 1, 1)


def layer_by_hand(n, x):
    mean = x.mean(1, keepdim=True)
    var = (x - mean).pow(2).mean(1, keepdim=True)
    return (x - mean) / torch.sqrt(var + 1e-5) * n.over("weight") + n.over("bias")


def rms_by_hand(n, x):
    return n.over("weight") * (x * torch.rsqrt(x.pow(2).mean(1, keepdim=True) + 1e-5))


def gone_behind(model, norm, layer, **about):
    """What comes out of a norm at the filters that are gone, and the masks."""
    seen = []
    norm.register_forward_hook(lambda _m, _args, output: seen.append(output))
    masks = prunery.prune(model, 0.5, granularity="filter", example=X, **about)
    seen.clear()
    model(X)
    return seen[0].movedim(1, 0)[~masks[layer].flatten(1).any(1)], masks


@pytest.mark.parametrize("call", [batch_by_hand, batch_folded, layer_by_hand, rms_by_hand])
def test_a_norm_that_is_written_out_follows_its_filters(call):
    model = conv_net(lambda s, x: head(s, s.norm(s.a(x))), ByHand(call))
    behind, masks = gone_behind(model, model.norm, "a.weight")
    shift = set() if call is rms_by_hand else {"norm.bias"}
    assert set(masks.uncounted) == {"a.bias", "b.bias", "norm.weight"} | shift
    assert behind.numel()
    assert (behind == 0).all()


@pytest.mark.parametrize("call", [batch_by_hand, batch_folded])
def test_a_frozen_norm_that_holds_no_parameter_is_warned_of(call):
    model = conv_net(lambda s, x: head(s, s.norm(s.a(x))), ByHand(call, buffers=True))
    with pytest.warns(NormWarning, match="filters of 'a.weight'"):
        prunery.prune(model, 0.5, granularity="filter", example=X)


def test_a_norm_behind_a_concatenation_or_padding_follows_each_filter():
    def both(self, x):
        return self.head(torch.relu(self.norm(torch.cat([self.a(x), self.b(x)], 1))).mean((2, 3)))

    model = Net(
        both, a=nn.Conv2d(3, 4, 1), b=nn.Conv2d(3, 8, 1), norm=nn.BatchNorm2d(12), head=nn.Linear(12, 5)
    )
    nn.init.normal_(model.norm.bias)
    masks = prunery.prune(model.eval(), 0.5, granularity="filter", example=X)
    stays = torch.cat([masks[f"{name}.weight"].flatten(1).any(1) for name in "ab"])
    assert torch.equal(masks["norm.weight"], stays)
    assert torch.equal(masks["norm.bias"], stays)

    def padded(self, x):
        return self.head(torch.relu(self.norm(functional.pad(self.a(x), (0, 0, 0, 0, 2, 2)))).mean((2, 3)))

    model = Net(padded, a=nn.Conv2d(3, 4, 1), norm=nn.BatchNorm2d(8), head=nn.Linear(8, 5)).eval()
    masks = prunery.prune(model, 0.5, granularity="filter", example=X)
    assert masks["norm.bias"].tolist() == [True, True, *masks["a.bias"].tolist(), True, True]


def test_scales_that_are_computed_follow_where_0_stays_0_and_are_warned_of_elsewhere():
    class Doubled(nn.Module):
        def forward(self, w):
            return w * 2

    for function, warned in ((Doubled(), False), (nn.Softplus(), True)):
        model = conv_net(lambda s, x: head(s, s.norm(s.a(x))))
        nn.utils.parametrize.register_parametrization(model.norm, "weight", function)
        nn.utils.parametrize.register_parametrization(model.norm, "bias", function)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            masks = prunery.prune(model, 0.5, granularity="filter", example=X)
        assert [w.category for w in caught] == [NormWarning] * warned
        own = {f"norm.parametrizations.{name}.original" for name in ("weight", "bias")}
        assert set(masks.uncounted) == {"a.bias", "b.bias"} | (set() if warned else own)


def test_what_a_filter_is_divided_by_stays():
    model = conv_net(lambda s, x: head(s, s.a(x) / s.norm.weight.view(1, -1, 1, 1)))
    masks = prunery.prune(model, 0.5, granularity="filter", example=X)
    assert set(masks.uncounted) == {"a.bias", "b.bias"}
    assert torch.isfinite(model(X)).all()
