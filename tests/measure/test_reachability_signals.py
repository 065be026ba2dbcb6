"""Flow rules are for signals: whole numbers, masks and constants stay; a decision by value ends the flow."""

import dataclasses
import math

import pytest
import torch
from cost_kit import Written, ones, parameter
from torch import nn
from torch.nn import functional

from prunery.measure.cost import cost

X = torch.randn(2, 8)
IDS = torch.randint(0, 10, (2, 5))


def net(function, **members):
    return Written(function, a=nn.Linear(8, 6), b=nn.Linear(6, 4), **members)


def live(model, x):
    """(a, b): live weights with a row of `a` removed; 40 of 48 are kept, and 20 of 24 read what is left."""
    masks = ones(model)
    masks["a.weight"][1] = False
    price = cost(model, x, masks)
    return [layer.params.effective for layer in price.layers][:2], price.notes


def bucketed(s, ids):
    """Relative position buckets and their bias, as in T5."""
    places = torch.arange(5)
    distance = places[None] - places[:, None]
    buckets = (distance > 0).long() * 4
    distance = torch.abs(distance)
    large = 2 + (torch.log(distance.float() / 2) / math.log(16 / 2) * 2).to(torch.long)
    buckets += torch.where(distance < 2, distance, torch.min(large, torch.full_like(large, 3)))
    bias = s.table(buckets).permute(2, 0, 1)
    q = s.a(s.words(ids))
    return s.b((q @ q.transpose(1, 2) + bias).softmax(-1) @ q)


def clamped_ids(s, ids):
    return s.b(s.a(s.words(ids.clone().clamp_(0, 8).add_(1).max(1)[0])))


def into_a_buffer(s, x):
    out = torch.empty(2, 6)
    torch.addmm(s.a.bias, x, s.a.weight.T, out=out)
    return s.b(out.relu_())


def set_where_negative(s, x):
    y = s.a(x).clone()
    y[y < 0] = 0.0
    return s.b(y)


def leak_where_negative(s, x):
    y = s.a(x).clone()
    y[y < 0] = 0.1 * y[y < 0]
    return s.b(y)


@dataclasses.dataclass
class Output:
    extra: dict
    logits: torch.Tensor


FOLLOWED = {
    "T5's position buckets": (bucketed, IDS, {"table": nn.Embedding(8, 1), "words": nn.Embedding(10, 8)}),
    "whole numbers in place": (clamped_ids, IDS, {"words": nn.Embedding(12, 8)}),
    "out=": (into_a_buffer, X, {}),
    "out= of an empty tensor": (
        lambda s, x: s.b(torch.mm(x, s.a.weight.T, out=torch.empty(0))),
        X,
        {},
    ),
    "a hand-written relu": (lambda s, x: s.b(s.a(x) * (s.a(x) > 0)), X, {}),
    "where": (lambda s, x: s.b(torch.where(s.a(x) > 0, s.a(x), 0.1 * s.a(x))), X, {}),
    "where, the other way": (lambda s, x: s.b(torch.where(s.a(x) < 0, torch.zeros(()), s.a(x))), X, {}),
    "masked_fill": (lambda s, x: s.b(s.a(x).masked_fill(s.a(x) < 0, 0.0)), X, {}),
    "setitem": (set_where_negative, X, {}),
    "setitem of a signal": (leak_where_negative, X, {}),
    "a threshold": (lambda s, x: s.b(s.a(x) * (s.a(x).abs() > 0.9).float()), X, {}),
    "a mask that is given": (lambda s, x, m: s.b(s.a(x).masked_fill(m, 0.0)), (X, X[:, :6] > 9), {}),
    "rounding": (lambda s, x: s.b(s.a(x).round()), X, {}),
    "a sign": (lambda s, x: s.b(torch.sign(s.a(x))), X, {}),
    "not a number": (lambda s, x: s.b(torch.where(s.a(x).isnan(), torch.zeros(()), s.a(x))), X, {}),
    "the larger of it and a constant": (lambda s, x: s.b(torch.maximum(s.a(x), torch.zeros(6))), X, {}),
    "a maximum, its place unused": (lambda s, x: s.b(s.a(x) * s.a(x).max(1, keepdim=True)[0]), X, {}),
    "a sparse matrix": (lambda s, x: s.b(torch.sparse.mm(torch.eye(2).to_sparse(), s.a(x))), X, {}),
    "a sparse input": (lambda s, x: s.b(torch.sparse.mm(x, s.a.weight.T)), X.to_sparse(), {}),
    "complex numbers": (
        lambda s, x: s.b((s.a(x).to(torch.complex64) * s.w).abs()),
        X,
        {"w": parameter(6, dtype=torch.complex64)},
    ),
    "an input changed in place": (lambda s, x: s.b(s.a(x.clone().relu_().mul_(2))), X, {}),
    "a dataclass": (lambda s, x: Output({}, s.b(s.a(x))), X, {}),
    "nested outputs": (lambda s, x: {"o": [Output({"z": (s.b(s.a(x)),)}, None)]}, X, {}),
    "an embedding without a weight before it": (
        lambda s, i: s.b(s.a(functional.layer_norm(s.words(i), (8,)))),
        IDS,
        {"words": nn.Embedding(10, 8)},
    ),
    "a product by experts": (
        lambda s, x: s.b(torch.bmm(s.a(x).view(2, 1, 6), s.w[torch.tensor([0, 2])])[:, 0] + s.a(x)),
        X,
        {"w": parameter(3, 6, 6)},
    ),
}


@pytest.mark.parametrize("form", FOLLOWED)
def test_the_flow_goes_through(form):
    function, x, members = FOLLOWED[form]
    model = net(function, **members)
    everything = cost(model, x, ones(model))
    assert [layer.params.effective for layer in everything.layers] == [48, 24]
    kept, notes = live(model, x)
    assert not [note for note in notes if "effective" in note]
    assert kept == ([40, 24] if "experts" in form else [40, 20])


def test_both_branches_of_a_comparison_are_alive():
    """Whichever is larger: both are, whatever the noise says, with and without a removed row."""
    model = Written(
        lambda s, x: torch.where(s.b(x) > s.c(x), s.b(x), s.c(x)) * (s.b(x) > 0.9),
        b=nn.Linear(8, 40),
        c=nn.Linear(8, 40),
    )
    masks = ones(model)
    assert [layer.params.effective for layer in cost(model, X, masks).layers] == [320, 320]
    masks["b.weight"][::2] = False
    assert [layer.params.effective for layer in cost(model, X, masks).layers] == [160, 320]


def ends(name, what="chooses by value"):
    return (
        f"effective = kept: NotImplementedError on following the flow: {name} {what}, and the flow has none"
    )


DECIDES, WHOLE = "decides by value", "makes whole numbers of values"


def halved(s, x):
    y = s.a(x)
    while (y.abs() > 1e-3).any():  # true everywhere, whatever is done to it
        y = y * 0.5
    return s.b(y)


@pytest.mark.parametrize(
    ("function", "note"),
    [
        (lambda s, x: s.b(s.a(x)) if s.a(x).sum() > 0 else s.b(-s.a(x)), ends("bool", DECIDES)),
        (halved, ends("bool", DECIDES)),
        (lambda s, x: s.b(s.a(x) / s.a(x).abs().max().item()), ends("item", DECIDES)),
        (lambda s, x: s.b(s.a(x)[(s.a(x) > 0).any(1).nonzero()[:, 0]]), ends("nonzero", DECIDES)),
        (lambda s, x: s.b(s.w[s.a(x).long().clamp(0, 2)].sum(1)), ends("long", WHOLE)),
        (lambda s, x: s.b(s.w[s.a(x)[:, :3].argmax(1)]), ends("argmax")),
        (lambda s, x: s.b(s.w[s.a(x).max(1)[1] % 3]), ends("remainder")),
        (lambda s, x: s.b(s.a(x).sort(-1)[0]), ends("sort")),
        (lambda s, x: s.b(s.a(x) * torch.zeros(2, 6).scatter(1, s.a(x).topk(2)[1], 1.0)), ends("topk")),
    ],
)
def test_where_values_decide_all_is_kept_and_the_note_says_so(function, note):
    kept, notes = live(net(function, w=parameter(3, 6)), X[:1] if "nonzero" in note else X)
    assert kept == [40, 24]
    assert [text for text in notes if "effective" in text] == [note]


def test_a_long_message_of_the_model_is_one_line():
    def forward(s, x):
        if torch.is_grad_enabled():
            raise RuntimeError("first line\nsecond line")
        return s.b(s.a(x))

    kept, notes = live(net(forward), X)
    assert kept == [40, 24]
    assert notes == ("effective = kept: RuntimeError on following the flow: first line",)


def test_rows_of_a_stack_are_told_apart():
    """Three axes are no kernel: one weight of an expert may be dead where its neighbours live."""

    def forward(s, x):
        return s.l(torch.einsum("bd,edf->bef", x, s.w))

    model = Written(forward, w=parameter(2, 8, 6), l=nn.Linear(6, 4))
    masks = ones(model, ["w"])
    masks["l.weight"][:, 0] = False  # nothing reads the first column of either expert
    price = cost(model, X, masks)
    assert {layer.name: layer.params.effective for layer in price.layers} == {"w": 2 * 8 * 5, "l.weight": 20}
    assert price.macs.effective == 2 * 8 * 5 + 2 * 20
