"""A rule of one's own, and operations without one."""

import pytest
import torch
from graph_nets import built
from torch import Tensor, nn

from prunery.errors import ModelError
from prunery.graph.coupling import graph_of
from prunery.graph.flow import rule


@torch.library.custom_op("prunery_test::reversed_sum", mutates_args=())
def reversed_sum(x: Tensor, y: Tensor) -> Tensor:
    return x + y.flip(0)


@reversed_sum.register_fake
def _(x, y):
    return torch.empty_like(x)


@torch.library.custom_op("prunery_test::doubled", mutates_args=())
def doubled(x: Tensor) -> Tensor:
    return x * 2


class Custom(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.two, self.fc = nn.Linear(5, 8), nn.Linear(5, 8), nn.Linear(8, 3)

    def forward(self, x):
        return self.fc(torch.ops.prunery_test.reversed_sum(self.one(x), self.two(x)))


def test_without_a_rule_channels_stay_and_with_one_they_go():
    model, x = built(Custom), torch.ones(2, 5)
    graph = graph_of(model, x)
    assert not graph.free
    assert (
        "there is no rule for it: prunery_test::reversed_sum (test_own_rule.py:" in graph.groups[0].pinned[0]
    )

    @rule.add(ops="prunery_test::reversed_sum prunery_test::another")
    def reversed_sum_rule(flow, call):
        operands = [flow.operand(tensor) for tensor in call.args]
        flow.set(call.output, flow.joined(call, operands, call.output.shape))

    free = graph_of(model, x).free
    assert [group.name for group in free] == ["one.weight"]
    assert {(s.name, s.axis) for s in free[0].slices} == {
        ("one.weight", 0),
        ("one.bias", 0),
        ("two.weight", 0),
        ("two.bias", 0),
        ("fc.weight", 1),
    }


def test_an_operation_that_needs_values_is_run_with_them():
    class Doubled(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two, self.fc = nn.Linear(5, 8), nn.Linear(8, 6), nn.Linear(6, 3)

        def forward(self, x):
            return self.fc(torch.relu(self.two(torch.ops.prunery_test.doubled(self.one(x)))))

    graph = graph_of(built(Doubled), torch.ones(2, 5))
    assert graph.program.has_values
    assert [group.name for group in graph.free] == ["two.weight"]


def test_a_model_that_cannot_be_called_is_an_error():
    with pytest.raises(ModelError, match="raised RuntimeError on the example"):
        graph_of(built(Custom), torch.ones(2, 7))
