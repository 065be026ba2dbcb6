"""Filters: outputs stay, one is left a layer, norms follow what is computed, hidden units are whole."""

import pytest
import torch
from filter_nets import Net, X, conv_net, head
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

import prunery
from prunery.core.outputs import output_layers
from prunery.errors import ModelError, OutputWarning, PatternError

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


def test_a_model_that_detaches_its_output_has_an_output_layer_all_the_same():
    model = Net(lambda s, x: s.b(s.a(x)).detach(), a=nn.Conv2d(3, 8, 1), b=nn.Conv2d(8, 8, 1))
    assert output_layers(model, X) == ["b.weight"]
    assert set(prunery.prune(model, 0.5, exclude=["@output"], example=X)) == {"a.weight"}


def test_where_no_layer_leaves_the_model_a_warning_names_the_one_that_is_spared():
    model = Net(lambda s, x: (s.b(s.a(x)), x * 2)[1], a=nn.Conv2d(3, 8, 1), b=nn.Conv2d(8, 8, 1))
    assert output_layers(model, X) == []
    with pytest.warns(OutputWarning, match=r"^b\.weight is taken for.*no layer's values leave"):
        assert set(prunery.prune(model, 0.5, exclude=["@output"], example=X)) == {"a.weight"}


def test_of_a_stack_of_recurrent_layers_the_last_one_makes_the_output():
    model = Net(lambda s, x: s.r(s.a(x))[0], a=nn.Linear(5, 5), r=nn.LSTM(5, 8, 2, bidirectional=True))
    names = output_layers(model, torch.randn(6, 2, 5))
    assert names == [f"r.weight_{kind}_l1{way}" for way in ("", "_reverse") for kind in ("ih", "hh")]


# 17. hidden units


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_a_filter_of_a_recurrent_layer_is_a_hidden_unit(kind):
    model = Net(lambda s, x: s.head(s.r(x)[0]), r=kind(5, 8, 2, bidirectional=True), head=nn.Linear(16, 3))
    x = torch.randn(6, 2, 5)
    masks = prunery.prune(model, 0.5, granularity="filter", example=x)
    layers = [f"r.weight_ih_l{i}{way}" for i in (0, 1) for way in ("", "_reverse")]
    assert {name: units for name, units in masks.units.items() if units[1]} == dict.fromkeys(layers, (4, 8))
    assert sum(layer.units_total for layer in masks.layers()) == 4 * 8, "a unit of two matrices counts once"
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
    assert masks.units == {"r.weight_ih": (2, 8), "r.weight_hh": (0, 0)}


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


@pytest.mark.parametrize(
    "weight",
    [lambda w: w * 0.5, lambda w: functional.normalize(w, dim=1), lambda w: w + (w.sign() - w).detach()],
    ids=["scaled", "normalised", "binary"],
)
def test_a_weight_that_is_computed_with_is_the_output_all_the_same(weight):
    model = Net(
        lambda s, x: torch.relu(x @ weight(s.a.weight).t()) @ weight(s.head.weight).t(),
        head=nn.Linear(8, 5), a=nn.Linear(3, 8),
    )  # fmt: skip
    assert output_layers(model, torch.randn(2, 3)) == ["head.weight"]


def test_heads_that_only_training_uses_are_outputs():
    def forward(self, x):
        x = self.a(x).mean((2, 3))
        return (self.head(x), self.aux(x)) if self.training else self.head(x)

    model = Net(forward, head=nn.Linear(8, 5), aux=nn.Linear(8, 5), a=nn.Conv2d(3, 8, 1))
    assert output_layers(model.train(), X) == ["head.weight", "aux.weight"]
    assert output_layers(model.eval(), X) == ["head.weight"]


def test_parts_that_are_recomputed_hide_no_layer():
    def forward(self, x):
        return checkpoint(self.head, self.a(x).mean((2, 3)), use_reentrant=True)

    model = Net(forward, a=nn.Conv2d(3, 8, 1), head=nn.Linear(8, 5))
    assert set(prunery.prune(model, 0.5, granularity="filter", example=X).units) == {"a.weight"}


class HeadFirst(nn.Module):
    """The output layer is registered before the others; `by_hand`: called, or its weight used."""

    def __init__(self, by_hand):
        super().__init__()
        self.head, self.a, self.by_hand = nn.Linear(8, 3), nn.Linear(6, 8), by_hand

    def forward(self, x):
        x = torch.relu(self.a(x))
        return functional.linear(x, self.head.weight) if self.by_hand else self.head(x).sigmoid()


def test_without_an_example_a_made_up_one_tells_the_output_or_a_warning_names_the_layer():
    for by_hand in (False, True):
        assert set(prunery.prune(HeadFirst(by_hand), 0.5, granularity="filter").units) == {"a.weight"}

    class TwoInputs(HeadFirst):
        def forward(self, x, other):
            return super().forward(x[:, :6]) + other["more"]

    with pytest.warns(OutputWarning, match=r"^a\.weight is taken for the output layer.*pass example="):
        masks = prunery.prune(TwoInputs(False), 0.5, granularity="filter")
    assert set(masks.units) == {"head.weight"}


def test_an_output_layer_that_is_asked_for_by_name_is_said_to_be_excluded():
    with pytest.raises(PatternError, match="'head': it matches no layer that is not excluded"):
        prunery.prune(HeadFirst(False), {"head": 0.5}, granularity="filter")


def test_biases_of_all_modules_with_a_tied_weight_go_with_its_filters():
    model = Net(lambda s, x: s.head(s.b(s.a(x))), a=nn.Linear(6, 6), b=nn.Linear(6, 6), head=nn.Linear(6, 2))
    model.b.weight = model.a.weight
    masks = prunery.prune(model, 0.5, granularity="filter", example=torch.randn(2, 6))
    assert torch.equal(masks["b.bias"], masks["a.weight"].any(1))
    both = Net(lambda s, x: s.b(s.a(x)), a=nn.Conv2d(4, 4, 1), b=nn.ConvTranspose2d(4, 4, 1))
    both.b.weight = both.a.weight  # the outputs of the one are the inputs of the other
    masks = prunery.prune(both, 0.5, granularity="filter", exclude=(), example=torch.randn(2, 4, 3, 3))
    assert set(masks) == {"a.weight", "a.bias"}


def test_a_bias_that_is_hidden_is_refused():
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))
    nn.utils.parametrize.register_parametrization(model[0], "bias", nn.Softplus())
    with pytest.raises(ModelError, match=r"in front of '0\.bias'"):
        prunery.prune(model, 0.5, granularity="filter", example=torch.randn(2, 6))


def test_weights_of_unknown_shape_have_no_filters():
    class Mixed(nn.Conv2d):
        def __init__(self, *sizes):
            super().__init__(*sizes)
            self.weight = nn.Parameter(torch.randn(4, *self.weight.shape))  # four kernels, mixed by the input

        def forward(self, x):
            return functional.conv2d(x, self.weight.mean(0), self.bias)

    model = Net(lambda s, x: s.head(s.a(x).mean((2, 3))), a=Mixed(3, 4, 3), head=nn.Linear(4, 2))
    with pytest.raises(ModelError, match=r"filters of a\.weight: which axis"):
        prunery.prune(model, 0.5, granularity="filter", example=X)
