"""Wrapped steps are put back in whatever order contexts end; what cannot be followed is refused."""

import copy
import functools
import inspect
import pickle
import types
import warnings

import pytest
import torch
from nets import batch, mlp
from optimizer_kit import Lookahead, Plain, Property, Slots, backward, momentum_sgd

import prunery
from prunery.core.optimizers import after_steps
from prunery.errors import MasksError, RevivedWeightsWarning

X, Y = batch((20,), 5)


@pytest.mark.parametrize("in_order", [True, False])
def test_contexts_that_overlap_leave_nothing(in_order):
    optimizer, calls = Plain([torch.zeros(2)]), []
    optimizer.param_groups[0]["params"][0].grad = torch.ones(2)
    first, second = (after_steps(optimizer, lambda n=n: calls.append(n)) for n in "ab")
    first.__enter__()
    second.__enter__()
    optimizer.step()
    for context in (second, first) if in_order else (first, second):
        context.__exit__(None, None, None)
        optimizer.step()
    assert calls == ["a", "b", "a" if in_order else "b"]
    assert "step" not in vars(optimizer)


def test_a_step_that_another_puts_over_ours_stays():
    optimizer, calls = Plain([torch.zeros(2)]), []
    optimizer.param_groups[0]["params"][0].grad = torch.ones(2)
    with after_steps(optimizer, lambda: calls.append("ours")):
        inner = optimizer.step
        optimizer.step = lambda: (inner(), calls.append("theirs"))
        optimizer.step()
    optimizer.step()
    assert calls == ["ours", "theirs", "theirs"]


@pytest.mark.parametrize("made", ["inside", "afterwards"])
def test_a_method_that_copies_our_attributes_stays_too(made):
    optimizer, calls = Plain([torch.zeros(2)]), []
    optimizer.param_groups[0]["params"][0].grad = torch.ones(2)

    def put_theirs(inner):
        @functools.wraps(inner.__func__)
        def step(self):
            inner()
            calls.append("theirs")

        optimizer.step = types.MethodType(step, optimizer)

    with after_steps(optimizer, lambda: calls.append("ours")):
        inner = optimizer.step
        if made == "inside":
            put_theirs(inner)
    if made == "afterwards":
        put_theirs(inner)
    with after_steps(optimizer, lambda: calls.append("ours again")):
        optimizer.step()
    optimizer.step()
    assert calls == ["theirs", "ours again", "theirs"]


def test_a_scheduler_from_before_sees_the_step_that_it_knows_and_each_step_has_one_call():
    optimizer, calls = momentum_sgd([torch.nn.Parameter(torch.zeros(2))]), []
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1)
    own = optimizer.step
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # torch warns of a step that is not the scheduler's
        with after_steps(optimizer, lambda: calls.append(1)):
            assert list(inspect.signature(optimizer.step).parameters) == ["closure"]
            for n in range(3):
                optimizer.step()
                scheduler.step()
                assert len(calls) == n + 1
    assert optimizer.step is own


def test_copies_made_inside_step_themselves():
    model = mlp(20, 30, 5)
    optimizer = Lookahead(momentum_sgd(model.parameters()))
    masks = prunery.prune(model, 0.5)
    with masks.enforce(optimizer, model):
        backward(model, optimizer, X, Y)
        twin, twin_model = copy.deepcopy((optimizer, model))
        pickle.loads(pickle.dumps(optimizer))
        backward(twin_model, twin, X, Y)
        before = copy.deepcopy(model.state_dict())
        twin.step()
        assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
        assert twin.count == 1
        assert optimizer.count == 0


@pytest.mark.parametrize(
    "make",
    [
        lambda m: None,
        lambda m: "sgd",
        lambda m: m,
        lambda m: [],
        lambda m: [torch.optim.SGD(m.parameters(), 0.1), None],
        lambda m: torch.optim.SGD,
        lambda m: type("Kind", (Plain,), {"param_groups": []}),
        lambda m: torch.amp.GradScaler("cpu"),
        lambda m: Slots(m.parameters()),
        lambda m: Property(m.parameters()),
    ],
)
def test_what_is_no_optimiser_or_cannot_be_followed_is_refused(make):
    model = mlp(20, 30, 5)
    masks = prunery.prune(copy.deepcopy(model), 0.5)
    before = copy.deepcopy(model.state_dict())
    optimizer = make(model)
    with pytest.raises(MasksError, match="Give torch's optimiser") as caught, masks.enforce(optimizer, model):
        pass
    assert all(caught.value.args)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert not (isinstance(optimizer, list) and optimizer and optimizer[0]._optimizer_step_post_hooks)


def test_an_outer_optimiser_that_was_not_given_is_told_of():
    model = mlp(20, 30, 5)
    outer = Lookahead(momentum_sgd(model.parameters()), k=1)
    masks = prunery.prune(model, 0.5)
    warned = pytest.warns(RevivedWeightsWarning, match=r"in 0.weight.*outermost")
    with warned as caught, masks.enforce(outer.optimizer, model):
        backward(model, outer, X, Y)
        outer.step()
    assert caught[0].filename == __file__
    masks.verify(model)
