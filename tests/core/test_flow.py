"""SynFlow's call: its form is kept, what a model makes itself takes part, and all outputs count."""

import dataclasses
from collections import OrderedDict, namedtuple

import pytest
import torch
from nets import batch, mlp
from torch import nn

import prunery
from prunery.core.context import ScoringContext
from prunery.core.evidence import gather
from prunery.core.flow import InFloat64, is_additive_mask
from prunery.core.layers import prunable
from prunery.errors import EvidenceError


def flow(model, example=None, **given):
    return gather("flow_grad", ScoringContext(model, prunable(model), example=example, **given))


def alike(a, b):
    """Whether two gathered gradients are equal but for a factor: the number of equal examples."""
    assert a.keys() == b.keys()
    factor = sum(v.abs().sum() for v in a.values()) / sum(v.abs().sum() for v in b.values())
    return all(torch.allclose(a[k], factor * b[k], rtol=1e-9, atol=1e-12) for k in a)


def seeded(build, *args, **kwargs):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return build(*args, **kwargs)


def plain_flow(model, *args):
    """The gradient of the summed output on `args`, weights in absolute value, float64, by plain autograd."""
    with torch.no_grad():
        for p in model.double().eval().parameters():
            p.abs_()
    names = [layer.name for layer in prunable(model)]
    weights = [model.get_parameter(name) for name in names]
    return dict(zip(names, torch.autograd.grad(model(*args).sum(), weights), strict=True))


# what a model makes itself


class Recurrent(nn.Module):
    def __init__(self, start=None, batch_first=True):
        super().__init__()
        self.start = start
        self.cell = nn.GRU(6, 8, batch_first=batch_first)
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        size = len(x) if self.cell.batch_first else x.shape[1]
        state = None if self.start is None else self.start(size)
        return self.head(self.cell(x, state)[0])


STARTS = {
    "zeros": lambda n: torch.zeros(1, n, 8),
    "float32": lambda n: torch.zeros(1, n, 8, dtype=torch.float32),
    "half": lambda n: torch.zeros(1, n, 8).half(),
    "a cast": lambda n: torch.zeros(1, n, 8, dtype=torch.int64).float(),
    "the old constructor": lambda n: torch.FloatTensor(1, n, 8).fill_(0),
    "a list": lambda n: torch.tensor([[[0.0] * 8] * n]),
    "full": lambda n: torch.full((1, n, 8), 0.0),
}


@pytest.mark.parametrize("start", STARTS.values(), ids=STARTS)
def test_initial_states_made_inside_take_part(start):
    x = torch.randn(4, 5, 6)
    expected = flow(seeded(Recurrent), x)
    scored = flow(seeded(Recurrent, start), x)
    assert all(torch.equal(scored[name], expected[name]) for name in expected)
    assert prunery.prune(seeded(Recurrent, start), 0.5, criterion="synflow", example=x, rounds=2).kept == 180


class Positions(nn.Module):
    def __init__(self, positions):
        super().__init__()
        self.positions = positions
        self.place, self.head = nn.Linear(1, 8), nn.Linear(8, 3)

    def forward(self, x):
        return self.head(torch.relu(x + self.place(self.positions(x).unsqueeze(1))))


@pytest.mark.parametrize(
    "positions",
    [
        lambda x: torch.arange(x.shape[1], dtype=torch.float32),
        lambda x: torch.arange(0.0, x.shape[1]),
        lambda x: torch.linspace(0, x.shape[1] - 1, x.shape[1]),
        lambda x: torch.arange(x.shape[1]).float(),
        lambda x: torch.arange(x.shape[1]).to(torch.float32),
        lambda x: torch.arange(x.shape[1]).type(torch.FloatTensor),
        lambda x: (x[0, :, 0] > 0).cumsum(0).to(dtype=torch.bfloat16) - 1,
        lambda x: torch.from_numpy(__import__("numpy").arange(x.shape[1], dtype="float32")),
    ],
)
def test_float_positions_made_inside_take_part(positions):
    x = torch.randn(2, 5, 8)
    expected = plain_flow(
        seeded(Positions, lambda x: torch.arange(5, dtype=torch.float64)), torch.ones(1, 5, 8).double()
    )
    assert alike(flow(seeded(Positions, positions), x), expected)


def test_constants_that_are_not_registered_take_part_and_stay_as_they_are():
    class Constant(nn.Module):
        def __init__(self):
            super().__init__()
            self.basis, self.seen = torch.rand(6, 8) + 1, torch.zeros(3)
            self.head = nn.Linear(8, 3)

        def forward(self, x):
            y = self.head(x @ self.basis)
            self.seen.copy_(y[0])
            return y

    model = seeded(Constant)
    before = model.basis.clone()
    scored = flow(model, torch.randn(2, 6))
    expected = before.double().sum(0).expand(3, 8)
    assert torch.allclose(scored["head.weight"], expected, rtol=1e-12)
    assert model.basis.dtype is torch.float32
    assert torch.equal(model.basis, before)
    assert model.seen.dtype is torch.float32
    assert model.seen.any()  # the model wrote to its own tensor, not to a copy


def test_a_cast_inside_loses_nothing():
    """Where a model casts to a narrower type, float64 stays: float32 would overflow."""

    class Deep(nn.Module):
        def __init__(self, cast):
            super().__init__()
            self.layers = nn.ModuleList(nn.Linear(16, 16) for _ in range(4))
            self.cast = cast
            with torch.no_grad():
                for layer in self.layers:
                    layer.weight.mul_(1e13)

        def forward(self, x):
            for layer in self.layers:
                x = layer(self.cast(x))
            return x

    x = torch.randn(1, 16)
    expected = flow(seeded(Deep, lambda x: x), x)
    for cast in (
        torch.Tensor.float,
        torch.Tensor.half,
        lambda x: x.to(torch.bfloat16),
        lambda x: x.to(torch.float32).to(torch.float16),
    ):
        scored = flow(seeded(Deep, cast), x)
        assert all(torch.equal(scored[name], expected[name]) for name in expected)
    assert max(v.max() for v in expected.values()) > torch.finfo(torch.float32).max


def test_autocast_inside_changes_nothing():
    class Autocast(nn.Module):
        def __init__(self, dtype):
            super().__init__()
            self.dtype, self.net = dtype, mlp(6, 8, 3)

        def forward(self, x):
            if self.dtype is None:
                return self.net(x)
            with torch.autocast("cpu", dtype=self.dtype):
                return self.net(x)

    x = torch.randn(2, 6)
    expected = flow(Autocast(None), x)
    scored = flow(Autocast(torch.bfloat16), x)
    assert all(torch.equal(scored[name], expected[name]) for name in expected)


def test_recomputed_parts_see_the_same_call():
    class Recomputed(nn.Module):
        def __init__(self, recompute):
            super().__init__()
            self.recompute, self.net, self.head = recompute, mlp(6, 8, 8), nn.Linear(8, 3)

        def forward(self, x):
            def part(x):
                return torch.tanh(self.net(x))

            y = torch.utils.checkpoint.checkpoint(part, x, use_reentrant=False) if self.recompute else part(x)
            return self.head(y)

    x, y = batch((6,), 3)
    for kind, given in (("flow_grad", {"example": x}), ("grad", {"batches": [(x, y)]})):
        models = [seeded(Recomputed, recompute) for recompute in (False, True)]
        plain, again = (gather(kind, ScoringContext(m, prunable(m), **given)) for m in models)
        assert all(torch.equal(plain[name], again[name]) for name in plain)
        assert all(p.grad is None for m in models for p in m.parameters())


def test_the_mode_leaves_other_types_and_the_outside_alone():
    with InFloat64():
        assert torch.arange(3).dtype is torch.int64
        assert torch.ones(2, dtype=torch.complex64).dtype is torch.complex128
        bits = torch.full((2,), 0x40490FDB, dtype=torch.int32).view(torch.float32)  # of pi
        assert torch.ones(3).to(torch.int32).dtype is torch.int32
        assert (torch.ones(3) > 0).float().dtype is torch.float64
    assert torch.ones(3).dtype is torch.get_default_dtype() is torch.float32
    assert bits.dtype is torch.float32
    assert torch.allclose(bits, torch.tensor(torch.pi))


# the call keeps its form


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
def test_sequences_keep_their_time_steps(kind):
    """(time, batch, values): the first axis is not that of the examples, and no step is cut off."""
    last, first = seeded(Recurrent, batch_first=False), seeded(Recurrent)
    x = torch.randn(5, 3, 6)
    given = {"example": x} if kind == "example" else {"batches": [(x, torch.zeros(3).long())]}
    scored = flow(last, **given)
    assert scored["cell.weight_hh_l0"].abs().sum() > 0
    assert alike(scored, flow(first, torch.randn(3, 5, 6)))


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


# refused


class OneType(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        if x.dtype is not torch.float32:
            raise TypeError("this kernel takes float32")
        return x.clone()

    @staticmethod
    def backward(ctx, g):
        return g


class Checked(nn.Module):
    def __init__(self, check):
        super().__init__()
        self.check, self.net = check, mlp(6, 8, 3)

    def forward(self, x):
        return self.net(self.check(x))


def only_float32(x):
    assert x.dtype is torch.float32, "float32 only"
    return x


def only_small(x):
    if not x.std() > 0:
        raise ValueError("inputs must vary")
    return x


@pytest.mark.parametrize(
    ("check", "message"),
    [(OneType.apply, "this kernel takes float32"), (only_float32, "float32 only"), (only_small, "must vary")],
)
def test_a_model_that_refuses_the_call_is_told_what_was_done_to_it(check, message):
    model = Checked(check)
    with pytest.raises(EvidenceError) as caught:
        prunery.prune(model, 0.5, criterion="synflow", example=torch.randn(2, 6))
    text = str(caught.value)
    for part in (
        message,
        "SynFlow",
        "float64",
        "absolute value",
        "ones in place of the data",
        "another criterion",
    ):
        assert part in text
    assert caught.value.__cause__ is not None


def test_a_wrong_example_is_not_laid_to_the_criterion():
    with pytest.raises(EvidenceError, match="what was given raises RuntimeError") as caught:
        flow(mlp(6, 3), torch.randn(2, 7))
    assert "float64" not in str(caught.value)


# all outputs count


class Heads(nn.Module):
    def __init__(self, form):
        super().__init__()
        self.form, self.body = form, mlp(6, 8)
        self.a, self.b, self.c = nn.Linear(8, 3), nn.Linear(8, 2), nn.Linear(8, 4)

    def forward(self, x):
        y = self.body(x)
        return self.form(self.a(y), self.b(y), self.c(y))


@dataclasses.dataclass
class Output:
    logits: torch.Tensor
    others: list


class ModelOutput(OrderedDict):
    """As transformers has it: a mapping whose entries are attributes too."""

    def __getattr__(self, name):
        return self[name]


FORMS = {
    "tuple": lambda a, b, c: (a, b, c),
    "mapping": lambda a, b, c: {"a": a, "b": b, "c": c},
    "logits and others": lambda a, b, c: ModelOutput(logits=a, hidden=(b, c), cache=None),
    "nested": lambda a, b, c: [a, {"more": (b, [c])}],
    "dataclass": lambda a, b, c: Output(a, [b, c]),
    "named tuple": lambda a, b, c: namedtuple("out", "a rest")(a, (b, c)),
    "with indices": lambda a, b, c: (a.argmax(1), a, b, c, a.detach(), "name", None),
    "one twice": lambda a, b, c: {"all": [a, b, c], "first": a},
    "with a loss": lambda a, b, c: {"loss": a.square().mean(), "logits": a, "others": [b, c]},
    "without axes": lambda a, b, c: (a.sum(), b.sum(), c),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_every_floating_output_counts(form):
    x = torch.randn(1, 6)
    expected = flow(seeded(Heads, lambda *outputs: torch.cat(outputs, 1)), x)
    scored = flow(seeded(Heads, form), x)
    assert all(torch.allclose(scored[name], expected[name], rtol=1e-12) for name in expected)
    assert all(scored[f"{head}.weight"].abs().sum() > 0 for head in "abc")


def test_outputs_without_a_tensor_are_refused():
    with pytest.raises(EvidenceError, match="floating-point output that depends on the weights"):
        flow(Heads(lambda a, b, c: {"classes": a.argmax(1), "note": "none"}), torch.randn(1, 6))
    with pytest.raises(EvidenceError, match="no_grad or detach"):
        flow(Heads(lambda a, b, c: a.detach()), torch.randn(1, 6))
