"""Sparse convolutions against torch: shapes, strides, paddings and variants drawn at random."""

from __future__ import annotations

import random

import pytest
import torch
from runtime_kit import apart, drawn, pruned
from torch import nn

from prunery.runtime import native, tune
from prunery.runtime.layers import layers_of
from prunery.runtime.placed import Placed
from prunery.runtime.plan import Part, Plan
from prunery.runtime.program import take_apart
from prunery.runtime.tune import Tuner

CASES = 14


class Net(nn.Module):
    """A convolution with what may be fused into it."""

    def __init__(self, draw):
        super().__init__()
        self.conv = nn.Conv2d(**draw["conv"])
        self.residual, self.act = draw["residual"], draw["act"]

    def forward(self, x, y=None):
        out = self.conv(x)
        out = out + y if self.residual else out
        return {"": lambda t: t, "relu": torch.relu, "clip": lambda t: t.clamp(-0.5, 0.7)}[self.act](out)


def case(number):
    """A convolution, its input's height and width, and what is fused into it."""
    r = random.Random(number)
    kernel = r.choice([(1, 1), (3, 3), (3, 3), (5, 5), (1, 3), (2, 4), (7, 7)])
    dilation = r.choice([1, 1, 2])
    conv = {
        "in_channels": r.choice([1, 3, 17, 40]),
        "out_channels": r.choice([1, 8, 33]),
        "kernel_size": kernel,
        "stride": r.choice([1, 1, 2, 3]),
        "padding": (r.randint(0, kernel[0] // 2 + 1), r.randint(0, kernel[1] // 2 + 1)),
        "dilation": dilation,
        "bias": r.random() < 0.7,
    }
    least = max(dilation * (size - 1) + 1 for size in kernel)
    sizes = [s for s in (1, 2, 3, 4, 5, 7, 8, 9, 14, 16, 20, 28, 32, 33) if s >= least]
    act, residual = r.choice(["", "relu", "clip"]), r.random() < 0.4
    shape = (r.choice(sizes), r.choice(sizes))
    return {"conv": conv, "shape": shape, "act": act, "residual": residual, "r": r}


def plan_of(model, inputs, monkeypatch, r, lanes):
    """A plan of kernels alone, each of a variant drawn at random."""
    every = tune.variants
    monkeypatch.setattr(tune, "variants", lambda *args: [r.choice(every(*args))])
    network = layers_of(take_apart(model, tuple(inputs)))
    assert [layer.kind for layer in network.layers] == ["conv"]
    shapes = {number: shape[1:] for number, shape in network.shapes.items()}
    part = Part(network.layers, network.inputs, network.outputs, shapes)
    plan = Plan(part, 8 if lanes == 1 else lanes, 1, Tuner(network.constants, force=True), lanes)
    return Placed(plan, part.inputs)


def run(plan, inputs, made):
    inputs = [t.contiguous() for t in inputs]
    plan.run([t.data_ptr() for t in inputs], [made.data_ptr()], len(made))


@pytest.mark.parametrize("number", range(CASES))
def test_as_in_torch(number, isa, monkeypatch):
    draw = case(number)
    with torch.no_grad():
        model = pruned(Net(draw), draw["r"].choice([0.0, 0.5, 0.9]), seed=number)
        x = drawn(5, draw["conv"]["in_channels"], *draw["shape"], seed=number)
        shape = nn.functional.conv2d(
            x, model.conv.weight, None, model.conv.stride, model.conv.padding, model.conv.dilation
        ).shape
        inputs = [x, drawn(*shape, seed=1)] if draw["residual"] else [x]
        expected = model(*inputs)
        for lanes in (1, native.ISAS[isa].lanes)[: 1 if shape[2] * shape[3] > 64 else 2]:
            plan = plan_of(model, inputs, monkeypatch, draw["r"], lanes)
            found = torch.full_like(expected, torch.nan)
            for _ in range(2):  # the second time on used buffers
                run(plan, inputs, found)
            assert apart(found, expected) < 1e-5, (draw, plan.plan.tuner.found)
            one = torch.empty_like(expected[:1])
            run(plan, [t[3:4] for t in inputs], one)
            assert apart(one, expected[3:4]) < 1e-5
