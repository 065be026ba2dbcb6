"""The trial: sizes that a module writes down itself, and what it cannot do without."""

import numpy as np
import pytest
import torch
from graph_nets import built
from torch import nn
from torch.nn import functional

from prunery.graph.coupling import graph_of
from prunery.graph.shrink import Removal, shrunk
from prunery.graph.trial import _digits, _unequal


class Base(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Linear(5, 12), nn.Linear(12, 4)
        self.heads, self.shape, self.width = 3, [4, 3], 12


class Listed(Base):
    def forward(self, x):
        y = self.one(x).view(len(x), *self.shape).sum(2).repeat_interleave(3, 1)
        return self.two(y)


class Plain(Base):
    def forward(self, x):
        return self.two(self.one(x).view(-1, self.width))


class Literal(Base):
    def forward(self, x):
        return self.two(self.one(x).view(-1, 12))


class Scaled(Base):
    def forward(self, x):
        y = self.one(x)
        return self.two(y / y.shape[1])


class Branch(Base):
    def forward(self, x):
        y = self.one(x)
        return self.two(functional.relu(y) if y.shape[1] >= 12 else y)


class Swapped(nn.Module):
    """Two layers of one size whose results take each other's shape."""

    def __init__(self):
        super().__init__()
        self.one, self.two, self.fc = nn.Linear(5, 8), nn.Linear(8, 8), nn.Linear(8, 3)

    def forward(self, x):
        y = self.one(x)
        return self.fc(self.two(y).reshape(y.shape))


@pytest.mark.parametrize(
    ("kind", "free", "why"),
    [
        (Listed, True, ""),
        (Plain, True, ""),
        (Literal, False, "view (test_trial.py:"),
        (Scaled, False, "a number in it depends on how many channels there are"),
        (Branch, False, "it does t instead"),
        (Swapped, False, "shape '[2, "),
    ],
)
def test_what_a_model_can_do_without(kind, free, why):
    model = built(kind)
    graph = graph_of(model, torch.ones(2, 5))
    group = graph.groups[0]
    assert bool(not group.pinned) == free, group
    assert why in "; ".join(group.pinned)
    if free:
        small = shrunk(model, Removal(graph.flow, group.roots[:1]), graph.widths)
        assert small(torch.ones(3, 5)).shape == (3, 4)
        assert (small.shape, small.width) in (([3, 3], 12), ([4, 3], 11))
        assert (model.shape, model.width) == ([4, 3], 12)


def test_no_two_kinds_lose_the_same_number():
    for sizes in ([3, 4, 5], [2, 3, 8, 8, 8], [16] * 10, [4] * 40 + [5] * 30, [2] * 9):
        turns = [_unequal(sizes, [{1}] * len(sizes))[0]]
        assert all(0 < count < size for count, size in zip(turns[0], sizes, strict=True))
        if len(set(turns[0])) < len(sizes):
            turns += [_digits(sizes, place) for place in range(8)]
        for i, size in enumerate(sizes):
            same = [j for j in range(i) if sizes[j] == size]
            assert all(any(turn[i] != turn[j] for turn in turns) for j in same)
            assert all(0 <= turn[i] < size for turn in turns)


def test_unequal_numbers_in_one_turn_where_there_is_room():
    counts, clash = _unequal([64, 64, 64, 128, 128, 256], [{1}] * 6)
    assert len(set(counts)) == 6
    assert not clash
    assert _unequal([2, 2], [{1}] * 2) == ([1, 1], True)


def test_unequal_numbers_of_places():
    for seed in range(20):
        (one, other), clash = _unequal([4, 6], [{1}, {1, 2}], seed)
        assert not clash
        assert one not in (other, 2 * other)


def test_removal_says_what_is_left():
    model = built(Plain)
    graph = graph_of(model, torch.ones(2, 5))
    group = graph.free[0]
    removal = Removal(graph.flow, group.roots[[0, 5]])
    assert removal.cut("one.weight", model.one.weight).shape == (10, 5)
    assert torch.equal(
        removal.cut("two.weight", model.two.weight), model.two.weight[:, [1, 2, 3, 4, 6, 7, 8, 9, 10, 11]]
    )
    assert removal.cut("two.bias", model.two.bias) is model.two.bias
    assert np.flatnonzero(~removal.kept(graph.flow.axes["one.bias", 0])).tolist() == [0, 5]
    shapes = [removal.shape(call.output) for call in graph.program.calls if call.name == "addmm"]
    assert shapes == [(2, 10), (2, 4)]
