"""Weights that a model uses itself, without a module: counted as torch counts, however it is written."""

import pytest
import torch
import torch.nn.utils.prune
from cost_kit import Written, flops, macs, ones, outside, parameter
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrizations

from prunery.measure.cost import Amount, cost

X = torch.randn(2, 5, 8)
IMAGE = torch.randn(2, 3, 8, 8)


def assembled(s, x):
    return functional.linear(x, torch.cat([s.q, s.k, s.v]))


def into_a_buffer(s, x):
    out = torch.empty(0)
    torch.mm(x.reshape(-1, 8), s.w, out=out)
    return out


def in_half(s, x):
    return functional.linear(x.bfloat16(), s.w.bfloat16())


def by_expert(s, x):
    return [functional.linear(x, s.w[e]) for e in range(3)]


# name: (function, shapes of its parameters, input)
FORMS = {
    "F.linear": (lambda s, x: functional.linear(x, s.w), {"w": (6, 8)}, X),
    "matmul": (lambda s, x: torch.matmul(x, s.w), {"w": (8, 6)}, X),
    "@ transposed": (lambda s, x: x @ s.w.T, {"w": (6, 8)}, X),
    "weight first": (lambda s, x: s.w @ x.transpose(1, 2), {"w": (6, 8)}, X),
    "addmm": (lambda s, x: torch.addmm(s.w[0], x.view(-1, 8), s.w), {"w": (8, 6)}, X),
    "baddbmm": (
        lambda s, x: torch.baddbmm(s.b, x.reshape(1, 10, 8).expand(3, 10, 8), s.w),
        {"w": (3, 8, 6), "b": (3, 1, 6)},
        X,
    ),
    "einsum": (lambda s, x: torch.einsum("bld,ed->ble", x, s.w), {"w": (6, 8)}, X),
    "einsum with heads": (lambda s, x: torch.einsum("bld,hkd->bhlk", x, s.w), {"w": (2, 3, 8)}, X),
    "einsum over experts": (lambda s, x: torch.einsum("bld,edf->blef", x, s.w), {"w": (3, 8, 6)}, X),
    "tensordot": (lambda s, x: torch.tensordot(x, s.w, dims=([1, 2], [0, 1])), {"w": (5, 8, 3)}, X),
    "F.conv2d": (lambda s, x: functional.conv2d(x, s.w, padding=1, stride=2), {"w": (4, 3, 3, 3)}, IMAGE),
    "F.conv_transpose2d": (lambda s, x: functional.conv_transpose2d(x, s.w), {"w": (3, 4, 3, 3)}, IMAGE),
    "an unfolded convolution": (
        lambda s, x: s.w.view(4, -1) @ functional.unfold(x, 3),
        {"w": (4, 3, 3, 3)},
        IMAGE,
    ),
    "chunks": (lambda s, x: [functional.linear(x, w) for w in s.w.chunk(3)], {"w": (6, 8)}, X),
    "columns": (lambda s, x: [x @ w for w in s.w.chunk(3, 1)], {"w": (8, 6)}, X),
    "heads": (lambda s, x: [functional.linear(x, w) for w in s.w.view(3, 2, 8)], {"w": (6, 8)}, X),
    "joined": (assembled, {"q": (6, 8), "k": (2, 8), "v": (2, 8)}, X),
    "stacked": (
        lambda s, x: torch.einsum("bld,nde->bnle", x, torch.stack([s.q, s.k])),
        {"q": (8, 6), "k": (8, 6)},
        X,
    ),
    "half precision": (in_half, {"w": (6, 8)}, X),
    "masked": (lambda s, x: functional.linear(x, s.w * (s.w.abs() > 0.5)), {"w": (6, 8)}, X),
    "normalised": (lambda s, x: functional.linear(x, functional.normalize(s.w, dim=1)), {"w": (6, 8)}, X),
    "triangular": (lambda s, x: x @ s.w.triu(), {"w": (8, 8)}, X),
    "experts one by one": (by_expert, {"w": (3, 6, 8)}, X),
    "vmap": (lambda s, x: torch.vmap(lambda w: x @ w)(s.w), {"w": (3, 8, 6)}, X),
    "out=": (into_a_buffer, {"w": (8, 6)}, X),
    "twice": (lambda s, x: functional.linear(x, s.w) + x @ s.w.T, {"w": (6, 8)}, X),
}


@pytest.mark.parametrize("form", FORMS)
def test_as_torch_counts(form):
    function, shapes, x = FORMS[form]
    model = Written(function, **{name: parameter(*shape) for name, shape in shapes.items()})
    price = cost(model, x, include=["[qkvw]"])
    assert price.macs.dense * 2 * len(x) == flops(model, x) > 0
    assert price.notes == price.outside == ()
    assert all(layer.macs.dense for layer in price.layers)


@pytest.mark.parametrize("form", FORMS)
def test_on_the_meta_device_as_on_the_cpu(form):
    function, shapes, x = FORMS[form]
    if form in ("half precision", "out="):
        pytest.skip("torch cannot run it there")
    model = Written(function, **{name: parameter(*shape) for name, shape in shapes.items()})
    expected = macs(model, x, include=["[qkvw]"])
    assert macs(model.to("meta"), x, include=["[qkvw]"]) == expected


def test_what_torch_does_not_count_by_hand():
    bilinear = nn.Bilinear(3, 4, 5)
    assert macs(bilinear, (torch.randn(2, 7, 3), torch.randn(2, 7, 4))) == {"weight": 5 * 3 * 4 * 7}
    model = Written(lambda s, x: s.w @ x[0, 0], w=parameter(6, 8))
    assert macs(model, X[:1], include=["w"]) == {"w": 48}
    model = Written(lambda s, x: functional.bilinear(x, x, s.w), w=parameter(4, 8, 8))
    assert macs(model, X, include=["w"]) == {"w": 4 * 8 * 8 * 5}
    graph = torch.eye(5).to_sparse()
    model = Written(lambda s, x: torch.sparse.mm(graph, x[0]) @ s.w, w=parameter(8, 6))
    assert macs(model, X[:1], include=["w"]) == {"w": 8 * 6 * 5}


def test_a_scripted_model_and_parts_run_by_other_means():
    traced = torch.jit.trace(nn.Linear(8, 8), X)
    assert outside(cost(nn.Sequential(traced, nn.Linear(8, 3)), X)) == {"0.weight": 8 * 8 * 5}
    compiled = nn.Sequential(torch.compile(nn.Linear(8, 8)), nn.Linear(8, 3))
    assert list(macs(compiled, X).values()) == [8 * 8 * 5, 8 * 3 * 5]
    again = Written(
        lambda s, x: torch.func.functional_call(s.l, {"weight": s.l.weight * 2}, (x,)), l=nn.Linear(8, 3)
    )
    assert macs(again, X) == {"l.weight": 8 * 3 * 5}
    with torch.inference_mode():  # where operations arrive that are made of others
        inside = Written(
            lambda s, x: functional.linear(x, s.w) @ s.l.weight.T, w=parameter(6, 8), l=nn.Linear(6, 2)
        )
        assert macs(inside, torch.randn(2, 5, 8), include=["w"]) == {"w": 6 * 8 * 5, "l.weight": 6 * 2 * 5}


# Which elements


def test_each_part_of_a_weight_by_its_own_uses():
    def uneven(s, x):  # the first expert on two rows, the second on five, the third on none
        return functional.linear(x[:, :2], s.w[0]), functional.linear(x, s.w[1])

    model = Written(uneven, w=parameter(3, 6, 8))
    masks = ones(model, ["w"])
    masks["w"][0, 0] = False  # eight weights that are used twice
    masks["w"][1, :2] = False  # sixteen that are used five times
    masks["w"][2] = False
    price = cost(model, X, masks)
    assert price.layers[0].macs == Amount(48 * 7, 40 * 2 + 32 * 5, 40 * 2 + 32 * 5)
    assert price.layers[0].params.kept == 40 + 32
    assert "0 MACs for a part of w: this example does not use it" in price.notes


def test_columns_by_their_own_uses():
    model = Written(lambda s, x: (x @ s.w[:, :2], x[:, :1] @ s.w[:, 2:]), w=parameter(8, 6))
    masks = ones(model, ["w"])
    masks["w"][:, 0] = False
    masks["w"][0, 5] = False
    assert cost(model, X, masks).macs == Amount(16 * 5 + 32, 8 * 5 + 31, 8 * 5 + 31)


def test_experts_that_the_input_picks_out_of_a_stack():
    def picked(s, x):
        return torch.bmm(s.w[x[:, :, 0].long().view(-1)], x.view(-1, 8, 1))

    x = torch.zeros(1, 5, 8)
    x[0, :, 0] = torch.tensor([0.0, 2, 2, 2, 0])
    model = Written(picked, w=parameter(4, 6, 8))
    price = cost(model, x, {"w": torch.arange(4).view(4, 1, 1).expand(4, 6, 8) != 2})
    assert (price.macs.dense, price.macs.kept) == (48 * 5, 48 * 2)
    assert price.macs.dense * 2 == flops(model, x)
    assert "0 MACs for a part of w: this example does not use it" in price.notes


def test_experts_by_groups_of_rows():
    def grouped(s, x):
        rows = x.reshape(-1, 8).bfloat16()
        ends = torch.tensor([3, 3, 10], dtype=torch.int32)
        return torch._grouped_mm(rows, s.w.bfloat16().transpose(-2, -1), offs=ends)

    if not hasattr(torch, "_grouped_mm"):
        pytest.skip("this torch has no grouped product")
    model = Written(grouped, w=parameter(3, 8, 8))
    masks = {"w": torch.arange(3).view(3, 1, 1).expand(3, 8, 8) != 0}
    assert cost(model, torch.randn(1, 10, 8), masks).macs == Amount(64 * 10, 64 * 7, 64 * 7)


# Weights that are computed from parameters


class Standardised(nn.Conv2d):
    """Scaled weight standardisation, with a gain that is no weight."""

    def __init__(self, *args):
        super().__init__(*args)
        self.gain = nn.Parameter(torch.ones(self.out_channels, 1, 1, 1))

    def forward(self, x):
        var, mean = torch.var_mean(self.weight, dim=(1, 2, 3), keepdim=True)
        return functional.conv2d(x, self.gain * (self.weight - mean) / torch.sqrt(var + 1e-5), self.bias)


class BatchNormed(nn.Conv2d):
    """The same by a batch norm of the weight, as timm writes it."""

    def forward(self, x):
        rows = self.weight.reshape(1, self.out_channels, -1)
        rows = functional.batch_norm(rows, None, None, training=True)
        return functional.conv2d(x, rows.reshape_as(self.weight), self.bias)


@pytest.mark.parametrize("kind", [Standardised, BatchNormed])
def test_a_standardised_weight_counts_as_itself(kind):
    price = cost(kind(3, 4, 3), IMAGE)
    assert {layer.name: layer.macs.dense for layer in price.layers} == {"weight": 4 * 27 * 36}
    assert price.notes == price.outside == ()


@pytest.mark.parametrize(
    ("wrap", "stands_for"),
    [
        (parametrizations.weight_norm, "0.parametrizations.weight.original1"),
        (parametrizations.spectral_norm, "0.parametrizations.weight.original"),
        (nn.utils.weight_norm, "0.weight_v"),
        (nn.utils.spectral_norm, "0.weight_orig"),
        (lambda m: nn.utils.prune.random_unstructured(m, "weight", 0.5), "0.weight_orig"),
    ],
)
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_a_weight_behind_a_parametrization_stands_outside_the_total(wrap, stands_for):
    model = nn.Sequential(wrap(nn.Conv2d(3, 4, 3)), nn.Flatten(), nn.Linear(144, 2))
    masks = {"2.weight": torch.ones(2, 144, dtype=torch.bool)}
    for price in (cost(model, IMAGE), cost(model, IMAGE, masks)):
        assert {layer.name: layer.macs.dense for layer in price.layers} == {"2.weight": 288}
        assert outside(price) == {stands_for: 4 * 27 * 36}
        assert price.notes == (f"beside the total, 3,888 MACs of what is not prunable: {stands_for}",)


def test_a_model_of_hidden_weights_alone():
    price = cost(parametrizations.weight_norm(nn.Linear(8, 6)), X)
    assert price.layers == ()
    assert outside(price) == {"parametrizations.weight.original1": 6 * 8 * 5}
    assert "0" in str(price)


def test_what_is_multiplied_and_not_prunable_stands_outside():
    tied = Written(
        lambda s, i: functional.linear(s.l(s.e(i)), s.e.weight), e=nn.Embedding(20, 8), l=nn.Linear(8, 8)
    )
    price = cost(tied, torch.randint(0, 20, (2, 5)))
    assert (price.macs.dense, outside(price)) == (64 * 5, {"e.weight": 20 * 8 * 5})
    places = torch.arange(5)[:, None] - torch.arange(5) + 4
    relative = Written(
        lambda s, x: torch.einsum("bld,lmd->blm", s.l(x), s.e(places)),
        e=nn.Embedding(9, 8),
        l=nn.Linear(8, 8),
    )
    assert outside(cost(relative, X)) == {"e.weight": 5 * 5 * 8}  # each query with the key of each distance
    complex_weight = parameter(8, 6, dtype=torch.complex64)
    model = Written(
        lambda s, x: s.l((x.to(torch.complex64) @ s.w).abs()), w=complex_weight, l=nn.Linear(6, 2)
    )
    assert outside(cost(model, X)) == {"w": 8 * 6 * 5}


def test_learned_queries_are_no_weights():
    def attend(s, x):
        queries = s.q(s.latents.expand(len(x), -1, -1))
        return functional.scaled_dot_product_attention(queries, s.k(x), x + s.places)

    parts = {
        "latents": parameter(3, 8),
        "places": parameter(1, 5, 8),
        "q": nn.Linear(8, 8),
        "k": nn.Linear(8, 8),
    }
    price = cost(Written(attend, **parts), X)
    assert {layer.name: layer.macs.dense for layer in price.layers} == {
        "q.weight": 64 * 3,
        "k.weight": 64 * 5,
    }
    assert price.notes == price.outside == ()
