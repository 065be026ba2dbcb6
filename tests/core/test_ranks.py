"""Two ranks with different data: their evidence is one mean over all examples, and their masks are equal."""

import pytest
import ranks_kit
import torch
from nets import mlp
from torch import nn

import prunery
from prunery.core.context import ScoringContext
from prunery.core.evidence import gather
from prunery.core.layers import prunable

ALL = [*ranks_kit.data(0), *ranks_kit.data(1)]


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    return ranks_kit.found(tmp_path_factory.mktemp("ranks"))


def alone(kind, model=None, batches=ALL, **given):
    model = mlp(8, 12, 3) if model is None else model
    return gather(kind, ScoringContext(model, prunable(model), batches=batches, **given))


def equal(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def close(a, b):
    return a.keys() == b.keys() and all(
        torch.allclose(a[name], b[name], rtol=1e-4, atol=1e-6 * float(b[name].abs().max())) for name in a
    )


@pytest.mark.parametrize("criterion", ["snip", "grasp", "synflow", "random", "magnitude"])
def test_masks_are_equal_on_all_ranks_and_those_of_one_process(ranks, criterion):
    first, second = (rank[criterion] for rank in ranks)
    assert equal(first, second)
    masks = prunery.prune(mlp(8, 12, 3), 0.5, criterion=criterion, batches=ALL, rounds=2)
    differ = sum(int((first[name] != masks[name]).sum()) for name in masks)
    assert differ <= (2 if criterion in ("snip", "grasp") else 0)  # sums in another order: a tie may turn


@pytest.mark.parametrize("kind", ["grad", "hessian_grad", "flow_grad"])
def test_evidence_is_the_mean_over_the_examples_of_all_ranks(ranks, kind):
    first, second = (rank[kind] for rank in ranks)
    assert equal(first, second)
    assert close(first, alone(kind))
    if kind != "flow_grad":
        assert not close(first, alone(kind, batches=ranks_kit.data(0)))


def test_flow_is_the_mean_where_inputs_are_indices(ranks):
    model = nn.Sequential(nn.Embedding(5, 4), nn.Linear(4, 3))
    with torch.no_grad():
        model[0].weight.copy_(torch.arange(20.0).view(5, 4))
    first, second = (rank["tokens"] for rank in ranks)
    assert equal(first, second)
    one, other = (alone("flow_grad", model, None, example=torch.full((1, 2), token)) for token in (0, 1))
    assert close(first, {name: (one[name] + other[name]) / 2 for name in one})


def test_wrapped_models_of_unequal_batch_counts_neither_wait_nor_differ(ranks):
    for criterion in ("snip", "grasp"):
        first, second = (rank[f"wrapped {criterion}"] for rank in ranks)
        assert equal(first, second)
        assert equal(
            {name.removeprefix("module."): mask for name, mask in first.items()}, ranks[0][criterion]
        )


def test_half_precision_is_summed_in_float32(ranks):
    assert equal(ranks[0]["bfloat16"], ranks[1]["bfloat16"])
    first, second = (rank["bfloat16 grad"] for rank in ranks)
    assert equal(first, second)
    assert {value.dtype for value in first.values()} == {torch.float32}


@pytest.mark.parametrize(
    ("case", "own", "other"),
    [
        ("one fails", "what was given raises RuntimeError", "another rank failed"),
        ("one has no batches", "at least one batch", "another rank failed"),
        ("two models", "the ranks prune different layers", "the ranks prune different layers"),
        ("other weights", "weights or the masks differ", "weights or the masks differ"),
        ("other masks", "weights or the masks differ", "weights or the masks differ"),
        ("own row, local", "differs from rank to rank", "differs from rank to rank"),
    ],
)
def test_errors_are_those_of_all_ranks(ranks, case, own, other):
    assert own in ranks[0][case]
    assert other in ranks[1][case]
    assert all(rank[case].startswith("EvidenceError") for rank in ranks)


def test_a_row_of_a_users_own_takes_its_mean_with_example_mean(ranks):
    first, second = (rank["own row, averaged"] for rank in ranks)
    assert equal(first, second)


def test_ranks_go_on_after_an_error(ranks):
    assert equal(ranks[0]["after errors"], ranks[0]["grad"])
