"""The norm behind a filter is found by what is computed, in every spelling; others are left alone."""

import warnings

import pytest
import torch
from filter_nets import Net, X, conv_net, head, riders
from torch import nn
from torch.nn import functional

import prunery
from prunery.errors import EvidenceError, NormWarning


class OwnNorm(nn.BatchNorm2d):
    """A subclass that calls the function itself."""

    def forward(self, x):
        return functional.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, False, 0.1, self.eps
        )


class TorchNorm(nn.Module):
    """No subclass at all: parameters, buffers and torch's own function."""

    def __init__(self):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(8)), nn.Parameter(torch.zeros(8))
        self.register_buffer("mean", torch.randn(8))
        self.register_buffer("var", torch.ones(8))

    def forward(self, x):
        return torch.batch_norm(x, self.weight, self.bias, self.mean, self.var, False, 0.1, 1e-5, False)


def as_matrix(self, x):
    """The first convolution as a product with its weight's transpose."""
    pixels = x.permute(0, 2, 3, 1).reshape(-1, 3)
    out = torch.addmm(self.a.bias, pixels, self.a.weight.view(8, 3).t())
    return out.view(x.shape[0], 8, 8, 8).permute(0, 3, 1, 2)


SPELLINGS = {
    "module": (lambda s, x: head(s, s.norm(s.a(x))), None),
    "in place": (lambda s, x: head(s, s.norm(s.a(x).relu_())), None),
    "pooled": (lambda s, x: head(s, s.norm(functional.max_pool2d(s.a(x), 2))), None),
    "a subclass": (lambda s, x: head(s, s.norm(s.a(x))), OwnNorm(8)),
    "torch's function": (lambda s, x: head(s, s.norm(s.a(x))), TorchNorm()),
    "group norm": (lambda s, x: head(s, s.norm(s.a(x))), nn.GroupNorm(2, 8)),
    "instance norm": (lambda s, x: head(s, s.norm(s.a(x))), nn.InstanceNorm2d(8, affine=True)),
    "moved there and back": (
        lambda s, x: head(s, s.norm(s.a(x).permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2))),
        None,
    ),
    "as a layer norm": (
        lambda s, x: head(s, s.norm(s.a(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)),
        nn.LayerNorm(8),
    ),
    "as an RMS norm": (
        lambda s, x: head(s, s.norm(s.a(x).transpose(1, 3)).transpose(1, 3)),
        nn.RMSNorm(8),
    ),
    "functional convolution": (
        lambda s, x: head(s, s.norm(functional.conv2d(x, s.a.weight, s.a.bias, padding=1))),
        None,
    ),
}


@pytest.mark.parametrize("kind", list(SPELLINGS))
def test_a_removed_filter_is_zero_behind_its_own_norm(kind):
    forward, norm = SPELLINGS[kind]
    model = conv_net(forward, norm)
    names, masks = riders(model)
    assert names == {name for name, _ in model.named_parameters() if name.startswith("norm")}
    gone = ~masks["a.weight"].flatten(1).any(1)
    assert int(gone.sum()) == 4
    seen = []
    model.norm.register_forward_hook(lambda _m, _args, output: seen.append(output))
    model(X)
    axis = 1 if seen[0].shape[1] == 8 and not isinstance(model.norm, nn.LayerNorm | nn.RMSNorm) else -1
    assert (seen[0].movedim(axis, 0)[gone] == 0).all()


def test_a_product_with_the_transposed_weight_is_a_layer_too():
    parts = {
        "a": nn.Conv2d(3, 8, 1),
        "norm": nn.BatchNorm2d(8),
        "b": nn.Conv2d(8, 8, 1),
        "head": nn.Linear(8, 5),
    }
    model = Net(lambda s, x: head(s, s.norm(as_matrix(s, x))), **parts)
    assert riders(model)[0] == {"norm.weight", "norm.bias"}


SKIPS = {
    "out of place": lambda s, x, h: h + x,
    "in place": lambda s, x, h: h.__iadd__(x),
    "add_": lambda s, x, h: h.add_(x),
    "torch.add with out": lambda s, x, h: torch.add(h, x, out=h) if not torch.is_grad_enabled() else h + x,
    "through a view": lambda s, x, h: (h.view(-1).add_(x.reshape(-1)), h)[1],
    "written into": lambda s, x, h: (h.__setitem__(slice(None), h + x), h)[1],
}


@pytest.mark.parametrize("kind", list(SKIPS))
def test_a_norm_behind_a_skip_is_left_alone_in_every_spelling(kind):
    def forward(self, x):
        x = torch.relu(self.a(x))
        return head(self, self.norm(SKIPS[kind](self, x, self.b(x))))

    model = conv_net(forward)
    names, masks = riders(model, exclude=["head"])
    assert names == set()
    assert {"a.bias", "b.bias"} == set(masks.uncounted)


def test_a_norm_whose_result_is_added_to_in_place_follows_its_filters():
    def forward(self, x):
        x = self.norm(self.a(x)).relu_()
        x += self.b(x)
        return self.head(x.mean((2, 3)))

    names, _ = riders(conv_net(forward))
    assert names == {"norm.weight", "norm.bias"}


OTHERS = {
    "over time": (lambda s, x: s.head(s.norm(s.a(x)).flatten(1)), nn.BatchNorm1d(4), nn.Linear(3, 4), 16),
    "over positions": (
        lambda s, x: s.head(s.norm(s.a(x).mT).flatten(1)),
        nn.LayerNorm(4),
        nn.Linear(3, 4),
        16,
    ),
    "of both": (lambda s, x: s.head(s.norm(s.a(x)).flatten(1)), nn.LayerNorm((4, 4)), nn.Linear(3, 4), 16),
}


@pytest.mark.parametrize("kind", list(OTHERS))
def test_a_norm_over_other_axes_is_left_alone(kind):
    forward, norm, first, width = OTHERS[kind]
    model = Net(forward, a=first, norm=norm, head=nn.Linear(width, 2))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        names, _ = riders(model, example=torch.randn(5, 4, 3))
    own = {"norm.weight", "norm.bias"} if kind == "of both" else set()
    assert names == own
    assert [w.category for w in caught] == [NormWarning] * (kind != "of both")


def test_a_norm_behind_a_flattened_layer_follows_it():
    model = Net(
        lambda s, x: s.head(s.norm(s.a(x).flatten(1))),
        a=nn.Linear(3, 4), norm=nn.BatchNorm1d(20), head=nn.Linear(20, 2),
    )  # fmt: skip
    names, masks = riders(model, example=torch.randn(6, 5, 3))
    assert names == {"norm.weight", "norm.bias"}
    assert torch.equal(masks["norm.weight"].view(5, 4), masks["a.weight"].any(1).expand(5, 4))
    model = Net(
        lambda s, x: s.head(s.norm(s.a(x).flatten(1))),
        a=nn.Conv2d(3, 4, 3), norm=nn.BatchNorm1d(144), head=nn.Linear(144, 2),
    )  # fmt: skip
    _, masks = riders(model)
    assert torch.equal(masks["norm.bias"].view(4, 36), masks["a.bias"].unsqueeze(1).expand(4, 36))


@pytest.mark.parametrize(
    ("norm", "warns"),
    [
        (nn.BatchNorm2d(8, affine=False), True),
        (nn.GroupNorm(2, 8, affine=False), True),
        (nn.InstanceNorm2d(8), False),
        (nn.BatchNorm2d(8, affine=False, track_running_stats=False), False),
    ],
    ids=["batch", "group", "instance", "batch without statistics"],
)
def test_a_norm_without_scale_is_warned_of_where_a_removed_filter_lives_on(norm, warns):
    model = conv_net(lambda s, x: head(s, s.norm(s.a(x))), norm)
    if getattr(norm, "running_mean", None) is not None:
        norm.running_mean.add_(0.5)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        masks = prunery.prune(model, 0.5, granularity="filter", example=X)
    assert [w.category for w in caught] == [NormWarning] * warns
    gone = ~masks["a.weight"].flatten(1).any(1)
    assert bool((model.norm(model.a(X))[:, gone] == 0).all()) is not warns


def test_without_an_example_a_made_up_one_pairs_norms_unless_its_shape_decides():
    for norm in (OwnNorm(8), TorchNorm(), nn.GroupNorm(2, 8)):
        model = conv_net(lambda s, x: head(s, s.norm(s.a(x))), norm)
        masks = prunery.prune(model, 0.5, granularity="filter")
        assert torch.equal(masks["norm.weight"], masks["a.weight"].flatten(1).any(1))
    linear = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Linear(8, 2))
    with pytest.raises(EvidenceError, match="may be over a layer's outputs, or over positions"):
        prunery.prune(linear, 0.5, granularity="filter")
    masks = prunery.prune(
        nn.Sequential(nn.Linear(6, 8), nn.LayerNorm(8), nn.Linear(8, 2)), 0.5, granularity="filter"
    )
    assert set(masks.uncounted) == {"0.bias", "1.weight", "1.bias"}
    named = conv_net(lambda s, x: head(s, s.norm(s.a(x["image"]))))
    with pytest.raises(EvidenceError, match="cannot be told from its layers"):
        prunery.prune(named, 0.5, granularity="filter", exclude=["head"])
