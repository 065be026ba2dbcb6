"""The greatest set of units that cannot matter, on networks where it can be counted by hand."""

import numpy as np
import torch
from export_kit import normal
from nets import mlp
from torch import nn

from prunery.export.edit import registered
from prunery.export.reader import reads_of
from prunery.export.removable import Options, by_group, never_read, plan_of
from prunery.graph.coupling import graph_of


def plan(model, example, options=None):
    graph = graph_of(model, example)
    return plan_of(graph, reads_of(graph, model, registered(model)), options or Options())


def counts(plan):
    return {group.name: count for group, count in by_group(plan.graph, plan.removed)}


def test_uses_are_followed_to_the_end():
    model = mlp(4, 6, 6, 6, 2)
    with torch.no_grad():
        model[6].weight[:, :3] = 0  # the third layer's first three units are not used
        model[4].weight[3:, :2] = 0  # the second's first two are used by those alone
        model[2].weight[2:, 5] = 0  # and the first's last one by these alone
    assert counts(plan(model, normal(2, 4))) == {"0.weight": 1, "2.weight": 2, "4.weight": 3}


def test_a_residual_unit_goes_only_if_nobody_reads_it():
    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c = nn.Linear(3, 4), nn.Linear(4, 4), nn.Linear(4, 2)

        def forward(self, x):
            x = self.a(x)
            return self.c(x + torch.relu(self.b(x)))

    model = Residual()
    with torch.no_grad():
        model.c.weight[:, :2] = 0
    assert counts(plan(model, normal(2, 3))) == {"a.weight": 0}
    with torch.no_grad():
        model.b.weight[2:, 0] = 0  # now unit 0 is used by units 0 and 1 alone, and unit 1 by all
    assert counts(plan(model, normal(2, 3))) == {"a.weight": 0}
    with torch.no_grad():
        model.b.weight[2:, 1] = 0
    assert counts(plan(model, normal(2, 3))) == {"a.weight": 2}


def test_constants_count_only_where_they_are_folded():
    model = nn.Sequential(nn.Linear(4, 6), nn.Sigmoid(), nn.Linear(6, 3))
    model[0].weight.data[:4] = 0
    assert counts(plan(model, normal(2, 4))) == {"0.weight": 4}
    assert counts(plan(model, normal(2, 4), Options(fold=False, merge=False))) == {"0.weight": 0}


def test_one_constant_stands_for_the_others_where_none_can_be_folded():
    model = nn.Sequential(nn.Conv2d(3, 6, 3), nn.Sigmoid(), nn.Conv2d(6, 3, 3, padding=1))
    with torch.no_grad():
        model[0].weight[:4] = 0
        model[0].bias[:4] = torch.tensor([1.0, 4.0, 2.0, 3.0])
    found = plan(model, normal(2, 3, 8, 8))
    assert counts(found) == {"0.weight": 3}
    roots = found.graph.free[0].roots
    assert found.merged == {int(roots[i]): int(roots[1]) for i in (0, 2, 3)}  # the one farthest from 0
    assert counts(plan(model, normal(2, 3, 8, 8), Options(merge=False))) == {"0.weight": 0}


def test_a_unit_that_is_read_in_two_places_needs_both():
    class Fork(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c = nn.Linear(3, 4), nn.Linear(4, 2), nn.Linear(4, 2)

        def forward(self, x):
            x = torch.tanh(self.a(x))
            return self.b(x), self.c(x)

    model = Fork()
    model.b.weight.data[:, :3] = 0
    model.c.weight.data[:, 1:] = 0
    assert counts(plan(model, normal(2, 3))) == {"a.weight": 2}


def test_a_bias_that_others_use_takes_nothing_in():
    class Shared(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c = nn.Linear(3, 4), nn.Linear(4, 2), nn.Linear(3, 2)
            self.c.bias = self.b.bias

        def forward(self, x):
            return self.b(torch.sigmoid(self.a(x))), self.c(x)

    model = Shared()
    model.a.weight.data[:2] = 0
    assert counts(plan(model, normal(2, 3))) == {"a.weight": 1}  # one stands for the other
    assert plan(model, normal(2, 3)).merged
    model.c.bias = nn.Parameter(torch.ones(2))
    assert counts(plan(model, normal(2, 3))) == {"a.weight": 2}


def test_one_weight_used_twice_folds_only_what_is_the_same_both_times():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(3, 4), nn.Linear(4, 2)

        def forward(self, x):
            x = self.a(x)
            return self.b(torch.sigmoid(x)) + self.b(torch.cos(x) / 2)

    model = Twice()
    with torch.no_grad():
        model.a.weight[:2] = 0
        model.a.bias[0], model.a.bias[1] = 0, 1  # 0.5 both times; two values
    graph = graph_of(model, normal(2, 3))
    read = reads_of(graph, model, registered(model))[1]
    assert read.known.tolist() == [True, False, False, False]
    assert read.folds
    assert counts(plan(model, normal(2, 3))) == {"a.weight": 1}


def test_a_whole_group_keeps_one():
    model = mlp(4, 5, 5, 2)
    model[4].weight.data.zero_()
    found = plan(model, normal(2, 4))
    assert counts(found) == {"0.weight": 4, "2.weight": 4}
    assert len(found.idle) == 2
    assert np.array_equal(found.gone, np.concatenate([found.removed, found.idle]))


def test_what_is_all_there_is_along_an_axis_stays():
    class AllOne(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.norm = nn.GRU(3, 4, batch_first=True, bidirectional=True), nn.GroupNorm(2, 8)
            self.out = nn.Linear(8, 2)

        def forward(self, x):
            return self.out(self.norm(self.layer(x)[0].transpose(1, 2)).transpose(1, 2))

    found = plan(AllOne(), normal(2, 5, 3))
    assert len(found.gone) == 0


def test_what_is_never_read_counts_no_constants():
    model = nn.Sequential(nn.Linear(4, 6), nn.Sigmoid(), nn.Linear(6, 3))
    model[0].weight.data[:4] = 0
    model[2].weight.data[:, 5] = 0
    graph = graph_of(model, normal(2, 4))
    gone = never_read(graph, reads_of(graph, model, registered(model)))
    assert gone.tolist() == [int(graph.free[0].roots[5])]


def test_heads_of_attention_that_go_have_no_values():
    torch.manual_seed(0)

    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.q, self.k, self.v, self.o = (nn.Linear(8, 8) for _ in range(4))
            self.heads = 4

        def forward(self, x):
            q, k, v = (
                f(x).view(*x.shape[:2], self.heads, 2).transpose(1, 2) for f in (self.q, self.k, self.v)
            )
            y = nn.functional.scaled_dot_product_attention(q, k, v)
            return self.o(y.transpose(1, 2).flatten(2))

    model = Attention()
    model.v.weight.data[:4], model.v.bias.data[:4] = 0, 0
    found = plan(model, normal(2, 3, 8))
    assert [group.kind for group in found.graph.free] == ["head"]
    assert list(counts(found).values()) == [2]
