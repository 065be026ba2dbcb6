"""Parts that run in train mode alone: they lose the channels that feed them, or keep these."""

import pytest
import torch
from torch import nn

import prunery
from prunery.export.compact import compacted
from prunery.graph.coupling import graph_of


class Helped(nn.Module):
    """A second head that only train mode runs. kind: what it does."""

    def __init__(self, kind="plain"):
        super().__init__()
        self.kind = kind
        self.one, self.two = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3)
        self.helper, self.fc = nn.Conv2d(8, 4, 1), nn.Linear(8, 5)

    def forward(self, x):
        x = self.one(x).relu()
        y = self.fc(self.two(x).relu().mean((2, 3)))
        if not self.training:
            return y
        if self.kind == "raises" and len(x) < 9:
            raise ValueError("too few examples to train on")
        if self.kind == "width":
            x = x.reshape(-1, 8, *x.shape[2:])
        return y, self.helper(x).mean((2, 3))


X = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def built(kind="plain"):
    torch.manual_seed(0)
    return Helped(kind).eval()


def test_a_part_of_train_mode_reads_the_channels_that_go():
    model = built()
    graph = graph_of(model, X)
    assert [(g.name, g.count) for g in graph.free] == [("one.weight", 8), ("two.weight", 8)]
    assert ("helper.weight", 1) in {(s.name, s.axis) for s in graph.free[0].slices}
    assert {g.name: g.pinned for g in graph.groups}["helper.weight"] == ("it leaves the model",)
    assert not model.training
    masks = prunery.prune(model, 0.5, granularity="channel", example=X)
    done = compacted(model, masks, X)
    assert done.exact_in_training
    assert done.model.helper.weight.shape == (4, 4, 1, 1)
    for one, other in zip(model.train()(X), done.model.train()(X), strict=True):
        torch.testing.assert_close(one, other)


def test_what_only_eval_mode_can_do_without_still_trains():
    model = built()
    with torch.no_grad():
        model.two.weight[:, 3] = 0
    done = compacted(model, None, X)
    assert (done.removed, done.exact_in_training) == ({"one.weight": 1}, False)
    torch.testing.assert_close(done.model.eval()(X), model(X))
    assert [t.shape for t in done.model.train()(X)] == [(2, 5), (2, 4)]


def test_a_width_that_is_written_down_in_it_is_tried():
    graph = graph_of(built("width"), X)
    assert [g.name for g in graph.free] == ["two.weight"]
    reasons = {g.name: g.pinned for g in graph.groups}["one.weight"]
    assert reasons[0].startswith("without some of them")
    assert "test_training_parts.py" in reasons[0]


def test_where_train_mode_cannot_run_its_part_stays():
    graph = graph_of(built("raises"), X)
    assert {g.pinned for g in graph.groups if g.name == "helper.weight"} == {
        ("it takes no part in the run on this example",)
    }


@pytest.mark.parametrize("kind", ["plain", "width"])
def test_the_smaller_model_runs_in_both_modes(kind):
    model = built(kind)
    masks = prunery.prune(model, 0.5, granularity="channel", example=X)
    small = prunery.compact(model, masks, X)
    assert small.two.weight.shape[0] == 4
    assert len(small.train()(X)) == 2
