"""After each step of an optimiser of any make removed weights are 0; on exit it is as it was before."""

import copy
import warnings

import pytest
import torch
from nets import batch, mlp
from optimizer_kit import (
    Accelerated,
    Averaging,
    Delegating,
    Forwarding,
    Lightning,
    Lookahead,
    Plain,
    Several,
    Sharp,
    backward,
    momentum_sgd,
)

import prunery
from prunery.core.optimizers import optimizers_of

X, Y = batch((20,), 5)


def patched(parameters):
    """A torch optimiser whose `step` was replaced on the instance by one that does more."""
    optimizer = momentum_sgd(parameters)
    inner = optimizer.step

    def step(closure=None):
        inner(closure)
        with torch.no_grad():
            for p in optimizer.param_groups[0]["params"]:
                p.add_(0.01)

    optimizer.step = step
    return optimizer


def scheduled(parameters):
    optimizer = momentum_sgd(parameters)
    torch.optim.lr_scheduler.StepLR(optimizer, 10)
    return optimizer


def compiled(parameters):
    optimizer = momentum_sgd(parameters)
    optimizer.step = torch.compile(optimizer.step, backend="eager")
    return optimizer


def halves(parameters):
    parameters = list(parameters)
    return [momentum_sgd(parameters[:2]), torch.optim.Adam(parameters[2:], 0.01)]


FORMS = {
    "torch": momentum_sgd,
    "accelerated": lambda p: Accelerated(momentum_sgd(p)),
    "accelerated twice": lambda p: Accelerated(Accelerated(momentum_sgd(p))),
    "accelerated and scheduled": lambda p: Accelerated(scheduled(p)),
    "lookahead": lambda p: Lookahead(momentum_sgd(p)),
    "lookahead in accelerated": lambda p: Accelerated(Lookahead(torch.optim.Adam(p, 0.01))),
    "lightning": lambda p: Lightning(momentum_sgd(p)),
    "averaging": Averaging,
    "plain": Plain,
    "delegating": lambda p: Delegating(momentum_sgd(p)),
    "forwarding": lambda p: Forwarding(momentum_sgd(p)),
    "several": lambda p: Several(*halves(p)),
    "patched": patched,
    "scheduled": scheduled,
    "compiled": compiled,
}


def state_of(optimizer):
    """Per optimiser inside: its attributes, and how many hooks its tables hold."""
    found = optimizers_of(optimizer)
    return [({**vars(one)}, len(vars(one).get("_optimizer_step_post_hooks", ()))) for one in found]


@pytest.mark.parametrize("name", FORMS)
def test_removed_weights_are_zero_after_every_step_and_all_is_put_back(name):
    model = mlp(20, 30, 10, 5)
    optimizer = FORMS[name](model.parameters())
    for _ in range(3):  # momentum and slow weights point at weights that will be removed
        backward(model, optimizer, X, Y)
        optimizer.step()
    masks = prunery.prune(model, 0.8)
    before, start = state_of(optimizer), copy.deepcopy(model.state_dict())
    for error in (None, ZeroDivisionError):
        try:
            with masks.enforce(optimizer, model):
                for _ in range(4):
                    backward(model, optimizer, X, Y)
                    optimizer.step()
                    masks.verify(model)
                if error:
                    raise error
        except ZeroDivisionError:
            pass
        for (now, hooks), (attributes, hooks_before) in zip(state_of(optimizer), before, strict=True):
            assert (now.keys(), hooks) == (attributes.keys(), hooks_before)
            assert now.get("step") is attributes.get("step")
    assert all(not p._post_accumulate_grad_hooks for p in model.parameters())
    assert not torch.equal(model[0].weight, start["0.weight"])
    backward(model, optimizer, X, Y)
    optimizer.step()
    assert not masks.holds(model)


@pytest.mark.parametrize("kind", [list, tuple, lambda two: dict(zip("ab", two, strict=True))])
def test_several_optimisers_each_with_its_own_step(kind):
    model = mlp(20, 30, 5)
    first, second = halves(model.parameters())
    masks = prunery.prune(model, 0.8)
    model[2].weight.data.add_(1)
    with masks.enforce(kind([first, second]), model):
        backward(model, Several(first, second), X, Y)
        for one in (first, second):
            with torch.no_grad():
                model[0].weight.add_(1)
            one.step()
            masks.verify(model)


def test_half_steps_are_seen_through_the_optimiser_inside():
    model = mlp(20, 30, 5)
    optimizer = Sharp(model.parameters())
    masks = None
    for sparsity in (None, None, 0.8, 0.8, 0.8):
        if sparsity and masks is None:
            masks = prunery.prune(model, sparsity)
        with masks.enforce(optimizer, model) if masks else warnings.catch_warnings():
            backward(model, optimizer, X, Y)
            optimizer.first_step()
            backward(model, optimizer, X, Y)
            optimizer.second_step()
            assert masks is None or masks.holds(model)


def test_closures():
    model = mlp(20, 30, 5)
    optimizer = torch.optim.LBFGS(model.parameters(), 0.1, max_iter=4, history_size=3)

    def closure():
        backward(model, optimizer, X, Y)
        return torch.nn.functional.cross_entropy(model(X), Y)

    first = optimizer.step(closure).detach()
    masks = prunery.prune(model, 0.5)
    with masks.enforce(optimizer, model):
        for _ in range(3):
            last = optimizer.step(closure)
            masks.verify(model)
    assert last < first  # what a step returns is passed on
    look = Lookahead(momentum_sgd(model.parameters()))
    with masks.enforce(look, model):
        assert look.step(closure) is not None
        masks.verify(model)


@pytest.mark.parametrize("outer", [False, True])
def test_a_scaler_and_a_step_that_others_exchange(outer):
    model = mlp(20, 30, 5)
    inner = scheduled(model.parameters())
    optimizer = Accelerated(inner, torch.amp.GradScaler("cpu", init_scale=64.0))
    masks = prunery.prune(model, 0.5)
    for _ in range(2):
        with masks.enforce(optimizer if outer else inner, model):
            for _ in range(3):  # accelerate puts the step of before back each time, and with it drops ours
                inner.zero_grad()
                optimizer.scaler.scale(torch.nn.functional.cross_entropy(model(X), Y)).backward()
                with torch.no_grad():
                    model[0].weight.add_(1)
                optimizer.step()
                masks.verify(model)
        assert inner.step is optimizer.original
        assert not inner._optimizer_step_post_hooks


@pytest.mark.parametrize("form", ["torch", "scheduled", "accelerated"])
def test_a_scheduler_made_inside_neither_warns_nor_keeps_ours_alive(form):
    model = mlp(20, 30, 5)
    masks = prunery.prune(model, 0.5)
    optimizer = FORMS[form](model.parameters())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with masks.enforce(optimizer, model):
            scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5)
            for _ in range(3):
                backward(model, optimizer, X, Y)
                optimizer.step()
                scheduler.step()
                masks.verify(model)
    assert optimizer.param_groups[0]["lr"] == 0.1 / 8
    backward(model, optimizer, X, Y)
    optimizer.step()  # the scheduler's wrapper still stands over ours, which does nothing any more
    assert not masks.holds(model)


def test_a_step_inside_a_compiled_function():
    model = mlp(20, 30, 5)
    optimizer = momentum_sgd(model.parameters())

    @torch.compile(backend="eager")
    def step():
        optimizer.step()

    backward(model, optimizer, X, Y)
    step()
    masks = prunery.prune(model, 0.5)
    with masks.enforce(optimizer, model):
        for _ in range(3):
            backward(model, optimizer, X, Y)
            step()
            masks.verify(model)
    backward(model, optimizer, X, Y)
    step()
    assert not masks.holds(model)


def test_the_real_accelerate():
    accelerate = pytest.importorskip("accelerate")
    accelerator = accelerate.Accelerator(cpu=True)
    model = mlp(20, 30, 5)
    masks = prunery.prune(model, 0.5)
    prepared, optimizer = accelerator.prepare(model, momentum_sgd(model.parameters()))
    with masks.enforce(optimizer, prepared):
        for _ in range(3):
            optimizer.zero_grad()
            accelerator.backward(torch.nn.functional.cross_entropy(prepared(X), Y))
            optimizer.step()
            masks.verify(model)
    assert "step" not in vars(optimizer)
