"""Rows keep equally many; ERK against its formula; Taylor and Fisher against single examples."""

import pytest
import torch
from nets import ConvNet, batch, mlp
from torch import nn
from torch.nn import functional

import prunery
from prunery.core.criteria import criterion
from prunery.core.scope import Target, scope
from prunery.errors import ChoiceError


def test_erk_is_the_formula_and_exact_in_all():
    model = ConvNet()
    masks = prunery.prune(model, 0.6, scope="erk")
    counts = {"conv1.weight": 8 * 3 * 9, "conv2.weight": 8 * 8 * 9, "head.weight": 40}
    sizes = {"conv1.weight": 8 + 3 + 6, "conv2.weight": 8 + 8 + 6, "head.weight": 5 + 8}
    keep = sum(counts.values()) - round(0.6 * sum(counts.values()))
    scale = keep / sum(sizes.values())  # count times sum over product: here the kernel's 9 are in both
    kept = {row.name: row.kept for row in masks.layers()}
    assert sum(kept.values()) == keep
    full = {name for name in counts if scale * sizes[name] > counts[name]}
    assert full == {"head.weight"}
    scale = (keep - 40) / (sizes["conv1.weight"] + sizes["conv2.weight"])
    assert kept["head.weight"] == 40
    assert all(abs(kept[name] - scale * sizes[name]) < 1 for name in ("conv1.weight", "conv2.weight"))


@pytest.mark.parametrize("sparsity", [0.0, 0.1, 0.5, 0.9, 0.99])
def test_erk_keeps_exactly_what_was_asked(sparsity):
    model = mlp(40, 30, 20, 10)
    masks = prunery.prune(model, sparsity, scope="erk") if sparsity else None
    assert masks is None or masks.kept == masks.total - round(sparsity * masks.total)


def test_erk_needs_single_weights():
    with pytest.raises(ChoiceError, match="not single weights"):
        prunery.prune(mlp(12, 10, 6), 0.5, granularity="filter", scope="erk")
    with pytest.raises(ChoiceError, match="not single weights"):
        scope.bind("erk")([4], [Target("*", 0.5)])


@pytest.mark.parametrize("name", ["taylor", "fisher"])
def test_scores_equal_an_independent_implementation(name):
    model = mlp(12, 10, 5)
    x, y = batch((12,), 5, n=20)
    weights = [m.weight for m in model if isinstance(m, nn.Linear)]

    def gradients(x, y):
        return torch.autograd.grad(functional.cross_entropy(model(x), y), weights)

    if name == "taylor":
        scores = [(w * g).detach().square() for w, g in zip(weights, gradients(x, y), strict=True)]
    else:
        single = [gradients(x[i : i + 1], y[i : i + 1]) for i in range(20)]
        squares = [sum(g[k].square() for g in single) / 20 for k in range(2)]
        scores = [(w.square() * s).detach() / 2 for w, s in zip(weights, squares, strict=True)]
    flat = torch.cat([s.flatten() for s in scores])
    masks = prunery.prune(model, 0.6, criterion=name, batches=[(x[:13], y[:13]), (x[13:], y[13:])])
    kept = torch.cat([mask.flatten() for mask in masks.values()])
    assert flat[kept].min() >= flat[~kept].max()
    assert criterion[name].facts["at"] == "trained"


def test_rows_keep_equally_many_and_layers_exactly_what_was_asked():
    model = mlp(30, 7, 5)
    masks = prunery.prune(model, 0.75, scope="row")
    for mask in masks.values():
        kept = mask.sum(1)
        assert int(kept.max() - kept.min()) <= 1
        assert int(kept.sum()) == mask.numel() - round(0.75 * mask.numel())


def test_equal_scores_empty_no_column():
    model = nn.Sequential(nn.Linear(16, 64))
    model[0].weight.data.fill_(1.0)
    mask = prunery.prune(model, 0.75, scope="row")["0.weight"]
    assert (mask.sum(1) == 4).all()
    assert mask.any(0).all()
