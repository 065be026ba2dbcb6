"""Arguments that cannot be: each a PruneryError that says so, and the model stays as it was."""

import copy

import pytest
import torch
from nets import mlp
from torch import nn

import prunery

X, Y = torch.randn(8, 6, generator=torch.Generator().manual_seed(0)), torch.arange(8) % 3
PAIR = [(X, Y)]
CASES = {
    "device": ({"device": "nodev"}, "device 'nodev'"),
    "batches": ({"criterion": "snip", "batches": 5}, "'int' object is not iterable"),
    "batch": ({"criterion": "snip", "batches": [5]}, "criterion: it needs batches of .x, y. or dicts"),
    "numpy labels": ({"criterion": "snip", "batches": [(X, Y.numpy())]}, "[Pp]ass loss="),
    "float labels": ({"criterion": "snip", "batches": [(X, Y.float())]}, "[Pp]ass loss="),
    "labels beyond": ({"criterion": "snip", "batches": [(X, Y + 9)]}, "IndexError"),
    "width": ({"criterion": "snip", "batches": [(X[:, :3], Y)]}, "shapes cannot be multiplied"),
    "example": ({"criterion": "synflow", "example": 3}, "Check example"),
    "vector loss": ({"criterion": "snip", "batches": PAIR, "loss": lambda o, y: o}, "a loss of one number"),
    "number loss": ({"criterion": "snip", "batches": PAIR, "loss": lambda o, y: 1.0}, "a loss of one number"),
    "exclude": ({"exclude": 3}, "no list of patterns"),
    "seed": ({"seed": "a"}, "Give a whole number"),
    "masks": ({"masks": {"0.weight": 1}}, "of type dict"),
    "options": ({"options": [1]}, "they are no mapping"),
}


@pytest.mark.parametrize("case", CASES)
def test_each_is_said_and_nothing_is_pruned(case):
    arguments, said = CASES[case]
    model = mlp(6, 5, 3)
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(prunery.PruneryError, match=said):
        prunery.prune(model, 0.5, **arguments)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_class_is_no_model():
    with pytest.raises(
        prunery.PruneryError, match=r"Linear is of type type\. Give an instance of torch.nn.Module"
    ):
        prunery.prune(nn.Linear, 0.5)


def test_weights_on_the_meta_device():
    with pytest.raises(prunery.PruneryError, match="meta device"):
        prunery.prune(nn.Linear(3, 3, device="meta"), 0.5)


def test_what_a_model_raises_is_the_cause():
    class Broken(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(6, 3)

        def forward(self, x):
            raise RuntimeError("no such luck")

    with pytest.raises(prunery.PruneryError, match="no such luck") as raised:
        prunery.prune(Broken(), 0.5, criterion="snip", batches=PAIR)
    assert isinstance(raised.value.__cause__, RuntimeError)
