"""What enters a layer: copies, of all calls, without a trace."""

import pytest
import torch
from torch import nn

from prunery.errors import ModelError
from prunery.train.layer_inputs import captured


class Twice(nn.Module):
    """Calls one layer twice, changes its input in place, and never calls another."""

    def __init__(self):
        super().__init__()
        self.layer, self.idle, self.norm = nn.Linear(3, 3), nn.Linear(3, 3), nn.BatchNorm1d(3)

    def forward(self, x):
        x = self.norm(x) + 0
        y = self.layer(x)
        x.zero_()
        return self.layer(input=y)


def test_inputs_are_copies_of_all_calls():
    model, x = Twice().train(), torch.randn(4, 3)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    found = captured(model, ["layer", "layer.weight"], x)["layer"]
    first = model.eval().norm(x)
    assert torch.equal(found, torch.cat([first, model.layer(first)]).detach())
    assert not found.requires_grad
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert not model.layer._forward_pre_hooks


def test_modes_and_hooks_are_as_before_where_the_model_raises():
    model = Twice().train()
    with pytest.raises(RuntimeError):
        captured(model, ["layer"], torch.randn(4, 5))
    assert model.training
    assert not model.layer._forward_pre_hooks


@pytest.mark.parametrize(
    ("name", "words"),
    [("idle", "does not call it"), ("layr", "did you mean 'layer'"), ("weight", "no layer of that name")],
)
def test_layers_that_have_no_inputs(name, words):
    with pytest.raises(ModelError, match=words):
        captured(Twice(), [name], torch.randn(4, 3))


def test_a_model_that_is_one_layer():
    layer = nn.Linear(3, 2)
    assert captured(layer, ["weight"], torch.ones(1, 3))["weight"].shape == (1, 3)
