"""Criteria: hand-computed scores, independent implementations, and one conformance suite over every row."""

import copy
import inspect
import math

import pytest
import torch
from nets import ConvNet, batch, mlp
from torch import nn

import prunery
from prunery.core.context import ScoringContext
from prunery.core.criteria import Evidence, criterion
from prunery.core.evidence import gather
from prunery.core.filters import outputs_of
from prunery.core.layers import prunable
from prunery.core.masks import Masks
from prunery.errors import EvidenceError


def linear(weights):
    layer = nn.Linear(len(weights[0]), len(weights), bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(weights))
    return nn.Sequential(layer)


def scores(name, model, **about):
    options = about.pop("options", {})
    row = criterion.bind({"name": name, **options})
    question = ScoringContext(model, prunable(model), Masks({}), seed=0, options=row.options, **about)
    kinds = {kind: gather(kind, question) for kind in row.facts["needs"].split()}
    layer = question.layers[0].name
    if not row.facts.get("whole"):
        return row(Evidence(layer, {kind: of[layer] for kind, of in kinds.items()}))
    member = outputs_of(question.layers[0])
    count = len(question.layers[0].parameter)
    return row(Evidence(layer, {kind: of[layer] for kind, of in kinds.items()}, member, count))


def squared(output, y):
    return ((output - y) ** 2).sum() / 2


# one linear layer, L = |Wx - y|^2 / 2: dL/dW = r x^T with r = Wx - y, and Hg = |x|^2 r x^T
W, X, Y = [[1.0, -2.0], [3.0, 0.5]], [[1.0, 2.0]], [[0.0, 1.0]]  # Wx = (-3, 4), r = (-3, 3)


def test_magnitude_by_hand():
    assert scores("magnitude", linear(W)).tolist() == [[1.0, 2.0], [3.0, 0.5]]


def test_snip_by_hand():
    found = scores("snip", linear(W), batches=[(torch.tensor(X), torch.tensor(Y))], loss=squared)
    assert found.tolist() == [[3.0, 12.0], [9.0, 3.0]]


def test_grasp_by_hand():
    about = {
        "batches": [(torch.tensor(X), torch.tensor(Y))],
        "loss": squared,
        "options": {"temperature": 1.0},
    }
    assert scores("grasp", linear(W), **about).tolist() == [[-15.0, 60.0], [45.0, 15.0]]  # |x|^2 = 5


def test_grasp_temperature_divides_the_logits():
    # L = |Wx/T - y|^2 / 2: r = Wx/T - y, dL/dW = r x^T / T, Hg = |x|^2 r x^T / T^3
    about = {
        "batches": [(torch.tensor(X), torch.tensor(Y))],
        "loss": squared,
        "options": {"temperature": 2.0},
    }
    r = [-1.5, 1.0]
    expected = [[W[i][j] * 5 * r[i] * X[0][j] / 8 for j in range(2)] for i in range(2)]
    assert scores("grasp", linear(W), **about).tolist() == expected


def test_synflow_by_hand():
    # R = 1^T |V| |W| 1: dR/dW_ij = column sum i of |V|
    model = nn.Sequential(*linear(W), nn.ReLU(), *linear([[1.0, -4.0]]))
    found = scores("synflow", model, example=torch.randn(3, 2))
    assert found.tolist() == [[1.0, 2.0], [12.0, 2.0]]
    assert found.dtype == torch.float64


def test_batches_are_averaged_over_examples():
    model = mlp(6, 5, 3)
    x, y = batch((6,), 3, n=10)
    whole = scores("snip", model, batches=[(x, y)])
    split = scores("snip", model, batches=[(x[:7], y[:7]), (x[7:], y[7:])])
    assert torch.allclose(whole, split, rtol=1e-5, atol=1e-8)


def test_dict_batches_use_the_output_loss():
    class Output(dict):
        loss = property(lambda self: self["loss"])

    class Wrapped(nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def forward(self, x, labels):
            return Output(loss=nn.functional.cross_entropy(self.inner(x), labels))

    model = mlp(6, 5, 3)
    x, y = batch((6,), 3)
    assert torch.equal(
        scores("snip", Wrapped(model), batches=[{"x": x, "labels": y}]),
        scores("snip", model, batches=[(x, y)]),
    )


# independent implementations, written from the papers, on plain autograd


def reference_snip(model, x, y):
    model.zero_grad()
    nn.functional.cross_entropy(model(x), y).backward()
    return [(p.weight * p.weight.grad).abs() for p in weights_of(model)]


def reference_grasp(model, x, y):
    weights = [m.weight for m in weights_of(model)]

    def gradient():
        return torch.autograd.grad(nn.functional.cross_entropy(model(x) / 200, y), weights, create_graph=True)

    fixed = [g.detach() for g in gradient()]
    sum((a * b).sum() for a, b in zip(fixed, gradient(), strict=True)).backward()
    return [w * w.grad for w in weights]


def reference_synflow(model, shape, rounds, sparsity):
    model = copy.deepcopy(model).double().eval()
    with torch.no_grad():
        for value in model.state_dict().values():
            value.abs_()
    layers = weights_of(model)
    total = sum(m.weight.numel() for m in layers)
    for r in range(1, rounds + 1):
        model.zero_grad()
        model(torch.ones(1, *shape, dtype=torch.float64)).sum().backward()
        flat = torch.cat([(m.weight * m.weight.grad).flatten() for m in layers])
        keep = total - round((1 - (1 - sparsity) ** (r / rounds)) * total)
        mask = torch.zeros(total, dtype=torch.bool)
        mask[flat.argsort(descending=True, stable=True)[:keep]] = True
        at = 0
        for m in layers:
            with torch.no_grad():
                m.weight.mul_(mask[at : at + m.weight.numel()].view_as(m.weight))
            at += m.weight.numel()
    return mask


def weights_of(model):
    return [m for m in model.modules() if isinstance(m, nn.Linear | nn.Conv2d)]


def flat_mask(masks):
    return torch.cat([mask.flatten() for mask in masks.values()])


def top(values, keep):
    flat = torch.cat([v.flatten() for v in values])
    mask = torch.zeros_like(flat, dtype=torch.bool)
    mask[flat.argsort(descending=True, stable=True)[:keep]] = True
    return mask


@pytest.mark.parametrize(
    "build", [lambda: mlp(30, 40, 20, 5), lambda: ConvNet().eval(), lambda: ConvNet().train()]
)
@pytest.mark.parametrize("name", ["snip", "grasp"])
def test_gradient_criteria_equal_an_independent_implementation(name, build):
    model = build()
    x, y = batch((30,) if isinstance(model, nn.Sequential) else (3, 8, 8), 5, n=40)
    masks = prunery.prune(copy.deepcopy(model), 0.7, criterion=name, batches=[(x, y)])
    expected = top({"snip": reference_snip, "grasp": reference_grasp}[name](model, x, y), masks.kept)
    assert (flat_mask(masks) == expected).float().mean() >= 0.9999


@pytest.mark.parametrize("build", [lambda: mlp(30, 40, 20, 5), ConvNet])
@pytest.mark.parametrize("rounds", [1, 100])
@pytest.mark.filterwarnings("ignore::prunery.errors.EmptyLayerWarning")  # one round empties layers
def test_synflow_equals_an_independent_implementation(build, rounds):
    model = build()
    shape = (30,) if isinstance(model, nn.Sequential) else (3, 8, 8)
    masks = prunery.prune(
        copy.deepcopy(model),
        0.9,
        criterion="synflow",
        example=torch.randn(1, *shape),
        rounds=rounds,
        floor=0.0,
    )
    assert (flat_mask(masks) == reference_synflow(model, shape, rounds, 0.9)).float().mean() >= 0.9999


def test_synflow_runs_a_hundred_rounds_unless_told_otherwise():
    model, example = mlp(30, 40, 20, 5), torch.randn(1, 30)
    default = prunery.prune(copy.deepcopy(model), 0.9, criterion="synflow", example=example)
    hundred = prunery.prune(copy.deepcopy(model), 0.9, criterion="synflow", example=example, rounds=100)
    assert torch.equal(flat_mask(default), flat_mask(hundred))
    assert default.kept == default.total - round(0.9 * default.total)


# conformance: a new row gets these tests by existing


@pytest.mark.parametrize("name", list(criterion))
def test_rows_declare_what_they_need_and_where_they_come_from(name):
    facts = criterion[name].facts
    assert facts["needs"]
    assert facts["source"]
    assert facts["at"] in ("init", "trained")
    with pytest.raises(EvidenceError, match="declares"):
        Evidence("layer", {}).grad.sum()


@pytest.mark.parametrize("name", list(criterion))
def test_scores_are_finite_shaped_like_the_weight_and_repeatable(name):
    model = ConvNet()
    x, y = batch((3, 8, 8), 5)
    first = scores(name, model, batches=[(x, y)], example=x[:1])
    assert first.shape == model.conv1.weight.shape
    assert first.isfinite().all()
    assert first.unique().numel() > 1
    assert torch.equal(first, scores(name, model, batches=[(x, y)], example=x[:1]))


@pytest.mark.parametrize("name", [name for name in criterion if not criterion[name].facts.get("whole")])
def test_formulas_are_pointwise(name):
    kinds = {
        kind: torch.randn(4, 6, generator=torch.Generator().manual_seed(i))
        for i, kind in enumerate(criterion[name].facts["needs"].split())
    }
    evidence = Evidence("layer", kinds)
    row = criterion.bind(name)
    pieces = torch.cat([row(evidence.slice(lo, lo + 5)) for lo in range(0, 24, 5)])
    assert torch.equal(pieces, row(evidence).flatten())


OTHER = {("obs", "order"): "once", ("obs", "outputs"): "model"}  # of options that are no numbers


@pytest.mark.parametrize(
    ("name", "option"),
    [(n, o) for n in criterion for o in inspect.getfullargspec(criterion[n].function).kwonlyargs],
)
def test_every_option_changes_the_masks(name, option):
    model = mlp(30, 40, 20, 5)
    x, y = batch((30,), 5)
    default = criterion[name].options[option]
    other = OTHER[name, option] if (name, option) in OTHER else default / 1000
    a, b = (
        prunery.prune(copy.deepcopy(model), 0.7, criterion=name, batches=[(x, y)], options={option: value})
        for value in (default, other)
    )
    assert not torch.equal(flat_mask(a), flat_mask(b))


def test_scores_of_deep_networks_stay_finite():
    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.blocks = nn.ModuleList(nn.Conv2d(16, 16, 3, padding=1) for _ in range(60))

        def forward(self, x):
            for block in self.blocks:
                x = torch.relu(x + block(x))
            return x

    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Residual()
    found = scores("synflow", model, example=torch.ones(1, 16, 32, 32))
    assert found.isfinite().all()
    assert found.max() > torch.finfo(torch.float32).max  # what float32 would have lost
    masks = prunery.prune(model, 0.99, criterion="synflow", example=torch.ones(1, 16, 32, 32), rounds=5)
    assert masks.kept == masks.total - round(0.99 * masks.total)
    assert math.isclose(masks.sparsity, 0.99, rel_tol=1e-4)
