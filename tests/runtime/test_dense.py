"""When a sparse callable is the dense model, and that it says why."""

from __future__ import annotations

import sys

import pytest
import torch
from runtime_kit import agrees, conv_net, drawn, pruned
from torch import nn

import prunery
from prunery.runtime import callable as module
from prunery.runtime import native


@pytest.fixture(autouse=True)
def _sparse_wins(monkeypatch):
    """The kernels run even where a small network gains nothing."""
    monkeypatch.setattr(module, "GAIN", 0.0)


def dense_because(fast, words):
    assert fast.report().verdict == f"It is the dense model: {words}."
    assert all(row.runs.startswith("dense") for row in fast.report().rows)


def test_dense_without_llvmlite(monkeypatch):
    monkeypatch.setitem(sys.modules, "llvmlite.binding", None)
    monkeypatch.setitem(sys.modules, "llvmlite", None)
    native.features.cache_clear()
    model = conv_net()
    fast = prunery.sparse_callable(model, drawn(2, 3, 16, 16))
    dense_because(fast, "llvmlite is not installed (pip install 'prunery[runtime]')")
    agrees(fast, model, 3, 3, 16, 16)


def test_dense_where_told_or_without_zeros(monkeypatch, kernels):
    model = pruned(conv_net(), 0.0)
    dense_because(prunery.sparse_callable(model, drawn(2, 3, 16, 16)), "no layer has enough zeros")
    monkeypatch.setenv(native.FORCED, "none")
    dense_because(prunery.sparse_callable(conv_net(), drawn(2, 3, 16, 16)), "PRUNERY_ISA is none")


def test_dense_where_nothing_is_gained(monkeypatch, kernels):
    monkeypatch.setattr(module, "GAIN", 1e9)
    model = conv_net()
    fast = prunery.sparse_callable(model, drawn(2, 3, 16, 16))
    assert fast.report().verdict == "It is the dense model: sparse kernels gain nothing here."
    agrees(fast, model, 2, 3, 16, 16)


def test_inputs_without_a_batch_in_common():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(8, 8)

        def forward(self, x, table, scale):
            return self.linear(x) @ table.t() * scale

    model, given = pruned(Net(), 0.9), (drawn(4, 8), drawn(5, 8), torch.tensor(2.0))
    fast = prunery.sparse_callable(model, given)
    assert "no batch axis in common" in fast.report().verdict
    assert fast.report().speedup == 1.0
    assert "no batch axis in common" in str(fast.report())
    with torch.no_grad():
        assert torch.equal(fast(*given), model(*given))


class LooksAtValues(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)

    def forward(self, x):
        return self.conv(x) if x.sum() > 0 else -self.conv(x)


class KnowsItsBatch(LooksAtValues):
    def forward(self, x):
        y = self.conv(x)
        return y * 2 if x.shape[0] == 2 else y


@pytest.mark.parametrize(
    ("kind", "words"), [(LooksAtValues, "looks at values"), (KnowsItsBatch, "size of the batch")]
)
def test_dense_where_the_model_cannot_be_taken_apart(kind, words):
    model = pruned(kind(), 0.9)
    fast = prunery.sparse_callable(model, drawn(2, 3, 8, 8))
    assert words in fast.report().verdict
    for sign in (1, -1):
        x = sign * drawn(2, 3, 8, 8).abs()
        with torch.no_grad():
            assert torch.equal(fast(x), model(x))
            assert torch.equal(fast(x[:1]), model(x[:1]))


def test_double_precision_stays_dense():
    model = conv_net().double()
    fast = prunery.sparse_callable(model, drawn(2, 3, 16, 16).double())
    with torch.no_grad():
        assert torch.allclose(fast(drawn(2, 3, 16, 16).double()), model(drawn(2, 3, 16, 16).double()))


def test_a_difference_is_seen_whatever_the_outputs_hold():
    nan, inf = float("nan"), float("inf")
    one, yes = torch.tensor([1.0, 2.0]), torch.tensor([True, False])
    assert module._apart([one, yes], [one, yes]) == 0.0
    assert module._apart([~yes], [yes]) == 1.0
    assert module._apart([torch.tensor([nan, 2.0])], [one]) == inf
    assert module._apart([torch.tensor([1.0, 3.0])], [torch.tensor([inf, 2.0])]) == 0.5
    assert module._apart([one], [torch.tensor([nan, 2.0])]) == 0.0


def test_the_dense_model_runs_without_gradients_on_its_threads_in_any_mode():
    seen = []

    class Watched(nn.Linear):
        def forward(self, x, factor):
            seen.append((torch.get_num_threads(), torch.is_grad_enabled()))
            return super().forward(x * float(factor))

    model, factor = Watched(4, 3), torch.tensor(2.0)
    fast = prunery.sparse_callable(model, (drawn(2, 4), factor), threads=2)
    x = drawn(2, 4, seed=1)
    expected = model(x, factor)
    for threads in (1, 2):
        torch.set_num_threads(threads)
        for mode in (torch.enable_grad, torch.no_grad, torch.inference_mode):
            with mode():
                found = fast(x, factor)
            assert seen[-1] == (2, False)
            assert not found.requires_grad
            assert found.equal(expected)
        assert torch.get_num_threads() == threads
