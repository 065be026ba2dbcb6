"""SynFlow's call: what a model makes or casts itself takes part in float64; models that refuse are told."""

import pytest
import torch
from flow_kit import Recurrent, alike, flow, plain_flow, seeded
from nets import batch, mlp
from torch import nn

import prunery
from prunery.core.context import ScoringContext
from prunery.core.evidence import gather
from prunery.core.flow import InFloat64
from prunery.core.layers import prunable
from prunery.core.masks import Masks
from prunery.errors import EvidenceError

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
            written.append(bool(self.seen.any()))  # to its own tensor, not to a copy
            return y

    model, written = seeded(Constant), []
    before = model.basis.clone()
    scored = flow(model, torch.randn(2, 6))
    expected = before.double().sum(0).expand(3, 8)
    assert torch.allclose(scored["head.weight"], expected, rtol=1e-12)
    assert model.basis.dtype is torch.float32
    assert torch.equal(model.basis, before)
    assert all(written)
    assert model.seen.dtype is torch.float32
    assert not model.seen.any()
    assert model.seen.is_leaf, "what the call left of its graph is gone"


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


def test_a_tensor_made_inside_and_filled_holds_float64():
    class Filling(nn.Module):
        def __init__(self, filled):
            super().__init__()
            self.filled, self.head = filled, nn.Linear(6, 3)
            with torch.no_grad():
                self.head.weight.fill_(1e38)

        def forward(self, x):
            if not self.filled:
                return self.head(x).square()
            output = torch.zeros(len(x), 3)
            for i in range(3):
                output[:, i] = self.head(x)[:, i]
            return output.square()

    x = torch.randn(1, 6)
    expected, scored = flow(Filling(False), x), flow(Filling(True), x)
    assert torch.equal(scored["head.weight"], expected["head.weight"])
    assert expected["head.weight"].isfinite().all()


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
        masks = Masks(
            {"net.2.weight": torch.arange(64).view(8, 8) % 3 > 0}
        )  # a run without them would differ
        plain, again = (gather(kind, ScoringContext(m, prunable(m), masks, **given)) for m in models)
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
