"""Measuring cost leaves no trace, and what is shown of it."""

import copy

import pytest
import torch
from torch import nn

import prunery
from prunery.errors import ModelError
from prunery.measure.cost import Amount, cost, training_macs
from prunery.models.build import build


def trace_of(model):
    return {
        "state": {name: t.clone() for name, t in model.state_dict().items()},
        "grads": [None if p.grad is None else p.grad.clone() for p in model.parameters()],
        "modes": [m.training for m in model.modules()],
        "needs": [p.requires_grad for p in model.parameters()],
        "hooks": [(len(m._forward_hooks), len(m._forward_pre_hooks)) for m in model.modules()],
        "random": torch.get_rng_state(),
        "fast": torch.backends.mha.get_fastpath_enabled(),
        "ids": [id(t) for t in (*model.parameters(), *model.buffers())],
    }


def equal(a, b):
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(equal(a[k], b[k]) for k in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(equal, a, b))
    return a == b


@pytest.mark.parametrize("masked", [False, True])
def test_nothing_about_the_model_changes(masked):
    model = build("resnet20", seed=0)
    model.fc.register_forward_hook(lambda *_: None)
    model.layer1.eval()
    model.conv1.weight.requires_grad_(False)
    x = torch.randn(4, 3, 32, 32)
    model(x).sum().backward()
    masks = {n: torch.rand_like(p) > 0.9 for n, p in model.named_parameters() if p.ndim > 1}
    before, seen = trace_of(model), copy.deepcopy(masks)
    cost(model, x, masks if masked else None)
    assert equal(trace_of(model), before)
    assert equal(masks, seen)


class Restless(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 4)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x):
        self.calls += 1
        x = nn.functional.dropout(self.fc(x), training=True)
        raise RuntimeError("no")


def test_nothing_changes_after_an_error_either():
    model, x = Restless(), torch.randn(2, 4)
    before = trace_of(model)
    with pytest.raises(ModelError, match="raised RuntimeError"):
        cost(model, x)
    assert equal(trace_of(model), before)


def test_under_inference_mode_and_no_grad():
    model, x = build("lenet300", seed=0), torch.randn(1, 1, 28, 28)
    masks = {"fc2.weight": torch.zeros(100, 300, dtype=torch.bool)}
    for context in (torch.inference_mode, torch.no_grad):
        with context():
            assert cost(model, x, masks).params.effective == 0


def test_inside_the_wrapper_of_torch_compile():
    model = build("lenet300", seed=0)
    masks = {"fc1.weight": torch.zeros(300, 784, dtype=torch.bool)}
    found = cost(torch.compile(model), torch.randn(1, 1, 28, 28), masks)
    assert found.params == Amount(266_200, 31_000, 0)
    assert [layer.name for layer in found.layers] == ["fc1.weight", "fc2.weight", "fc3.weight"]
    assert cost(nn.DataParallel(model), torch.randn(1, 1, 28, 28)).layers[0].name == "fc1.weight"


def test_training_macs_are_three_dense_passes():
    found = cost(nn.Linear(4, 3), torch.randn(1, 4), {"weight": torch.zeros(3, 4, dtype=torch.bool)})
    assert found.macs == Amount(12, 0, 0)
    assert training_macs(found, 1000) == 36_000


def test_the_table_shows_every_layer_and_the_total():
    model, x = build("lenet300", seed=0), torch.randn(1, 1, 28, 28)
    lines = str(cost(model, x)).splitlines()
    assert lines[0].split() == ["layer", "shape", "weights", "dense", "MACs", "dense"]
    assert lines[1].split() == ["fc1.weight", "300x784", "235,200", "235,200"]
    assert lines[4].split() == ["total", "266,200", "266,200"]
    assert lines[5] == "and 410 other parameters (biases, norms, ...)"
    masks = prunery.prune(model, 0.9)
    lines = str(cost(model, x, masks)).splitlines()
    assert lines[4].split()[:3] == ["total", "266,200", "26,620"]
    assert len({len(line) for line in lines[:5]}) == 1
