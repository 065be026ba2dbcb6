"""Wanda and OBS: scores and masks against naive implementations; the two orders against brute force."""

import copy

import pytest
import torch
from nets import ConvNet, mlp
from torch import nn
from torch.nn import functional

import prunery
from prunery.core.grams import reading
from prunery.core.layers import prunable
from prunery.core.matrices import column_count, columns, matrix_of
from prunery.core.obc import greedy
from prunery.core.obs import damped
from prunery.core.sparsegpt import Quota, in_columns
from prunery.errors import ChoiceError, EvidenceError, ModelError


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def correlated(columns, size, seed=0):
    """Inputs (columns, size) whose neighbours go together."""
    mix = torch.eye(size) + 0.6 * draw(size, size, seed=seed + 1) / size**0.5
    return draw(columns, size, seed=seed) @ mix


class Conv1D(nn.Module):
    """The linear layer of GPT-2: weight (in, out)."""

    def __init__(self, nf, nx):
        super().__init__()
        self.nf = nf
        self.weight, self.bias = nn.Parameter(draw(nx, nf)), nn.Parameter(draw(nf))

    def forward(self, x):
        return torch.addmm(self.bias, x.reshape(-1, x.shape[-1]), self.weight).view(*x.shape[:-1], self.nf)


LAYERS = [
    (nn.Linear(5, 3), (2, 4, 5)),
    (Conv1D(3, 5), (2, 4, 5)),
    (nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2, dilation=2), (3, 4, 9, 8)),
    (nn.Conv1d(4, 6, 3, padding="same", padding_mode="circular"), (3, 4, 9)),
    (nn.Conv3d(2, 4, 2), (2, 2, 4, 5, 4)),
    (nn.ConvTranspose2d(4, 6, 3, stride=2, padding=1, output_padding=1, groups=2), (3, 4, 5, 6)),
    (nn.ConvTranspose1d(4, 6, 4, stride=3, dilation=2), (3, 4, 5)),
]


@pytest.mark.parametrize(("module", "shape"), LAYERS, ids=lambda x: type(x).__name__)
def test_a_layer_is_its_matrix_times_its_columns(module, shape):
    (layer,) = prunable(nn.Sequential(module))
    x, matrix = draw(*shape), matrix_of(layer)
    every = torch.cat(list(columns(layer, x)), -1)
    w = matrix.of(module.weight.detach())
    out = (w @ every).flatten(0, 1)  # (outputs, columns)
    expected = module(x).detach()
    conv = hasattr(module, "kernel_size")
    expected = expected.transpose(0, 1).flatten(1) if conv else expected.reshape(-1, expected.shape[-1]).t()
    assert torch.allclose(out, expected - module.bias.detach()[:, None], atol=1e-5)
    assert torch.equal(matrix.back(w, tuple(module.weight.shape)), module.weight)
    assert column_count(layer, x) == every.shape[-1]
    few = torch.cat(list(columns(layer, x, share=0.5, draws=torch.Generator().manual_seed(0))), -1)
    assert 0 < few.shape[-1] < every.shape[-1]


def naive_inputs(model, x):
    """The columns of each Linear and Conv2d of an ordinary network, (d, n), by hooks and unfold."""
    found = {}

    def note(module, args, _):
        (value,) = args
        if isinstance(module, nn.Conv2d):
            value = functional.unfold(value, module.kernel_size, padding=module.padding)
            found[module] = value.transpose(0, 1).flatten(1)
        else:
            found[module] = value.t()

    hooks = [m.register_forward_hook(note) for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    with torch.no_grad():
        model.eval()(x)
    for hook in hooks:
        hook.remove()
    return {
        f"{n}.weight": (m.weight.detach().flatten(1), found[m])
        for n, m in model.named_modules()
        if m in found
    }


NETS = [(lambda: mlp(32, 24, 16, 8), (32,)), (ConvNet, (3, 8, 8))]


@pytest.mark.parametrize(("build", "shape"), NETS)
def test_wanda_equals_an_independent_implementation(build, shape):
    model, x = build(), draw(50, *shape)
    masks = prunery.prune(copy.deepcopy(model), 0.5, criterion="wanda", scope="row", batches=[x[:30], x[30:]])
    same = total = 0
    for name, (w, inputs) in naive_inputs(model, x).items():
        scores = w.abs() * inputs.square().sum(1).sqrt()
        if w.shape[1] % 2:
            continue  # odd rows keep one more or less by turns
        kept = torch.zeros_like(w, dtype=torch.bool)
        kept.scatter_(1, scores.topk(w.shape[1] // 2, 1).indices, True)
        same += int((masks[name].flatten(1) == kept).sum())
        total += kept.numel()
    assert total
    assert same / total >= 0.999


def cheapest_first(w, gram):
    """OBC by brute force for a row: every next removal is tried, the rest solved for, in float64."""

    def cost(left):
        v = torch.zeros_like(w)
        if left:
            v[left] = torch.linalg.solve(gram[left][:, left], gram[left] @ w)
        return float((v - w) @ gram @ (v - w))

    left, order = list(range(len(w))), []
    while left:
        best = min(left, key=lambda p: cost([q for q in left if q != p]))
        left.remove(best)
        order.append(best)
    return order, cost


@pytest.mark.parametrize("seed", range(4))
def test_the_greedy_order_is_that_of_brute_force(seed):
    x = correlated(60, 7, seed).double()
    gram = damped((x.T @ x / 60)[None], 0.01)
    w = draw(1, 5, 7, seed=seed).double()
    losses = greedy(w, torch.linalg.inv(gram))
    for row, found in zip(w[0], losses[0], strict=True):
        order, _ = cheapest_first(row, gram[0])
        assert found.argsort().tolist() == order


def test_greedy_losses_add_up_to_the_error_of_the_best_weights():
    x = correlated(300, 90).double()
    gram = damped((x.T @ x / 300)[None], 0.01)
    w = draw(1, 3, 90, seed=5).double()
    losses = greedy(w, torch.linalg.inv(gram))  # over more than one block of removals
    for row, found in zip(w[0], losses[0], strict=True):
        left = found.argsort()[70:].tolist()
        v = torch.zeros_like(row)
        v[left] = torch.linalg.solve(gram[0][left][:, left], gram[0][left] @ row)
        total = float((v - row) @ gram[0] @ (v - row))
        assert float(found.sort().values[:70].sum()) == pytest.approx(
            total, rel=0.2
        )  # steps that fell count more
        assert float(found.sort().values[:70].sum()) >= total * 0.999


def sparsegpt_by_hand(w, gram, sparsity, block):
    """SparseGPT with an inverse of its own at each column, for one layer whose weights all compete."""
    w, mask = w.clone(), torch.ones_like(w, dtype=torch.bool)
    for lo in range(0, w.shape[1], block):
        hi = min(lo + block, w.shape[1])
        scores = torch.empty(len(w), hi - lo, dtype=w.dtype)
        for c in range(lo, hi):
            scores[:, c - lo] = w[:, c] ** 2 / torch.linalg.inv(gram[c:, c:])[0, 0]
        count = (
            round(sparsity * w.numel()) * hi // w.shape[1] - round(sparsity * w.numel()) * lo // w.shape[1]
        )
        flat = torch.ones(scores.numel(), dtype=torch.bool)
        flat[scores.flatten().argsort()[:count]] = False
        mask[:, lo:hi] = flat.view_as(scores)
        for c in range(lo, hi):
            inverse = torch.linalg.inv(gram[c:, c:])
            gone = torch.where(mask[:, c], 0.0, w[:, c]) / inverse[0, 0]
            w[:, c:] -= gone[:, None] * inverse[0][None]
    return mask


def test_the_order_of_columns_is_sparsegpts(monkeypatch):
    monkeypatch.setattr("prunery.core.sparsegpt._BLOCK", 8)
    x = correlated(200, 24)
    layer = nn.Linear(24, 12, bias=False)
    layer.weight.data = draw(12, 24, seed=3)
    masks = prunery.prune(
        nn.Sequential(copy.deepcopy(layer)), 0.5, criterion='obs(order="columns")', scope="layer", batches=[x]
    )
    gram = damped((x.double().T @ x.double() / 200)[None], 0.01)[0]
    expected = sparsegpt_by_hand(layer.weight.detach().double(), gram, 0.5, 8)
    assert torch.equal(masks["0.weight"], expected)


@pytest.mark.parametrize("order", ["greedy", "columns"])
def test_n_of_m_in_neighbours_of_input_channels(order):
    model, x = ConvNet(), draw(40, 3, 8, 8)
    criterion = {"name": "obs", "order": order}
    masks = prunery.prune(model, 0.5, criterion=criterion, scope="n_of_m", batches=[x], exclude=["conv1"])
    assert (masks["conv2.weight"].view(8, 2, 4, 3, 3).sum(2) == 2).all()
    assert (masks["head.weight"].view(5, 2, 4).sum(2) == 2).all()


def output_error(model, masks, x):
    """The relative squared error of each layer's outputs, the survivors solved for anew."""
    errors = {}
    for name, (w, inputs) in naive_inputs(model, x).items():
        gram, w, kept = (inputs @ inputs.T).double(), w.double(), masks[name].flatten(1)
        gram += 1e-9 * gram.trace() * torch.eye(len(gram))  # units that are always 0
        new = torch.zeros_like(w)
        for i, row in enumerate(kept):
            new[i, row] = torch.linalg.solve(gram[row][:, row], gram[row] @ w[i])
        errors[name] = float((((new - w) @ gram) * (new - w)).sum() / ((w @ gram) * w).sum())
    return errors


@pytest.mark.parametrize("scope", ["layer", "row", "n_of_m"])
def test_obs_leaves_less_error_than_magnitude(scope):
    model = mlp(32, 24, 16, 8)
    x = correlated(400, 32)
    found = {}
    for criterion in ("magnitude", "wanda", 'obs(order="columns")', "obs"):
        masks = prunery.prune(copy.deepcopy(model), 0.5, criterion=criterion, scope=scope, batches=[x])
        found[criterion] = output_error(model, masks, x)
    for name, error in found["magnitude"].items():
        assert found["obs"][name] < error
    assert sum(found['obs(order="columns")'].values()) < sum(found["magnitude"].values())


@pytest.mark.parametrize("criterion", ["wanda", "obs", 'obs(order="columns")'])
def test_what_is_gone_stays_gone(criterion):
    model, x = mlp(32, 24, 8), correlated(100, 32)
    first = prunery.prune(model, 0.3, scope="row", criterion=criterion, batches=[x])
    second = prunery.prune(model, 0.8, scope="row", criterion=criterion, batches=[x], masks=first)
    assert not any((second[name] & ~first[name]).any() for name in first)
    assert second.sparsity == pytest.approx(0.8, abs=1e-3)


def test_inputs_that_are_always_zero_go_first():
    x = correlated(100, 12)
    x[:, :3] = 0
    model = nn.Sequential(nn.Linear(12, 6))
    for criterion in ("wanda", "obs", 'obs(order="columns")'):
        masks = prunery.prune(copy.deepcopy(model), 0.25, scope="row", criterion=criterion, batches=[x])
        assert not masks["0.weight"][:, :3].any()


def test_what_cannot_be_is_refused():
    x = draw(20, 12)
    model = mlp(12, 10, 6)
    with pytest.raises(ChoiceError, match="column by column"):
        prunery.prune(model, 0.5, criterion='obs(order="columns")', batches=[x])
    with pytest.raises(ChoiceError, match="there is none of that name"):
        prunery.prune(model, 0.5, criterion='obs(order="row")', batches=[x])
    with pytest.raises(EvidenceError, match="inputs to see what enters each layer"):
        prunery.prune(model, 0.5, criterion="wanda")
    with pytest.raises(EvidenceError, match="the inputs of"):
        prunery.prune(model, 0.5, criterion="obs", batches=[x * torch.nan])
    with pytest.raises(ModelError, match="has 10 input"):
        prunery.prune(model, 0.5, scope="n_of_m")
    with pytest.raises(prunery.errors.SparsityError, match="Ask for"):
        prunery.prune(model, 0.9, scope="n_of_m")
    with pytest.raises(ChoiceError, match="not single weights"):
        prunery.prune(model, 0.5, granularity="filter", scope="row")
    with pytest.raises(ModelError, match="Exclude it"):
        prunery.prune(nn.Sequential(nn.LSTM(12, 4)), 0.5, criterion="wanda", batches=[x[:, None]])


def test_the_output_layer_is_found_on_unlabelled_batches():
    model, x = mlp(12, 10, 6), draw(20, 12)
    assert list(prunery.prune(model, 0.5, criterion="obs", batches=[x], exclude=["@output"])) == ["0.weight"]
    with pytest.raises(EvidenceError, match="batches of"):
        prunery.prune(model, 0.6, criterion="snip", batches=[x])


def test_a_layer_that_is_not_called_is_named_and_no_hook_is_left():
    model = mlp(12, 10, 6)
    with pytest.raises(ModelError, match=r"2\.weight"), reading(model, prunable(model), lambda *_: None):
        model[0](draw(3, 12))
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_scores_leave_the_order_of_columns_above_and_below_one():
    w, inverse = draw(1, 4, 8).double(), torch.eye(8).double()[None]
    scores, _ = in_columns(w, inverse, Quota(torch.full((1, 4), 2), False, None))
    assert ((scores < 1).sum(2) == 2).all()
    assert torch.equal(scores.argsort(2)[..., :2].sort(2).values, w.abs().argsort(2)[..., :2].sort(2).values)
