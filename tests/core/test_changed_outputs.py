"""What the model's outputs change by where one layer has other weights, and `obs` that counts by it."""

import copy

import pytest
import torch
from nets import ConvNet, mlp
from torch import nn

import prunery
from prunery.core.changed_outputs import ChangedOutputs
from prunery.core.context import ScoringContext
from prunery.core.grams import moments
from prunery.core.layers import prunable
from prunery.errors import ChoiceError


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def about(model, x):
    return ScoringContext(model, prunable(model), batches=[x])


def relative(other, model, x):
    """The mean squared change of the outputs over their variance."""
    with torch.no_grad():
        return float((other(x) - model(x)).square().mean() / model(x).var())


@pytest.mark.parametrize("where", ["bias", "norm"])
def test_a_shift_of_outputs_that_the_bias_or_the_norm_behind_makes_up_for_does_not_count(where):
    model = ConvNet().eval() if where == "norm" else mlp(12, 16, 5).eval()
    x = 3 + draw(64, 3, 12, 12) if where == "norm" else 3 + draw(64, 12)
    if where == "norm":
        model.conv1 = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        model.bn1.running_mean.normal_()
    before = copy.deepcopy(model.state_dict())
    q = about(model, x)
    layer = q.layers[0]
    seen = moments(q, q.layers, whole=True, compared=True)[layer.name]
    assert (seen.bias is None) == (where == "norm")
    assert (seen.running_mean is None) == (where == "bias")
    weight = layer.parameter.detach() + 0.1
    found = ChangedOutputs(q, images=64)(layer, weight, seen)

    other = copy.deepcopy(model)
    first = other.conv1 if where == "norm" else next(m for m in other if isinstance(m, nn.Linear))
    with torch.no_grad():
        first.weight.add_(0.1)
        uncorrected = relative(other, model, x)
        shift = first(x) - (model.conv1 if where == "norm" else next(iter(prunable(model))).module)(x)
        if where == "norm":
            other.bn1.running_mean += shift.mean((0, 2, 3))
        else:
            first.bias -= shift.mean(0)
    assert found == pytest.approx(relative(other, model, x), rel=1e-3)
    assert found < 0.5 * uncorrected
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


class Beside(nn.Module):
    """Two layers alike, of which the outputs hardly read the second."""

    def __init__(self):
        super().__init__()
        self.one, self.other = nn.Linear(20, 30), nn.Linear(20, 30)
        self.other.load_state_dict(self.one.state_dict())

    def forward(self, x):
        return self.one(x) + 0.3 * self.other(x)


@pytest.mark.parametrize("order", ["auto", "once"])
def test_by_the_models_outputs_a_layer_that_they_hardly_read_gives_more(order):
    kept = {}
    for outputs in ("layer", "model"):
        masks = prunery.prune(
            Beside(), 0.5, criterion=f"obs(order='{order}', outputs='{outputs}')", batches=[draw(256, 20)]
        )
        kept[outputs] = [row.kept for row in masks.layers()]
        assert sum(kept[outputs]) == 600
    assert kept["layer"][0] == kept["layer"][1]
    assert kept["model"][0] > 1.3 * kept["layer"][0], kept


def test_a_layer_too_large_for_the_greedy_order_is_counted_so_too(monkeypatch):
    monkeypatch.setattr("prunery.core.obs._EXACT", 1)
    masks = prunery.prune(Beside(), 0.6, criterion="obs(outputs='model')", batches=[draw(256, 20)])
    one, other = (row.kept for row in masks.layers())
    assert one + other == 480
    assert one > 2 * other


def test_alone_a_layers_order_is_the_same():
    """Where layers do not compete, a factor for each of them decides nothing, and nothing is measured."""
    model = mlp(12, 16, 5)
    found = [
        prunery.prune(
            copy.deepcopy(model),
            0.5,
            criterion=f"obs(outputs='{outputs}')",
            scope="layer",
            batches=[draw(64, 12)],
        )
        for outputs in ("layer", "model")
    ]
    assert found[0] == found[1]


def test_other_outputs_are_refused():
    with pytest.raises(ChoiceError, match=r"outputs 'block'.*layer, model"):
        prunery.prune(mlp(4, 5, 3), 0.5, criterion="obs(outputs='block')", batches=[draw(8, 4)])
