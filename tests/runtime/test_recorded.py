"""Networks of kernels alone: a single call of machine code for a batch, or for the images side by side."""

from __future__ import annotations

import pytest
import torch
from runtime_kit import agrees, apart, conv_net, drawn, pruned
from torch import nn

import prunery
from prunery.runtime import callable as module
from prunery.runtime import native
from prunery.runtime.placed import Unrolled
from prunery.runtime.recorded import Recorded


@pytest.fixture(autouse=True)
def _sparse_wins(monkeypatch):
    """The kernels run even where a small network gains nothing."""
    monkeypatch.setattr(module, "GAIN", 0.0)


@pytest.fixture
def calls(monkeypatch):
    """The sizes of the batches that ran as they were recorded."""
    seen, run = [], Recorded.__call__

    def watched(self, given):
        seen.append(len(given[0]))
        return run(self, given)

    monkeypatch.setattr(Recorded, "__call__", watched)
    return seen


def of_kernels(monkeypatch, model, x, threads=1):
    """A sparse callable in which no layer is left to torch, however quick that is."""
    monkeypatch.setattr("prunery.runtime.tune.COPIES", 1e9)
    monkeypatch.setattr("prunery.runtime.linear.least_seconds", _by_kernels)
    fast = prunery.sparse_callable(model, x, threads=threads)
    assert fast.report().verdict.startswith("Sparse kernels")  # it is not the dense model for its results
    return fast


def _by_kernels(call, threads):
    call()
    return 1.0 if "by_torch" in str(call.__code__.co_freevars) else 0.5


class Forked(nn.Module):
    """Two inputs that meet, two outputs of which the second is computed from the first."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Conv2d(4, 8, 3, padding=1), nn.Conv2d(8, 8, 1)
        self.head = nn.Linear(8 * 36, 40)

    def forward(self, x, y):
        z = torch.relu(self.one(x) + y)
        return (deep := self.two(z).flatten(1)), self.head(deep)


@pytest.mark.parametrize("threads", [1, 2])
def test_a_batch_seen_before_is_one_call(isa, monkeypatch, calls, threads):
    model = conv_net()
    fast = of_kernels(monkeypatch, model, drawn(1, 3, 16, 16), threads)
    del calls[:]
    for seed, batch in enumerate((1, 3, 1, 3, 1)):
        agrees(fast, model, batch, 3, 16, 16, seed=seed)
    assert calls == [1, 1, 3, 1]


def test_results_are_not_overwritten(kernels, monkeypatch, calls):
    model = conv_net()
    fast = of_kernels(monkeypatch, model, drawn(1, 3, 16, 16))
    one = fast(drawn(1, 3, 16, 16, seed=1))
    copy = one.clone()
    fast(drawn(1, 3, 16, 16, seed=2))
    assert calls
    assert one.equal(copy)
    with torch.inference_mode():
        assert not fast(drawn(1, 3, 16, 16)).is_inference()


def test_several_inputs_and_outputs(kernels, monkeypatch, calls):
    model = pruned(Forked(), 0.8)
    given = drawn(2, 4, 6, 6), drawn(2, 8, 6, 6, seed=1)
    fast = of_kernels(monkeypatch, model, given)
    with torch.no_grad():
        for seed in range(2):
            given = drawn(2, 4, 6, 6, seed=seed), drawn(2, 8, 6, 6, seed=seed + 7)
            for found, expected in zip(fast(*given), model(*given), strict=True):
                assert apart(found, expected) < 1e-5
    assert 2 in calls


def test_tensors_in_any_order_and_torch_of_any_default(kernels, monkeypatch, calls):
    model = conv_net()
    fast = of_kernels(monkeypatch, model, drawn(2, 3, 16, 16))
    x = drawn(2, 3, 16, 16, seed=5)
    with torch.no_grad():
        expected = model(x)
    given = [
        x.to(memory_format=torch.channels_last),
        x.mT.contiguous().mT,
        torch._neg_view(-x),
        torch.stack([x, x])[1].requires_grad_(),
    ]
    assert given[2].is_neg()
    monkeypatch.setattr(torch, "empty", torch.zeros)  # nothing of it is taken for a result
    torch.set_default_dtype(torch.float64)
    try:
        assert all(apart(fast(y), expected) < 1e-5 for y in given)
    finally:
        torch.set_default_dtype(torch.float32)
    assert calls[-4:] == [2] * 4


def test_what_torch_must_do_is_not_recorded(kernels, monkeypatch, calls):
    parts = [nn.Conv2d(3, 16, 3), nn.SiLU(), nn.Conv2d(16, 16, 3), nn.Flatten(), nn.Linear(16 * 16, 40)]
    model = pruned(nn.Sequential(*parts), 0.9)
    fast = of_kernels(monkeypatch, model, drawn(1, 3, 8, 8))
    for _ in range(2):
        agrees(fast, model, 1, 3, 8, 8)
    assert not calls
    moved = pruned(nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 48), nn.Softmax(1)), 0.9)
    fast = of_kernels(monkeypatch, moved, drawn(4, 32))
    for _ in range(2):
        agrees(fast, moved, 4, 32)
    assert not calls


def test_a_layer_without_weights(isa, monkeypatch, calls):
    """Nothing is left of some layers at high sparsities."""
    linear = pruned(nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 64)), 0.9)
    planes = pruned(nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3)), 0.9)
    with torch.no_grad():
        linear[2].weight.zero_()
        planes[2].weight.zero_()
    for model, shape in ((linear, (64,)), (planes, (3, 12, 12))):
        for batch in (1, 20):
            agrees(of_kernels(monkeypatch, model, drawn(batch, *shape)), model, batch, *shape)


class Narrowing(nn.Module):
    """Planes of 8 x 8, then of 4 x 4, where a second input is added."""

    def __init__(self):
        super().__init__()
        self.large = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
        self.small, self.last = nn.Conv2d(16, 24, 3, padding=1), nn.Conv2d(24, 16, 3)

    def forward(self, x, y):
        return self.last(torch.relu(self.small(self.large(x)) + y))


@pytest.mark.parametrize("threads", [1, 2])
def test_images_side_by_side_are_one_call(isa, monkeypatch, threads):
    seen, run = [], Unrolled.run

    def watched(self, given, made):
        seen.append(len(self.reads))
        run(self, given, made)

    monkeypatch.setattr(Unrolled, "run", watched)
    monkeypatch.setattr("prunery.runtime.running.MOST_IMAGES", 4)
    model = pruned(Narrowing(), 0.8)
    for batch in (40, 13, 40):
        given = drawn(batch, 3, 8, 8, seed=batch), drawn(batch, 24, 4, 4, seed=1)
        fast = of_kernels(monkeypatch, model, given, threads)
        with torch.no_grad():
            assert apart(fast(*given), model(*given)) < 1e-5
    assert {*seen} >= {native.ISAS[isa].lanes // 4 * 2 + 1}  # both inputs in fours, the second once more
