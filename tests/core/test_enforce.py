"""enforce: after every step each removed weight is exactly 0, in any loop; nothing is left behind."""

import copy
import pickle

import pytest
import torch
from nets import ConvNet, Tied, batch, mlp
from torch import nn

import prunery

OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, weight_decay=1e-2),
    "sgd nesterov": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, nesterov=True, foreach=True),
    "sgd fused": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, fused=True),
    "adam": lambda p: torch.optim.Adam(p, 1e-2, weight_decay=1e-2),
    "adamw fused": lambda p: torch.optim.AdamW(p, 1e-2, fused=True),
    "adamw foreach": lambda p: torch.optim.AdamW(p, 1e-2, foreach=True),
    "rmsprop": lambda p: torch.optim.RMSprop(p, 1e-2, momentum=0.9),
    "adagrad": lambda p: torch.optim.Adagrad(p, 1e-2),
    "rprop": lambda p: torch.optim.Rprop(p, 1e-2),
}


def zeros(model, masks):
    return all((model.get_parameter(n)[~m] == 0).all() for n, m in masks.items())


def step(model, optimizer, x, y):
    optimizer.zero_grad()
    nn.functional.cross_entropy(model(x), y).backward()
    optimizer.step()


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_removed_weights_are_zero_after_every_step(name):
    model = mlp(20, 30, 10, 5)
    x, y = batch((20,), 5)
    optimizer = OPTIMIZERS[name](model.parameters())
    for _ in range(3):  # momentum points at weights that will be removed
        step(model, optimizer, x, y)
    masks = prunery.prune(model, 0.8)
    start = copy.deepcopy(model.state_dict())
    with masks.enforce(optimizer, model):
        for _ in range(5):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            assert all((model.get_parameter(n).grad[~m] == 0).all() for n, m in masks.items())
            optimizer.step()
            assert zeros(model, masks)
    assert not torch.equal(model[0].weight, start["0.weight"])
    assert (model[0].weight[masks["0.weight"]] != 0).all()


def test_kept_weights_train_as_a_dense_loop_with_masked_weights_would():
    model = mlp(20, 30, 5)
    masks = prunery.prune(model, 0.5)
    other = copy.deepcopy(model)
    x, y = batch((20,), 5)
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    plain = torch.optim.SGD(other.parameters(), 0.1, momentum=0.9)
    with masks.enforce(optimizer, model):
        for _ in range(4):
            step(model, optimizer, x, y)
    for _ in range(4):
        plain.zero_grad()
        nn.functional.cross_entropy(other(x), y).backward()
        for name, mask in masks.items():
            other.get_parameter(name).grad.mul_(mask)
        plain.step()
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True))


def test_nan_gradients_do_not_reach_removed_weights():
    model = mlp(20, 30, 5)
    masks = prunery.prune(model, 0.5)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with masks.enforce(optimizer, model):
        (model(torch.full((2, 20), torch.nan))).sum().backward()
        assert all((model.get_parameter(n).grad[~m] == 0).all() for n, m in masks.items())
        optimizer.step()
        assert zeros(model, masks)


def test_clipping_and_accumulation_see_masked_gradients():
    model = mlp(20, 30, 5)
    masks = prunery.prune(model, 0.9, scope="layer")
    x, y = batch((20,), 5)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with masks.enforce(optimizer, model):
        for part in (slice(0, 12), slice(12, 24)):
            nn.functional.cross_entropy(model(x[part]), y[part]).backward()
        norm = nn.utils.clip_grad_norm_(model.parameters(), 1e9)
    expected = torch.stack([p.grad.square().sum() for p in model.parameters()]).sum().sqrt()
    assert torch.allclose(norm, expected)
    assert all((model.get_parameter(n).grad[~m] == 0).all() for n, m in masks.items())


def test_gradient_scaler_sees_masked_gradients_and_skips_steps():
    model = mlp(20, 30, 5)
    masks = prunery.prune(model, 0.5)
    x, y = batch((20,), 5)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    with masks.enforce(optimizer, model):
        for inputs in (x, torch.full_like(x, torch.inf), x):
            optimizer.zero_grad()
            scaler.scale(nn.functional.cross_entropy(model(inputs), y)).backward()
            scaler.unscale_(optimizer)
            assert all((model.get_parameter(n).grad[~m] == 0).all() for n, m in masks.items())
            scaler.step(optimizer)
            scaler.update()
            assert zeros(model, masks)
    assert all(p.isfinite().all() for p in model.parameters())


def test_everything_is_restored_on_exit_even_after_an_error():
    model = mlp(20, 30, 5)
    masks = prunery.prune(model, 0.5)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    x, y = batch((20,), 5)
    for error in (None, RuntimeError):
        try:
            with masks.enforce(optimizer, model):
                step(model, optimizer, x, y)
                if error:
                    raise error
        except RuntimeError:
            pass
        assert not optimizer._optimizer_step_post_hooks
        assert not optimizer._optimizer_step_pre_hooks
        assert not any(p._post_accumulate_grad_hooks for p in model.parameters())
    step(model, optimizer, x, y)
    assert not zeros(model, masks)


def test_weights_given_back_their_values_are_zero_from_entry():
    model = mlp(20, 30, 5)
    fresh = copy.deepcopy(model)
    masks = prunery.prune(model, 0.5)
    with masks.enforce(torch.optim.SGD(fresh.parameters(), 0.1), fresh):
        assert zeros(fresh, masks)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_other_precisions(dtype):
    model = mlp(20, 30, 5, dtype=dtype)
    masks = prunery.prune(model, 0.5)
    x, y = batch((20,), 5)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    with masks.enforce(optimizer, model):
        step(model, optimizer, x.to(dtype), y)
        assert zeros(model, masks)


def test_models_under_enforcement_stay_ordinary():
    model = ConvNet().to(memory_format=torch.channels_last)
    x, y = batch((3, 8, 8), 5)
    masks = prunery.prune(model, 0.5, granularity="filter", scope="layer", example=x)
    keys = list(model.state_dict())
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    compiled = torch.compile(model, backend="eager")
    with masks.enforce(optimizer, compiled):
        step(compiled, optimizer, x, y)
        assert zeros(model, masks)
        assert list(model.state_dict()) == keys
        assert list(copy.deepcopy(model).state_dict()) == keys
        assert torch.equal(pickle.loads(pickle.dumps(model)).conv1.weight, model.conv1.weight)
        exported = torch.export.export(copy.deepcopy(model).eval(), (x,)).module()
        assert torch.allclose(exported(x), copy.deepcopy(model).eval()(x), atol=1e-5)
    assert (model.bn1.bias[~masks["bn1.bias"]] == 0).all()


def test_tied_and_frozen_weights():
    model = Tied()
    masks = prunery.prune(model, 0.5)
    x, y = batch((6,), 6)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    with masks.enforce(optimizer, model):
        step(model, optimizer, x, y)
    assert model.first.weight is model.second.weight
    assert zeros(model, masks)
    frozen = mlp(6, 6, 6)
    frozen[0].weight.requires_grad_(False)
    masks = prunery.prune(frozen, 0.5)
    optimizer = torch.optim.SGD(frozen.parameters(), 0.1)
    with masks.enforce(optimizer, frozen):
        step(frozen, optimizer, x, y)
    assert zeros(frozen, masks)
