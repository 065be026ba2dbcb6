"""Filters: outputs stay, one is left a layer, norms follow what is computed, hidden units are whole."""

import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional

import prunery
from prunery.core.outputs import output_layers
from prunery.errors import EvidenceError, ModelError, NormWarning, PatternError

X = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    """A forward of one's own over named parts."""

    def __init__(self, forward, **parts):
        super().__init__()
        self.call = forward
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x):
        return self.call(self, x)


def conv_net(forward, norm=None):
    torch.manual_seed(0)
    parts = {"a": nn.Conv2d(3, 8, 3, padding=1), "norm": norm or nn.BatchNorm2d(8)}
    return Net(forward, **parts, b=nn.Conv2d(8, 8, 3, padding=1), head=nn.Linear(8, 5)).eval()


def head(self, x):
    return self.head(torch.relu(self.b(x)).mean((2, 3)))


def riders(model, example=X, **about):
    """The norm's parameters that a cut of half the filters masks, and the masks."""
    masks = prunery.prune(model, 0.5, granularity="filter", example=example, **about)
    return {name for name in masks.uncounted if name.startswith("norm")}, masks


# 15. nothing else said: the output stays, and one filter of each layer


def test_half_of_the_filters_by_one_word_keeps_every_class_and_a_path():
    model = conv_net(lambda s, x: head(s, s.norm(s.a(x))))
    masks = prunery.prune(model, "50%", granularity="filter")
    assert set(masks.units.values()) == {(4, 8)}
    assert not any(name.startswith("head") for name in masks)
    assert model(X).std(0).min() > 0


@pytest.mark.parametrize("sparsity", ["90%", "99%", 0.999])
def test_one_filter_is_left(sparsity):
    masks = prunery.prune(conv_net(lambda s, x: head(s, s.norm(s.a(x)))), sparsity, granularity="filter")
    assert set(masks.units.values()) == {(1, 8)}


@pytest.mark.filterwarnings("ignore::prunery.errors.EmptyLayerWarning")
def test_what_is_asked_for_is_done():
    model = conv_net(lambda s, x: head(s, s.norm(s.a(x))))
    masks = prunery.prune(model, "50%", granularity="filter", exclude=(), scope="global")
    kept, total = (sum(numbers) for numbers in zip(*masks.units.values(), strict=True))
    assert (kept, total) == (21 - round(0.5 * 21), 21)
    assert "head.weight" in masks
    with pytest.raises(PatternError, match=r"exclude=\(\) spares nothing"):
        prunery.prune(nn.Linear(4, 4), 0.5, granularity="filter")


def test_weights_are_pruned_as_before_where_nothing_is_said():
    one, two = (conv_net(lambda s, x: head(s, s.norm(s.a(x)))) for _ in range(2))
    masks, told = prunery.prune(one, 0.5), prunery.prune(two, 0.5, scope="global", exclude=())
    assert all(torch.equal(masks[name], told[name]) for name in masks)
    assert "head.weight" in masks


OUTPUTS = {
    "registered first": (lambda s, x: s.head(s.a(x).mean((2, 3))), ["head.weight"]),
    "two heads": (
        lambda s, x: {"one": s.b(s.a(x)), "two": (s.head(s.a(x).mean((2, 3))),)},
        ["b.weight", "head.weight"],
    ),
    "a skip to the end": (lambda s, x: s.a(x) + s.b(s.a(x)), ["a.weight", "b.weight"]),
    "a tail without weights": (
        lambda s, x: functional.log_softmax(s.head(s.a(x).mean((2, 3))).flip(1), 1) * 2,
        ["head.weight"],
    ),
    "used through a function": (
        lambda s, x: functional.linear(s.a(x).mean((2, 3)), s.head.weight) @ torch.eye(5),
        ["head.weight"],
    ),
    "transposed by hand": (lambda s, x: s.a(x).mean((2, 3)) @ s.head.weight.t(), ["head.weight"]),
}


@pytest.mark.parametrize("kind", list(OUTPUTS))
def test_the_output_layer_is_the_one_whose_values_leave_the_model(kind):
    forward, expected = OUTPUTS[kind]
    model = Net(forward, head=nn.Linear(8, 5), a=nn.Conv2d(3, 8, 1), b=nn.Conv2d(8, 8, 1))
    assert sorted(output_layers(model, X)) == expected
    left = {"head.weight", "a.weight", "b.weight"} - set(expected)
    masks = prunery.prune(model, 0.5, exclude=["@output"], example=X)
    assert {name for name in masks if name.endswith("weight")} == left


def test_a_model_that_detaches_its_output_spares_the_last_layer():
    model = Net(lambda s, x: s.b(s.a(x)).detach(), a=nn.Conv2d(3, 8, 1), b=nn.Conv2d(8, 8, 1))
    assert output_layers(model, X) == []
    assert set(prunery.prune(model, 0.5, exclude=["@output"], example=X)) == {"a.weight"}


# 16. norms


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
    names, _ = riders(model, example=torch.randn(5, 4, 3))
    own = {"norm.weight", "norm.bias"} if kind == "of both" else set()
    assert names == own


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


def test_without_an_example_only_what_holds_for_every_shape_is_paired():
    model = conv_net(lambda s, x: head(s, s.norm(s.a(x))), OwnNorm(8))
    with pytest.raises(EvidenceError, match="example="):
        prunery.prune(model, 0.5, granularity="filter")
    linear = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Linear(8, 2))
    with pytest.raises(EvidenceError, match="may be over its outputs, or over positions"):
        prunery.prune(linear, 0.5, granularity="filter")
    masks = prunery.prune(
        nn.Sequential(nn.Linear(6, 8), nn.LayerNorm(8), nn.Linear(8, 2)), 0.5, granularity="filter"
    )
    assert set(masks.uncounted) == {"0.bias", "1.weight", "1.bias"}


# 17. hidden units


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_a_filter_of_a_recurrent_layer_is_a_hidden_unit(kind):
    model = Net(lambda s, x: s.head(s.r(x)[0]), r=kind(5, 8, 2, bidirectional=True), head=nn.Linear(16, 3))
    x = torch.randn(6, 2, 5)
    masks = prunery.prune(model, 0.5, granularity="filter", example=x)
    layers = [f"r.weight_ih_l{i}{way}" for i in (0, 1) for way in ("", "_reverse")]
    assert masks.units == dict.fromkeys(layers, (4, 8))
    output = model.r(x)[0]
    assert int((output == 0).all(0).all(0).sum()) == 8
    for name in layers:
        gates = masks[name].view(-1, 8, masks[name].shape[1]).any(2)
        assert (gates == gates[0]).all(), "every gate loses the same units"
        assert torch.equal(masks[name.replace("ih", "hh")].view(-1, 8, 8).any(2), gates)
        assert torch.equal(masks[name.replace("weight", "bias")].view(-1, 8), gates)


@pytest.mark.parametrize("cell", [nn.LSTMCell, nn.GRUCell, nn.RNNCell])
def test_cells_have_hidden_units_too(cell):
    def forward(self, x):
        state = self.r(x)
        return self.head(state[0] if isinstance(state, tuple) else state)

    model = Net(forward, r=cell(5, 8), head=nn.Linear(8, 3))
    masks = prunery.prune(model, 0.75, granularity="filter", example=torch.randn(4, 5))
    assert masks.units == {"r.weight_ih": (2, 8)}


REFUSED = {
    "projected": (lambda: nn.LSTM(5, 8, proj_size=3), {}, "proj_size"),
    "one matrix": (
        lambda: nn.LSTM(5, 8),
        {"exclude": ["r.weight_hh_l0", "head"]},
        "only one of its matrices",
    ),
}


@pytest.mark.parametrize("kind", list(REFUSED))
def test_hidden_units_that_cannot_be_whole_are_refused(kind):
    make, about, words = REFUSED[kind]
    layer = make()
    width = getattr(layer, "proj_size", 0) or 8
    model = Net(lambda s, x: s.head(s.r(x)[0]), r=layer, head=nn.Linear(width, 3))
    with pytest.raises(ModelError, match=words):
        prunery.prune(model, 0.5, granularity="filter", example=torch.randn(6, 2, 5), **about)


@pytest.mark.parametrize("dims", [{}, {"kdim": 4, "vdim": 4}])
def test_rows_of_attention_are_refused(dims):
    class Attends(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention, self.head = nn.MultiheadAttention(8, 2, **dims), nn.Linear(8, 3)

        def forward(self, x, memory):
            return self.head(self.attention(x, memory, memory)[0])

    x, memory = torch.randn(5, 2, 8), torch.randn(5, 2, dims.get("kdim", 8))
    with pytest.raises(ModelError, match="part of a head"):
        prunery.prune(Attends(), 0.5, granularity="filter", example=(x, memory))
    masks = prunery.prune(
        Attends(), 0.5, granularity="filter", example=(x, memory), exclude=["*_proj_weight", "@output"]
    )
    assert list(masks.units) == ["attention.out_proj.weight"]


def test_columns_of_gpt2_s_conv1d_are_its_filters():
    class Conv1D(nn.Module):
        def __init__(self, out, features):
            super().__init__()
            self.nf, self.weight = out, nn.Parameter(torch.randn(features, out))
            self.bias = nn.Parameter(torch.randn(out))

        def forward(self, x):
            return torch.addmm(self.bias, x, self.weight)

    model = nn.Sequential(Conv1D(6, 4), nn.ReLU(), Conv1D(3, 6))
    masks = prunery.prune(model, 0.5, granularity="filter", example=torch.randn(2, 4))
    assert masks.units == {"0.weight": (3, 6)}
    assert torch.equal(masks["0.weight"].any(0), masks["0.bias"])
    assert (model[0](torch.randn(5, 4))[:, ~masks["0.bias"]] == 0).all()
