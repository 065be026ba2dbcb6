"""An optimiser that is carried over trains the smaller model as it would have trained the masked one."""

import copy

import pytest
import torch
from export_kit import channel_masks, normal
from nets import mlp
from torch import nn

import prunery
from prunery.errors import CompactError

MAKERS = {
    "sgd": lambda p: torch.optim.SGD(p, 0.05, momentum=0.9, weight_decay=1e-3),
    "adam": lambda p: torch.optim.Adam(p, 0.01),
    "adamw amsgrad": lambda p: torch.optim.AdamW(p, 0.01, amsgrad=True),
}
X, Y = normal(16, 6).double(), torch.arange(16) % 3


def net():
    return nn.Sequential(nn.Linear(6, 10), nn.ReLU(), nn.Linear(10, 8), nn.Tanh(), nn.Linear(8, 3))


def train(model, optimizer, steps, masks=None):
    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(X), Y).backward()
        optimizer.step()
        if masks is not None:
            masks.apply_(model)


@pytest.mark.parametrize("name", MAKERS)
def test_training_goes_on_as_it_would_have(name):
    model = net().double()
    masks = channel_masks(model, X)
    masks.apply_(model)
    optimizer = MAKERS[name](model.parameters())
    with masks.enforce(optimizer, model):
        train(model, optimizer, 3)
        dense, dense_optimizer = copy.deepcopy((model, optimizer))
        small = prunery.compact(model, masks, X, optimizer=optimizer)
    train(small, optimizer, 5)
    train(dense, dense_optimizer, 5, masks)
    assert small[0].weight.shape == (5, 6)
    assert torch.allclose(small[0].weight, dense[0].weight[5:], atol=1e-12)
    assert torch.allclose(small[2].weight, dense[2].weight[4:, 5:], atol=1e-12)
    assert torch.allclose(small[4].bias, dense[4].bias, atol=1e-12)
    state = optimizer.state[small[2].weight]
    assert state
    assert all(v.shape == (4, 5) for v in state.values() if v.ndim)


def test_groups_keep_their_settings_and_new_biases_join_their_weight():
    model = nn.Sequential(nn.Linear(4, 6), nn.Sigmoid(), nn.Linear(6, 3, bias=False))
    model[0].weight.data[:4] = 0
    other = nn.Parameter(torch.ones(2))
    optimizer = torch.optim.SGD(
        [{"params": model[0].parameters(), "lr": 0.5}, {"params": [*model[2].parameters(), other], "lr": 0.1}]
    )
    small = prunery.compact(model, None, normal(2, 4), optimizer=optimizer)
    first, second = optimizer.param_groups
    assert [id(p) for p in first["params"]] == [id(p) for p in small[0].parameters()]
    assert [id(p) for p in second["params"]] == [id(small[2].weight), id(small[2].bias), id(other)]
    assert (first["lr"], second["lr"]) == (0.5, 0.1)


def test_state_follows_through_several_passes():
    model = mlp(4, 6, 8, 2)
    with torch.no_grad():
        model[2].weight[1], model[2].bias[1] = model[2].weight[6], model[2].bias[6]
        model[0].weight[1], model[0].bias[1] = model[0].weight[0], model[0].bias[0]
        model[2].weight[2], model[2].bias[2] = model[2].weight[0], model[2].bias[0]
        model[2].weight[2, :2] = model[2].weight[0, :2].flip(0)  # the same once the first two are one
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    for parameter in model.parameters():
        optimizer.state[parameter]["momentum_buffer"] = parameter.detach().clone()
    small = prunery.compact(model, None, normal(2, 4), optimizer=optimizer)
    assert [len(small[i].bias) for i in (0, 2)] == [5, 6]
    for parameter in (small[0].weight, small[0].bias, small[2].bias, small[4].bias):
        assert torch.equal(optimizer.state[parameter]["momentum_buffer"], parameter)
    assert optimizer.state[small[2].weight]["momentum_buffer"].shape == (6, 5)


def test_state_of_another_shape_is_refused_and_nothing_changes():
    model = mlp(6, 8, 3)
    model[0].weight.data[:4] = 0
    model[0].bias.data[:4] = 0
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    optimizer.state[model[0].weight]["rows"] = torch.ones(8)
    with pytest.raises(CompactError, match=r"'rows' of '0\.weight' has shape \(8,\)"):
        prunery.compact(model, None, normal(2, 6), optimizer=optimizer)
    assert {id(p) for p in optimizer.param_groups[0]["params"]} == {id(p) for p in model.parameters()}
    assert model[0].weight in optimizer.state
    with pytest.raises(CompactError, match="type int"):
        prunery.compact(model, None, normal(2, 6), optimizer=3)
