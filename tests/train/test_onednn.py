"""Large linear layers take the faster way while a network trains, with the same values and gradients."""

import pytest
import torch
from torch import nn
from torch.nn import functional
from train_kit import digits, settings

from prunery.train import loop, onednn
from prunery.train.onednn import OneDNNLinear

LARGE = (64, 512, 128)  # examples, inputs, outputs: twice what is worth it


def problem(batch=LARGE[0], *, dtype=torch.float32):
    g = torch.Generator().manual_seed(0)
    shapes = [(batch, LARGE[1]), (LARGE[2], LARGE[1]), (LARGE[2],)]
    return [torch.randn(s, generator=g, dtype=dtype).requires_grad_() for s in shapes]


def assert_close(values, expected):
    """Equal but for rounding in float32, whose size is that of the largest value: sums cancel."""
    values, expected = values.detach().double(), expected.detach().double()
    error = float((values - expected).abs().max() / expected.abs().max())
    assert error < 5e-6


@pytest.fixture
def taken(monkeypatch):
    """The shapes of the products that went to oneDNN."""
    shapes = []
    plain = onednn._product

    def noted(x, weight, bias=None):
        shapes.append((tuple(x.shape), tuple(weight.shape)))
        return plain(x, weight, bias)

    monkeypatch.setattr(onednn, "_product", noted)
    return shapes


@pytest.mark.parametrize("with_bias", [True, False])
def test_value_and_gradients_are_those_of_linear(with_bias, taken):
    x, weight, bias = problem()
    inputs = [x, weight, bias] if with_bias else [x, weight]
    with OneDNNLinear():
        out = functional.linear(*inputs)
    assert len(taken) == 1
    seed = torch.randn(out.shape, generator=torch.Generator().manual_seed(1))
    found = torch.autograd.grad(out, inputs, seed)
    assert len(taken) == 3
    exact = [t.detach().double().requires_grad_() for t in inputs]
    expected = functional.linear(*exact)
    assert_close(out, expected)
    for a, b in zip(found, torch.autograd.grad(expected, exact, seed.double()), strict=True):
        assert_close(a, b)


def test_more_axes_before_the_last(taken):
    x, weight, bias = problem()
    with OneDNNLinear():
        out = functional.linear(x.view(8, 8, -1), weight, bias)
    (grad,) = torch.autograd.grad(out.square().sum(), weight)
    assert out.shape == (8, 8, LARGE[2])
    assert len(taken) == 3
    whole = functional.linear(x, weight, bias)
    assert_close(out.view(64, -1), whole)
    (expected,) = torch.autograd.grad(whole.square().sum(), weight)
    assert_close(grad, expected)


def test_a_second_derivative_is_that_of_linear():
    def penalty(x, weight, bias):
        out = functional.linear(x, weight, bias)
        (grad,) = torch.autograd.grad(out.square().sum(), x, create_graph=True)
        return torch.autograd.grad(grad.square().sum(), weight)[0]

    with OneDNNLinear():
        found = penalty(*problem())
    assert_close(found, penalty(*problem()))


@pytest.mark.parametrize("case", ["small", "float64", "keywords"])
def test_everything_else_goes_the_usual_way(case, taken):
    x, weight, bias = problem(
        2 if case == "small" else 64, dtype=torch.float64 if case == "float64" else torch.float32
    )
    with OneDNNLinear():
        out = (
            functional.linear(x, weight, bias=bias)
            if case == "keywords"
            else functional.linear(x, weight, bias)
        )
    assert not taken
    assert torch.equal(out, functional.linear(x, weight, bias))


def test_a_shape_that_cannot_be_multiplied_is_torchs_error():
    x, weight, _ = problem()
    with OneDNNLinear(), pytest.raises(RuntimeError, match="cannot be multiplied"):
        functional.linear(x, weight.t())


def test_training_takes_it_and_learns_the_same(taken, monkeypatch):
    def trained():
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = nn.Sequential(nn.Flatten(), nn.Linear(64, 2048), nn.ReLU(), nn.Linear(2048, 10))
        loop.fit(model, digits(), settings(epochs=1, batch=64), seed=0)
        return model[1].weight.detach()

    fast = trained()
    assert taken
    monkeypatch.setattr(onednn, "WORTH", float("inf"))
    torch.testing.assert_close(fast, trained(), rtol=1e-3, atol=1e-4)


class Viewing(nn.Module):
    """Flattens with `view`, which images laid out channels-last do not bear."""

    def __init__(self):
        super().__init__()
        self.conv, self.out = nn.Conv2d(1, 4, 3), nn.Linear(144, 10)

    def forward(self, x):
        return self.out(self.conv(x).view(len(x), -1))


def test_a_model_that_cannot_run_channels_last_trains_all_the_same():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Viewing()
    history = loop.fit(model, digits(), settings(epochs=1), seed=0)
    assert history.rows[0].train_correct > 0
    assert model.conv.weight.is_contiguous()


def test_one_that_can_does():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(144, 10))
    loop.fit(model, digits(), settings(epochs=1), seed=0)
    assert model[0].weight.is_contiguous(memory_format=torch.channels_last)
