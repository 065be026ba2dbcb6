"""`obs` at its limits: layers too large for the exact order, inputs that hardly vary."""

import copy

import pytest
import torch
from nets import ConvNet, mlp

import prunery


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("limit", [0, 8 * 8 * 9 * (8 * 9) ** 2 / 3 - 1])
def test_layers_of_which_one_is_too_large_for_greedy_compete_all_the_same(limit, monkeypatch):
    x, dense = draw(64, 3, 8, 8), ConvNet()
    once = prunery.prune(copy.deepcopy(dense), 0.6, criterion="obs(order='once')", batches=[x])
    monkeypatch.setattr("prunery.core.obs._EXACT", limit)
    model = copy.deepcopy(dense)
    masks = prunery.prune(model, 0.6, criterion="obs", batches=[x])
    assert {row.name: row.kept for row in masks.layers()} == {row.name: row.kept for row in once.layers()}
    assert masks.kept == masks.total - round(0.6 * masks.total)
    assert masks != once
    again = prunery.prune(model, 0.8, criterion="obs", batches=[x], masks=masks)
    assert all(bool((again[name] <= masks[name]).all()) for name in again)
    assert again.kept == again.total - round(0.8 * again.total)


def barely_varying(kind):
    """A network in which what enters the later layers does not vary, or hardly."""
    model = mlp(20, 30, 12, 5)
    with torch.no_grad():
        if kind == "dead":
            model[0].bias.fill_(-100)
        elif kind == "constant":
            model[0].weight.zero_()
            model[0].bias.fill_(3)
        else:
            for parameter in model[0].parameters():
                parameter.mul_(1e-20 if kind == "tiny" else 1e15)
    return model


@pytest.mark.filterwarnings("ignore::prunery.errors.SilentCriterionWarning")
@pytest.mark.parametrize("order", ["greedy", "columns"])
@pytest.mark.parametrize("kind", ["dead", "constant", "tiny", "huge"])
def test_inputs_that_hardly_vary_leave_no_nan(kind, order):
    model, x = barely_varying(kind), draw(64, 20)
    masks = prunery.prune(model, 0.5, criterion=f"obs(order='{order}')", scope="layer", batches=[x])
    assert masks.kept == masks.total - round(0.5 * masks.total)
    assert all(bool(p.isfinite().all()) for p in model.parameters())
