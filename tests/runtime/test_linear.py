"""Linear layers: rows of any number, by kernels and by torch's products."""

from __future__ import annotations

import pytest
import torch
from runtime_kit import apart, drawn, pruned
from torch import nn

from prunery.runtime.layers import layers_of
from prunery.runtime.linear import ByTorch, LinearPlan, in_chunks, quickest
from prunery.runtime.parts import parts_of
from prunery.runtime.plan import Part
from prunery.runtime.program import take_apart
from prunery.runtime.tune import Tuner


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Linear(37, 50), nn.Linear(50, 37, bias=False)
        self.last = nn.Linear(37, 19)

    def forward(self, x):
        return self.last(torch.relu(self.two(torch.relu(self.one(x))) + x)), x * 2


@pytest.fixture
def case():
    model = pruned(Residual(), 0.9)
    with torch.no_grad():
        network = layers_of(take_apart(model, drawn(4, 37)))
    parts = [part for part in parts_of(network) if isinstance(part, Part)]
    assert len(parts) == 1
    assert len(parts[0].layers) == 3
    return model, parts[0], network


@pytest.mark.parametrize(
    ("rows", "count"), [(1, 1), (2, 2), (4, 3), (8, 8), (16, 9), (64, 64), (64, 50), (48, 100)]
)
@pytest.mark.parametrize("threads", [1, 2])
def test_rows(isa, case, rows, count, threads):
    model, part, network = case
    with torch.no_grad():
        plan = LinearPlan(part, rows, threads, Tuner(network.constants, force=True))
        x = drawn(count, 74)[:, ::2]
        found = torch.empty(count, 19)
        in_chunks(plan, [x], [found])
        assert apart(found, model(x)[0]) < 1e-5


def test_torch_products(case):
    model, part, _ = case
    with torch.no_grad():
        x = drawn(30, 37)
        way, found = ByTorch(part, [x], 1), torch.empty(30, 19)
        for products in ([layer.product for layer in part.layers], way.sparse):
            way.products = products
            in_chunks(way, [x], [found])
            assert apart(found, model(x)[0]) < 1e-5


def test_the_quickest_is_correct(kernels, case):
    model, part, network = case
    with torch.no_grad():
        for count in (1, 20, 200):
            x, found = drawn(count, 37), torch.empty(count, 19)
            tuner = Tuner(network.constants)
            in_chunks(quickest(part, [x], 1, tuner, 1.0), [x], [found])
            assert apart(found, model(x)[0]) < 1e-5
            assert len(tuner.found) == 3
