"""What a cost does not know it says, by name, and a 0 is never silent."""

import pytest
import torch
from cost_kit import Written, outside, parameter
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrizations

from prunery.measure.cost import cost

X = torch.randn(2, 5, 8)
IMAGE = torch.randn(2, 3, 8, 8)


def price_of(function, x=X, include=("w",), **members):
    return cost(Written(function, **members), x, include=include)


def added(s, x):
    """A product written as an elementwise one and a sum: nothing here counts it."""
    return (x.unsqueeze(-2) * s.w).sum(-1)


def in_the_frequencies(s, x):
    return torch.fft.irfft(torch.fft.rfft(x) * torch.fft.rfft(s.w, n=8))


def put_together(s, x):
    whole = torch.zeros(6, 8)
    whole[:3] = s.w
    return functional.linear(x, whole)


NO_RULE = "MACs not known for w: nothing here counts how {} uses it"
ENTERS = "0 MACs for w: it goes into {}, and no product with the input uses it"
DERIVED = "not counted: products of the input with what is computed from w"


@pytest.mark.parametrize(
    ("function", "shape", "note"),
    [
        (added, (6, 8), NO_RULE.format("mul")),
        (
            lambda s, x: torch.cdist(x, s.w),
            (6, 8),
            NO_RULE.format("_cdist_forward"),
        ),
        (in_the_frequencies, (5, 8), DERIVED),
        (lambda s, x: x @ s.w.softmax(-1), (8, 8), DERIVED),
        (lambda s, x: x @ torch.linalg.qr(s.w)[0], (8, 8), DERIVED),
        (lambda s, x: x * s.w.norm(), (8, 8), DERIVED),
        (put_together, (3, 8), DERIVED),
        (
            lambda s, x: x + s.w,
            (5, 8),
            ENTERS.format("add"),
        ),
        (
            lambda s, x: (x, s.w.sum()),
            (5, 8),
            ENTERS.format("sum"),
        ),
        (
            lambda s, x: s.w[x[..., 0].long().clamp(0, 4)],
            (5, 8),
            ENTERS.format("index"),
        ),
        (lambda s, x: x, (5, 8), "0 MACs for w: the model never calls it"),
    ],
)
def test_a_weight_that_is_not_counted_is_named(function, shape, note):
    price = price_of(function, w=parameter(*shape))
    assert price.macs.dense == 0
    assert price.notes == (note,)
    assert f"note: {note}" in str(price)


def test_what_is_computed_from_weights_that_were_counted_too():
    """The product with a fixed matrix is counted, that with what comes of it is not."""
    price = price_of(lambda s, x: functional.linear(x, s.w @ torch.ones(4, 8)), w=parameter(6, 4), x=X[:1])
    assert price.notes == (DERIVED,)


def test_two_weights_in_one_are_not_told_apart():
    price = price_of(
        lambda s, x: functional.linear(x, s.w + s.v), include=["w", "v"], w=parameter(6, 8), v=parameter(6, 8)
    )
    assert price.notes == ("not counted: products of the input with what is computed from w, v",)
    assert price.macs.dense == 0


def test_a_merged_adapter_leaves_the_weight_its_count():
    model = {"w": parameter(6, 8), "a": parameter(2, 8), "b": parameter(6, 2)}
    price = price_of(lambda s, x: functional.linear(x, s.w + 0.5 * (s.b @ s.a)), **model)
    assert (price.macs.dense, price.notes, price.outside) == (6 * 8 * 5, (), ())
    both = price_of(lambda s, x: s.l(functional.linear(x, s.b @ s.a)), include=(), l=nn.Linear(6, 2), **model)
    assert both.macs.dense == 12 * 5
    assert both.notes == ("not counted: products of the input with what is computed from a, b",)


def test_a_kernel_that_depends_on_the_input():
    def scaled(s, x):
        return functional.conv2d(x, s.w * x.mean())

    price = price_of(scaled, IMAGE, w=parameter(4, 3, 3, 3))
    assert price.notes == (
        NO_RULE.format("mul"),
        "not counted: convolutions with kernels that depend on the input",
    )

    def made(s, x):
        return functional.conv2d(x, s.l(x.mean((0, 2, 3))).view(4, 3, 3, 3))

    price = price_of(made, IMAGE[:1], include=(), l=nn.Linear(3, 108))
    assert price.macs.dense == 3 * 108
    assert price.notes == ("not counted: convolutions with kernels that depend on the input",)


def test_parameters_that_are_no_matrices_and_those_that_only_enter_are_not_named():
    members = {
        "gain": parameter(1, 1, 8),
        "norm": parameter(5, 8),
        "places": parameter(5, 8),
        "first": parameter(1, 1, 8),
        "table": nn.Embedding(4, 8),
        "l": nn.Linear(8, 3),
    }

    def forward(s, x):
        x = functional.layer_norm(x * s.gain + s.places + s.table(torch.arange(1)), (5, 8), s.norm)
        return s.l(torch.cat([s.first.expand(2, 1, 8), x], 1))

    price = price_of(forward, include=(), **members)
    assert (price.macs.dense, price.notes, price.outside) == (24 * 6, (), ())


def test_an_elementwise_scale_of_two_axes_is_named():
    price = price_of(lambda s, x: s.l(x * s.p), include=(), p=parameter(5, 8), l=nn.Linear(8, 3))
    assert price.notes == ("MACs not known for p: nothing here counts how mul uses it",)


def test_uses_outside_that_do_not_divide_are_named():
    table = torch.ones(3, 8)
    price = price_of(
        lambda s, x: s.l(x) + (table @ s.v).sum(), include=(), v=parameter(8, 3), l=nn.Linear(8, 3)
    )
    assert price.outside == ()
    assert price.notes == ("MACs not known for v: uses do not divide by 2 examples",)


def test_a_parametrization_that_mixes_the_elements():
    model = nn.Sequential(parametrizations.orthogonal(nn.Linear(8, 8)), nn.Linear(8, 3))
    price = cost(model, X)
    assert price.macs.dense == 24 * 5
    name = "0.parametrizations.weight.original"
    assert price.notes == (f"not counted: products of the input with what is computed from {name}",)


def test_many_names_are_not_all_listed():
    members = {f"w{i:02}": parameter(8, 8) for i in range(20)}
    price = price_of(
        lambda s, x: sum(x @ w for w in members.values()), include=(), l=nn.Linear(8, 2), **members
    )
    assert len(outside(price)) == 20
    assert price.notes[1].endswith("w06, w07 and 12 more")
    assert price.notes[0] == "0 MACs for l.weight: the model never calls it"
