"""A difference is found wherever it shows, rounding is none, and the operation is named."""

import copy

import numpy as np
import pytest
import torch
from export_kit import normal
from nets import mlp
from torch import nn

import prunery
from prunery.errors import CompactError
from prunery.export import compact as module
from prunery.export.agree import check
from prunery.export.parting import Stage
from prunery.graph.coupling import graph_of
from prunery.graph.shrink import Removal


def stages(before, after, example):
    nothing = np.zeros(0, np.int64)
    return [Stage(before, after, Removal(graph_of(before, example).flow, nothing), nothing)]


class Only(nn.Module):
    """A linear layer that does something else on some inputs only."""

    def __init__(self, when=None):
        super().__init__()
        self.fc, self.norm, self.when = nn.Linear(3, 3), nn.BatchNorm1d(3), when

    def forward(self, x):
        y = self.norm(self.fc(x))
        return y * 1.001 if self.when is not None and self.when(self, x) else y


CASES = {
    "the example": lambda m, x: x.max() == 5,
    "random inputs": lambda m, x: len(x) == 4 and x.abs().max() < 4.99,
    "a thousand times": lambda m, x: x.abs().max() > 1000,
    "twice the batch": lambda m, x: len(x) == 8,
    "in train mode": lambda m, x: m.training,
}


@pytest.mark.parametrize("name", CASES)
def test_a_difference_is_found(name):
    torch.manual_seed(0)
    one = Only()
    other = copy.deepcopy(one)
    other.when = CASES[name]
    example = normal(4, 3)
    example[0, 0] = 5
    with pytest.raises(CompactError, match=name):
        check(stages(one, other, example), example, training=True)
    other.when = None
    check(stages(one, other, example), example, training=True)


def test_training_is_compared_only_where_it_should_be():
    one = Only()
    other = copy.deepcopy(one)
    other.when = CASES["in train mode"]
    check(stages(one, other, normal(4, 3)), normal(4, 3), training=False)
    noisy = [nn.Sequential(nn.Dropout(0.5), m) for m in (one, other)]
    check(stages(*noisy, normal(4, 3)), normal(4, 3), training=True)


def test_rounding_is_no_difference():
    one = mlp(4, 64, 64, 3)
    other = copy.deepcopy(one)
    with torch.no_grad():
        other[4].weight.mul_(1 + 1e-7)
    check(stages(one, other, normal(4, 4)), normal(4, 4), training=True)

    class Cancels(nn.Module):
        """Its output is far smaller than what it is the difference of."""

        def __init__(self, order):
            super().__init__()
            self.order, self.w = order, nn.Parameter(torch.ones(1))

        def forward(self, x):
            a, b, c = x.new_tensor([1e8, -1e8, 1.0]) * self.w
            return x * ((a + b + c) if self.order else (a + (b + c)))

    check(stages(Cancels(True), Cancels(False), normal(4, 4)), normal(4, 4), training=True)


def test_a_model_that_raises_or_gives_other_shapes_is_refused():
    one = mlp(4, 8, 3)
    wrong = {"raises RuntimeError": mlp(5, 8, 3), "shapes": mlp(4, 8, 2)}
    for message, other in wrong.items():
        with pytest.raises(CompactError, match=message):
            check(stages(one, other, normal(2, 4)), normal(2, 4), training=False)


def test_whole_numbers_and_what_is_not_finite_must_be_equal():
    class Argmax(nn.Module):
        def __init__(self, shift, scale=1.0):
            super().__init__()
            self.fc, self.shift, self.scale = nn.Linear(3, 3), shift, scale
            nn.init.eye_(self.fc.weight)
            nn.init.zeros_(self.fc.bias)

        def forward(self, x):
            x = self.fc(x)
            return (x.argmax(1) + self.shift), x / self.scale

    for other, message in ((Argmax(1), "whole numbers"), (Argmax(0, 0.0), "not a number")):
        with pytest.raises(CompactError, match=message):
            check(stages(Argmax(0), other, normal(2, 3)), normal(2, 3), training=False)


def test_the_first_operation_that_differs_is_named(monkeypatch):
    model = mlp(4, 8, 6, 3)
    model[2].weight.data[:, :4] = 0
    cut = module._cut

    def wrong(*args):
        small = cut(*args)
        small[2].weight.data.mul_(1.5)
        return small

    monkeypatch.setattr(module, "_cut", wrong)
    with pytest.raises(CompactError, match=r"they part at addmm in '2'"):
        prunery.compact(model, None, normal(2, 4))


def test_constants_are_held_back_where_they_cannot_be_folded(monkeypatch):
    model = nn.Sequential(nn.Linear(4, 6), nn.Sigmoid(), nn.Linear(6, 3))
    model[0].weight.data[:4] = 0
    model[2].weight.data[:, 5] = 0
    fold = module.fold_

    def wrong(edited, plan):
        made = fold(edited, plan)
        if plan.folds:
            edited[2].bias.data += 1
        return made

    monkeypatch.setattr(module, "fold_", wrong)
    done = module.compacted(model, None, normal(2, 4))
    assert (done.folded, done.removed) == (0, {"0.weight": 1})
    assert "the outputs differ by 1" in done.held_back
