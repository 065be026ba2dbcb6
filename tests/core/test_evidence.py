"""Kinds of evidence: what each costs, rows of a user's own, and errors that are ours."""

import pytest
import torch
from nets import ConvNet, batch, mlp
from torch import nn

import prunery
from prunery.core.context import ScoringContext, run_quietly
from prunery.core.evidence import evidence, gather
from prunery.core.layers import prunable
from prunery.errors import ChoiceError, EmptyLayerWarning, EvidenceError


def context(model, **given):
    return ScoringContext(model, prunable(model), **given)


@pytest.fixture
def rows():
    """The registry; rows that a test adds go again."""
    names, bare = dict(evidence._rows), {name: list(known) for name, known in evidence._bare.items()}
    yield evidence
    evidence._rows, evidence._bare = names, bare


def test_each_kind_says_what_it_costs():
    passes = {kind: evidence[kind].facts["passes"] for kind in evidence}
    inputs = {"input_norm": 1, "removal_loss": 1}
    assert passes == {
        "weight": 0,
        "noise": 0,
        "grad": 3,
        "fisher": 3,
        "hessian_grad": 12,
        "flow_grad": 3,
        **inputs,
    }
    assert all(evidence[kind].facts["source"] for kind in evidence)


@pytest.mark.parametrize("cost", [{}, {"passes": None}, {"passes": -1}, {"passes": True}, {"passes": "3"}])
def test_an_unknown_cost_is_refused(rows, cost):
    with pytest.raises(ChoiceError, match="how many forward passes"):
        rows.add(**cost)(lambda context: {})


def test_a_kind_of_a_users_own_is_gathered_by_either_name(rows):
    @rows.add(passes=1, source="a test")
    def squares(context):
        return {layer.name: layer.parameter.detach() ** 2 for layer in context.layers}

    model = mlp(3, 4, 2)
    for name in ("squares", f"{__name__}:squares"):
        gathered = gather(name, context(model))
        assert torch.equal(gathered["0.weight"], model[0].weight.detach() ** 2)
    assert evidence[f"{__name__}:squares"].facts["passes"] == 1


@pytest.mark.parametrize("returned", [None, {}, {"0.weight": torch.zeros(4, 3)}, {"0.weight": 1}])
def test_a_kind_must_give_a_tensor_for_each_layer(rows, returned):
    rows.add(passes=1, name="broken")(lambda context: returned)
    with pytest.raises(EvidenceError, match=r"tensor for the name of each of context\.layers"):
        gather("broken", context(mlp(3, 4, 2)))


def test_what_a_users_row_raises_is_ours(rows):
    @rows.add(passes=1)
    def failing(context):
        raise ZeroDivisionError("mine")

    with pytest.raises(EvidenceError, match="ZeroDivisionError: mine"):
        gather("failing", context(mlp(3, 4, 2), batches=[batch((3,), 2)]))


def test_an_unknown_kind_is_named():
    with pytest.raises(ChoiceError, match="evidence 'gradient'"):
        gather("gradient", context(mlp(3, 4)))


WRONG = {
    "a wrong size": torch.randn(2, 3, 8),
    "a wrong type": torch.zeros(2, 3, 8, 8, dtype=torch.int64),
    "too many": (torch.randn(2, 3, 8, 8), torch.randn(2)),
    "an unknown name": {"images": torch.randn(2, 3, 8, 8)},
    "no tensor": "images",
}


@pytest.mark.parametrize("example", WRONG.values(), ids=WRONG)
@pytest.mark.parametrize("arguments", [{"criterion": "synflow"}, {"granularity": "filter"}])
def test_a_wrong_example_is_our_error_wherever_the_model_is_run(example, arguments):
    model = ConvNet()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(EvidenceError) as caught:
        prunery.prune(model, 0.5, example=example, **arguments)
    for part in ("running the model on what was given raises", "Error: ", "Check example"):
        assert part in str(caught.value)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("batches", [[(torch.randn(2, 3, 8, 8), torch.zeros(2).long()), 5], [(1, 2, 3)], [5]])
def test_wrong_batches_are_our_error(batches):
    with pytest.raises(EvidenceError):
        prunery.prune(ConvNet(), 0.5, criterion="snip", batches=batches)


def test_a_quiet_run_raises_errors_of_ours_and_changes_nothing():
    model = ConvNet().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    run_quietly(context(model, example=torch.randn(2, 3, 8, 8)), {})
    with pytest.raises(EvidenceError, match=r"a run of the model on the example.*raises RuntimeError"):
        run_quietly(context(model, example=torch.randn(2, 3)), {})
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert model.bn1.training


@pytest.mark.parametrize("kind", ["grad", "hessian_grad", "flow_grad"])
def test_wrappers_are_not_run(kind):
    class DistributedDataParallel(nn.Module):  # as torch's: it would wait for other ranks
        def __init__(self, module):
            super().__init__()
            self.module = module

    bare = mlp(3, 4, 2)
    given = {"batches": [batch((3,), 2)]}
    wrapped = gather(kind, context(DistributedDataParallel(bare), **given))
    assert all(
        torch.equal(*pair)
        for pair in zip(wrapped.values(), gather(kind, context(bare, **given)).values(), strict=True)
    )


def test_warnings_of_ours_pass_through(rows):
    @rows.add(passes=1)
    def warning(context):
        raise EmptyLayerWarning("not an error of the model")

    with pytest.raises(EmptyLayerWarning):
        gather("warning", context(mlp(3, 4)))


def test_moved_weights_are_drawn_from_the_seed_and_leave_no_trace():
    model = mlp(6, 8, 3)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    given = {"batches": [batch((6,), 3)]}
    plain = gather("grad", context(model, **given))
    one, same, other = (
        gather("grad", context(model, jitter=jitter, seed=seed, **given))
        for jitter, seed in ((1e-3, 1), (1e-3, 1), (1e-3, 2))
    )
    twice = gather("grad", context(model, jitter=2e-3, seed=1, **given))
    for name, value in plain.items():
        assert torch.equal(one[name], same[name])
        assert not torch.equal(one[name], other[name])
        assert 0 < (one[name] - value).norm() < 0.01 * value.norm()
        moves = ((g[name] - value).flatten() for g in (one, twice))
        assert torch.nn.functional.cosine_similarity(*moves, dim=0) < 0.9  # drawn for each size of move
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
