"""enforce on models whose parameters are replaced, moved, unfrozen or lost meanwhile; complex numbers."""

import contextlib
import copy

import pytest
import torch
from nets import batch, mlp
from torch import nn
from torch.nn.utils import prune as torch_prune

import prunery
from prunery import Masks
from prunery.core import enforce
from prunery.core.bits import bits_of
from prunery.errors import MasksError, RevivedWeightsWarning


def step(model, optimizer, x, y):
    optimizer.zero_grad()
    nn.functional.cross_entropy(model(x), y).backward()
    optimizer.step()


def replace_assign(model):
    model.load_state_dict(copy.deepcopy(mlp(20, 30, 5, seed=3).state_dict()), assign=True)


def replace_by_hand(model):
    model[0].weight = nn.Parameter(torch.ones(30, 20))


def replace_module(model):
    model[0] = nn.Linear(20, 30)


def replace_swap(model):
    """The parameters stay the same objects, and lose their hooks."""
    model.zero_grad(set_to_none=True)
    torch.__future__.set_swap_module_params_on_conversion(True)
    try:
        model.load_state_dict(mlp(20, 30, 5, seed=3).state_dict())
    finally:
        torch.__future__.set_swap_module_params_on_conversion(False)


def replace_on_conversion(model):
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    try:
        model.to(torch.float64).to(torch.float32)
    finally:
        torch.__future__.set_overwrite_module_params_on_conversion(False)


def replace_data(model):
    for p in model.parameters():
        p.data = torch.ones_like(p.data)


def parametrize_and_back(model):
    nn.utils.parametrizations.weight_norm(model[0])
    nn.utils.parametrize.remove_parametrizations(model[0], "weight")


REPLACED = [
    replace_assign,
    replace_on_conversion,
    replace_by_hand,
    replace_module,
    replace_swap,
    replace_data,
    parametrize_and_back,
]


@pytest.mark.parametrize("replace", REPLACED)
def test_replaced_parameters_are_followed(replace):
    model = mlp(20, 30, 5)
    masks = prunery.prune(model, 0.5)
    x, y = batch((20,), 5)
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    with masks.enforce(optimizer, model):
        step(model, optimizer, x, y)
        replace(model)
        step(model, optimizer, x, y)  # the optimiser itself may not have the new parameters
        masks.verify(model)
        assert all((model.get_parameter(n).grad[~m] == 0).all() for n, m in masks.items())
        model.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        assert all((model.get_parameter(n).grad[~m] == 0).all() for n, m in masks.items())
    assert not any(p._post_accumulate_grad_hooks for p in model.parameters())


@pytest.mark.parametrize("replace", REPLACED)
def test_parameters_replaced_after_the_last_step_are_seen_on_exit(replace):
    model = mlp(20, 30, 5)
    masks = prunery.prune(model, 0.5)
    same = replace in (parametrize_and_back, replace_on_conversion)
    warned = contextlib.nullcontext() if same else pytest.warns(RevivedWeightsWarning)
    with warned, masks.enforce(torch.optim.SGD(model.parameters(), 0.1), model):
        replace(model)
    masks.verify(model)
    assert not any(p._post_accumulate_grad_hooks for p in model.parameters())


def lose_by_parametrization(model):
    nn.utils.parametrizations.weight_norm(model[0])


def lose_by_torch_prune(model):
    torch_prune.l1_unstructured(model[0], "weight", 0.5)


def lose_module(model):
    model[0] = nn.Identity()


def lose_shape(model):
    model[0] = nn.Linear(20, 31)


@pytest.mark.parametrize("lose", [lose_by_parametrization, lose_by_torch_prune, lose_module, lose_shape])
@pytest.mark.parametrize("at", ["step", "exit"])
def test_a_parameter_that_is_gone_is_an_error(lose, at):
    model = mlp(20, 30, 5)
    masks = prunery.prune(model, 0.5)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    parameters = list(model.parameters())
    context = masks.enforce(optimizer, model)
    context.__enter__()
    lose(model)
    with pytest.raises(MasksError, match=r"'0\.weight'.*Leave the context"):
        optimizer.step() if at == "step" else context.__exit__(None, None, None)
    if at == "step":
        context.__exit__(MasksError, MasksError("", "", ""), None)
    assert not optimizer._optimizer_step_post_hooks
    assert not any(p._post_accumulate_grad_hooks for p in (*parameters, *model.parameters()))


def test_an_error_in_the_loop_is_the_one_that_is_raised():
    model = mlp(20, 30, 5)
    masks = prunery.prune(model, 0.5)
    context = masks.enforce(torch.optim.SGD(model.parameters(), 0.1), model)
    context.__enter__()
    lose_module(model)
    error = ZeroDivisionError()
    assert not context.__exit__(ZeroDivisionError, error, None)  # as `with` does: it is not swallowed


def test_bits_are_made_again_only_for_what_moved(monkeypatch):
    made = []
    monkeypatch.setattr(enforce, "bits_of", lambda p, mask: made.append(p.dtype) or bits_of(p, mask))
    model = mlp(20, 30, 5)
    masks = prunery.prune(model, 0.5)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with masks.enforce(optimizer, model):
        optimizer.step()
        assert made == [torch.float32] * 2
        model[2].to(torch.float64)
        for _ in range(3):
            optimizer.step()
    assert made == [torch.float32, torch.float32, torch.float64]


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_a_model_may_change_its_precision_inside(dtype):
    model = mlp(20, 30, 5)
    masks = prunery.prune(model, 0.5)
    x, y = batch((20,), 5)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with masks.enforce(optimizer, model):
        model.to(dtype)
        for _ in range(2):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x.to(dtype)), y).backward()
            assert all((model.get_parameter(n).grad[~m] == 0).all() for n, m in masks.items())
            with torch.no_grad():
                model[0].weight.add_(1)
            optimizer.step()
            masks.verify(model)


def test_a_weight_that_is_unfrozen_later_has_masked_gradients_at_once():
    model = mlp(20, 30, 5)
    model[0].weight.requires_grad_(False)
    masks = prunery.prune(model, 0.5)
    x, y = batch((20,), 5)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with masks.enforce(optimizer, model):
        assert not model[0].weight.requires_grad
        model[0].weight.requires_grad_(True)
        nn.functional.cross_entropy(model(x), y).backward()
        assert (model[0].weight.grad[~masks["0.weight"]] == 0).all()
        assert (model[0].weight.grad != 0).any()
        optimizer.step()
        masks.verify(model)
    assert not model[0].weight._post_accumulate_grad_hooks


def test_weights_written_after_the_last_step_are_zero_on_exit():
    model = mlp(20, 30, 5)
    masks = prunery.prune(model, 0.5)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with pytest.warns(RevivedWeightsWarning, match="in 0.weight") as caught, masks.enforce(optimizer, model):
        model.load_state_dict(mlp(20, 30, 5).state_dict())
    assert caught[0].filename == __file__
    masks.verify(model)


class Complex(nn.Module):
    """A complex matrix, and a plain one stored channels last."""

    def __init__(self, dtype):
        super().__init__()
        g = torch.Generator().manual_seed(0)
        self.matrix = nn.Parameter(torch.randn(6, 5, dtype=dtype, generator=g))
        kernel = torch.randn(4, 3, 3, 3, generator=g).to(memory_format=torch.channels_last)
        self.kernel = nn.Parameter(kernel)


@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128])
def test_complex_and_channels_last_parameters(dtype):
    model = Complex(dtype)
    g = torch.Generator().manual_seed(1)
    masks = Masks({n: torch.rand(p.shape, generator=g) > 0.5 for n, p in model.named_parameters()})
    dense = copy.deepcopy(model)
    masks.apply_(model)
    for name, mask in masks.items():
        assert torch.equal(model.get_parameter(name), dense.get_parameter(name) * mask)
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    with masks.enforce(optimizer, dense), masks.enforce(optimizer, model):
        masks.verify(dense)
        for _ in range(2):
            (model.matrix.abs().square().sum() + (model.kernel - 1).square().sum()).backward()
            assert all((p.grad[~masks[n]] == 0).all() for n, p in model.named_parameters())
            with torch.no_grad():
                model.matrix.add_(1)
                model.kernel.add_(1)
            optimizer.step()
            masks.verify(model)
    assert model.kernel.is_contiguous(memory_format=torch.channels_last)
