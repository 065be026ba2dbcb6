"""Pruning any model: layer kinds, ties, wrappers; no trace left behind; bad calls touch nothing."""

import copy
import pickle

import numpy as np
import pytest
import torch
from nets import ConvNet, Odd, Tied, batch, mlp
from torch import nn

import prunery
from prunery.errors import ChoiceError, EvidenceError, MasksError, ModelError, SparsityError

CRITERIA = ["random", "magnitude", "snip", "grasp", "synflow"]
BATCH = [batch((20,), 5)]


@pytest.mark.parametrize("criterion", CRITERIA)
@pytest.mark.parametrize("training", [True, False])
def test_scoring_leaves_no_trace(criterion, training):
    model = ConvNet().train(training)
    model.bn1.eval()
    model.conv2.weight.requires_grad_(False)
    model.head.weight.grad = torch.ones_like(model.head.weight)
    x, y = batch((3, 8, 8), 5)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    modes = [m.training for m in model.modules()]
    torch_state, numpy_state = torch.random.get_rng_state(), np.random.get_state()[1].copy()
    masks = prunery.prune(model, 0.5, criterion=criterion, batches=[(x, y)], rounds=2)
    assert torch.equal(torch.random.get_rng_state(), torch_state)
    assert np.array_equal(np.random.get_state()[1], numpy_state)
    assert [m.training for m in model.modules()] == modes
    assert torch.equal(model.head.weight.grad, torch.ones_like(model.head.weight))
    assert model.conv1.weight.grad is None
    assert not model.conv2.weight.requires_grad
    assert model.conv1.weight.requires_grad
    for name, value in model.state_dict().items():
        expected = torch.where(masks[name], before[name], 0.0) if name in masks else before[name]
        assert torch.equal(value, expected), name
    assert list(model.state_dict()) == list(before)
    assert not any(m._forward_hooks or m._backward_hooks or m._forward_pre_hooks for m in model.modules())


@pytest.mark.parametrize("criterion", CRITERIA)
def test_same_call_same_masks_and_seed_matters_for_random_only(criterion):
    def masks_of(seed):
        return prunery.prune(mlp(20, 30, 5), 0.6, criterion=criterion, batches=BATCH, rounds=2, seed=seed)

    first, second, other = masks_of(0), masks_of(0), masks_of(1)
    assert all(torch.equal(first[n], second[n]) for n in first)
    assert all(torch.equal(first[n], other[n]) for n in first) == (criterion != "random")


@pytest.mark.parametrize("criterion", CRITERIA)
def test_every_kind_of_layer(criterion):
    model = Odd()
    x, y = batch((4, 9), 7)
    names = [
        "conv1d.weight", "up.weight", "attention.in_proj_weight", "attention.out_proj.weight",
        "lstm.weight_ih_l0", "lstm.weight_hh_l0", "head.weight",
    ]  # fmt: skip
    masks = prunery.prune(model, 0.5, criterion=criterion, batches=[(x, y)], rounds=2)
    assert list(masks) == names
    assert masks.kept == masks.total - round(0.5 * masks.total)
    assert model(x).isfinite().all()


@pytest.mark.parametrize("criterion", CRITERIA)
def test_tied_weights_count_once(criterion):
    model = Tied()
    masks = prunery.prune(model, 0.5, criterion=criterion, batches=[batch((6,), 6)], rounds=2)
    assert masks.total == 36
    assert list(masks) == ["first.weight"]
    assert model.first.weight is model.second.weight
    assert int((model.second.weight == 0).sum()) == 18


def test_pruned_models_stay_ordinary():
    model = ConvNet()
    keys = list(model.state_dict())
    x, _ = batch((3, 8, 8), 5, n=2)
    prunery.prune(model, 0.5)
    assert list(model.state_dict()) == keys
    model.eval()
    expected = model(x)
    assert torch.equal(copy.deepcopy(model)(x), expected)
    assert torch.equal(pickle.loads(pickle.dumps(model))(x), expected)
    exported = torch.export.export(model, (x,)).module()
    assert torch.allclose(exported(x), expected, atol=1e-6)


def test_wrapped_models_take_the_same_masks():
    model = mlp(10, 10, 10)
    masks = prunery.prune(copy.deepcopy(model), 0.5)
    compiled = torch.compile(model, backend="eager")
    masks.apply_(compiled)
    assert int((model[0].weight == 0).sum()) == int((~masks["0.weight"]).sum())


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({"criterion": "magnitud"}, ChoiceError, "did you mean 'magnitude'"),
        ({"criterion": "snip"}, EvidenceError, "batches"),
        ({"criterion": "snip", "batches": iter(BATCH)}, EvidenceError, "list or a DataLoader"),
        ({"criterion": "snip", "batches": []}, EvidenceError, "at least one batch"),
        ({"criterion": "synflow"}, EvidenceError, "example"),
        ({"criterion": "grasp", "options": {"temprature": 1}}, ChoiceError, "did you mean 'temperature'"),
        ({"scope": "globl"}, ChoiceError, "did you mean 'global'"),
        ({"granularity": "filters"}, ChoiceError, "did you mean 'filter'"),
        ({"schedule": "one_sot"}, ChoiceError, "one_shot"),
        ({"rounds": 0}, SparsityError, "rounds"),
        ({"floor": 1.5}, SparsityError, "floor"),
        ({"budget": "ms"}, ChoiceError, "budget"),
    ],
)
def test_bad_calls_say_what_to_do_and_touch_nothing(arguments, error, says):
    model = mlp(20, 10, 5)
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(error, match=says):
        prunery.prune(model, 0.5, **arguments)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


def test_masks_of_another_model_are_refused():
    masks = prunery.prune(mlp(20, 10, 5), 0.5)
    with pytest.raises(MasksError, match="shape"):
        prunery.prune(mlp(20, 11, 5), 0.9, masks=masks)
    with pytest.raises(MasksError, match="no parameter"):
        masks.apply_(ConvNet())


def test_hidden_and_uninitialised_weights_are_named():
    model = mlp(4, 4, 4)
    nn.utils.parametrizations.weight_norm(model[0])
    with pytest.raises(ModelError, match="parametrization"):
        prunery.prune(model, 0.5)
    with pytest.raises(ModelError, match="not initialised"):
        prunery.prune(nn.Sequential(nn.LazyLinear(3)), 0.5)


class Caching(nn.Module):
    """A table made at the first call, states and counts as plain attributes, in lists and in mappings."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(6, 6), nn.Linear(6, 3)
        self.table, self.tables, self.seen, self.calls = None, {}, [], 0
        self.state = torch.zeros(6)

    def forward(self, x):
        self.calls += 1
        if self.table is None:
            self.table = self.tables[6] = torch.arange(1, 7, dtype=torch.float32)
        self.last = self.a(x) * self.table + self.state * self.tables[6]
        self.seen.append(self.last)
        self.state += 1
        return self.b(self.last)


@pytest.mark.parametrize("criterion", ["snip", "grasp", "synflow", "magnitude"])
def test_what_a_model_keeps_as_plain_attributes_is_put_back(criterion):
    model, (x, y) = Caching(), batch((6,), 3)
    masks = prunery.prune(model, 0.5, criterion=criterion, granularity="filter", batches=[(x, y)])
    assert (model.table, model.tables, model.seen, model.calls) == (None, {}, [], 0)
    assert not hasattr(model, "last")
    assert torch.equal(model.state, torch.zeros(6))
    assert model(x).dtype == torch.float32
    prunery.prune(model, 0.5, criterion=criterion, granularity="filter", batches=[(x, y)], masks=masks)
    assert model.calls == len(model.seen) == 1
    assert model.seen[0] is model.last
    assert torch.equal(model.state, torch.ones(6))


@pytest.mark.parametrize("criterion", ["snip", "grasp", "synflow"])
def test_models_and_data_made_in_inference_mode(criterion):
    with torch.inference_mode():
        model, (x, y) = mlp(6, 8, 3), batch((6,), 3)
    masks = prunery.prune(model, 0.5, criterion=criterion, batches=[(x, y)])
    with masks.enforce(torch.optim.SGD(mlp(6, 8, 3).parameters(), 0.1), model):
        pass
    assert masks.holds(model)
