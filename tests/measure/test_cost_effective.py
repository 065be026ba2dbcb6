"""Effective cost: weights that no live path uses are left out, on networks small enough to see."""

import itertools

import pytest
import torch
from cost_kit import effective, ones
from torch import nn

from prunery.core.layers import prunable
from prunery.core.masks import Masks
from prunery.measure.cost import Amount, cost
from prunery.models.build import build
from prunery.models.names import MODELS

ONE_OF_EACH = (
    "fc",
    "lenet5",
    "lenet5-caffe",
    "cnn8",
    "vgg16",
    "vgg11_bn",
    "resnet20",
    "resnet18",
    "resnet50_imagenet",
)


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_nothing_is_dead_in_an_unpruned_model(name):
    channels, *sides = MODELS[name].shape
    sides = [max(MODELS[name].smallest, min(32, side)) for side in sides]
    model = build(name, shape=(channels, *sides), seed=0)
    found = cost(model, torch.randn(1, channels, *sides), ones(model))
    assert found.params.effective == found.params.dense
    assert found.macs.effective == found.macs.dense
    assert found.notes == ()


# A dead filter kills its slice of the next layer, and a filter that nothing reads dies


def convs():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 5, 3), nn.ReLU(), nn.Conv2d(5, 2, 1))


def test_a_dead_filter_kills_what_reads_it():
    model, x = convs(), torch.randn(1, 3, 8, 8)
    masks = ones(model)
    masks["0.weight"][1] = False
    found = cost(model, x, masks)
    assert [layer.params for layer in found.layers] == [
        Amount(108, 81, 81),
        Amount(180, 180, 135),  # 5 filters lose a kernel of 9
        Amount(10, 10, 10),
    ]
    assert [layer.macs.effective for layer in found.layers] == [81 * 36, 135 * 16, 10 * 16]


def test_a_filter_that_nothing_reads_dies_and_so_does_what_feeds_only_it():
    model = nn.Sequential(nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2))
    masks = ones(model)
    masks["4.weight"][:, 1:] = False  # only unit 0 of the middle layer is read
    masks["2.weight"][0, 1] = False  # which does not read unit 1 of the first
    assert effective(model, torch.randn(1, 3), masks) == {"0.weight": 3, "2.weight": 1, "4.weight": 2}


def test_no_path_no_weight():
    model = convs()
    masks = ones(model)
    masks["0.weight"][:2] = False
    masks["2.weight"][:, 2:] = False  # reads only what is gone
    found = cost(model, torch.randn(1, 3, 8, 8), masks)
    assert found.params == Amount(298, 54 + 90 + 10, 0)
    assert found.macs.effective == 0


@pytest.mark.parametrize("name", ["lenet5", "vgg11_bn", "resnet20", "cnn8"])
def test_no_path_in_the_zoo(name):
    model = build(name, seed=0)
    masks = ones(model)
    masks[list(masks)[-1]][:] = False
    assert cost(model, torch.randn(1, *MODELS[name].shape), masks).params.effective == 0


def test_one_thread_through_a_deep_network_is_all_that_lives():
    """One unit a layer, which reads 50 of which one lives: as a product of shares, 50^-120."""
    model = nn.Sequential(*itertools.chain(*((nn.Linear(50, 50), nn.ReLU()) for _ in range(120))))
    masks = {name: torch.zeros(50, 50, dtype=torch.bool) for name in ones(model)}
    for i, mask in enumerate(masks.values()):
        mask[7 * i % 50] = True
    first, *others = effective(model, torch.randn(1, 50), masks).values()
    assert first == 50
    assert set(others) == {1}


def test_random_masks_of_a_dense_network_against_reachability():
    widths = (6, 5, 4, 5, 3)
    model = nn.Sequential(
        *itertools.chain(*((nn.Linear(a, b), nn.Tanh()) for a, b in itertools.pairwise(widths)))
    )
    generator = torch.Generator().manual_seed(0)
    for _ in range(50):
        masks = {n: torch.rand(m.shape, generator=generator) < 0.3 for n, m in ones(model).items()}
        fed, read = [torch.ones(6, dtype=torch.bool)], [torch.ones(3, dtype=torch.bool)]
        for mask in masks.values():
            fed.append((mask & fed[-1]).any(1))
        for mask in reversed(masks.values()):
            read.insert(0, (mask & read[0][:, None]).any(0))
        expected = {
            name: int((mask & fed[i] & read[i + 1][:, None]).sum())
            for i, (name, mask) in enumerate(masks.items())
        }
        assert effective(model, torch.randn(2, 6), masks) == expected


@pytest.mark.parametrize(
    ("name", "side"), [("vgg11_bn", 32), ("resnet20", 32), ("resnet50", 12), ("lenet5-caffe", 28)]
)
def test_removing_what_is_not_effective_changes_no_output(name, side):
    """In eval mode at the start shifts and biases are 0, so a dead channel adds nothing at all."""
    from prunery.measure.reachability import live_weights

    model, x = build(name, seed=0).eval(), torch.randn(2, MODELS[name].shape[0], side, side)
    generator = torch.Generator().manual_seed(1)
    masks = Masks({n: torch.rand(m.shape, generator=generator) < 0.002 for n, m in ones(model).items()})
    live, notes = live_weights(model, prunable(model), x, masks)
    alive = Masks({n: mask & live[n] for n, mask in masks.items()})
    found = cost(model, x, masks).params
    assert notes == ()
    assert found.effective == alive.kept < masks.kept == found.kept
    masks.apply_(model)
    with torch.no_grad():
        before = model(x)
        alive.apply_(model)
        assert torch.equal(model(x), before)


@pytest.mark.parametrize("density", [0.002, 0.05])
@pytest.mark.parametrize("name", ["resnet20", "vgg11_bn", "lenet5"])
def test_against_the_gradient_of_absolute_weights_in_float64(name, density):
    """For networks of convolutions, batch norm and pooling the flow has a second, plainer way to be had."""
    model, shape = build(name, seed=0).eval(), MODELS[name].shape
    plain = {nn.MaxPool2d: nn.AvgPool2d(2), nn.ReLU: nn.Identity()}  # these pass part of a gradient only
    for module in model.modules():
        for child_name, child in module.named_children():
            if type(child) in plain:
                setattr(module, child_name, plain[type(child)])
    generator = torch.Generator().manual_seed(2)
    masks = {n: torch.rand(m.shape, generator=generator) < density for n, m in ones(model).items()}
    found = effective(model, torch.randn(1, *shape), masks)
    model = model.double()
    weights = {name: p for name, p in model.named_parameters() if name in masks}
    with torch.no_grad():
        for name, weight in weights.items():
            weight.copy_(masks[name] * (0.5 + torch.rand(weight.shape, generator=generator)))
    out = model(0.5 + torch.rand(1, *shape, generator=generator).double())
    grads = torch.autograd.grad(out.sum(), list(weights.values()))
    for (name, mask), grad in zip(masks.items(), grads, strict=True):
        pairs = (grad != 0).flatten(2).any(2) if grad.ndim > 2 else grad != 0
        assert found[name] == int((mask.flatten(2).sum(2) * pairs if grad.ndim > 2 else mask * pairs).sum())


# Shapes of networks


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = (nn.Conv2d(4, 4, 3, padding=1, bias=False) for _ in range(3))

    def forward(self, x):
        x = self.a(x)
        return self.c(x + self.b(x).relu())


def test_a_residual_keeps_alive_what_its_branch_loses():
    masks = ones(Residual())
    masks["b.weight"][1] = False  # the branch adds nothing to channel 1, which still carries a's
    assert effective(Residual(), torch.randn(1, 4, 6, 6), masks) == {
        "a.weight": 144,
        "b.weight": 108,
        "c.weight": 144,
    }
    masks["a.weight"][1] = False  # now nothing does
    assert effective(Residual(), torch.randn(1, 4, 6, 6), masks) == {
        "a.weight": 108,
        "b.weight": 3 * 3 * 9,
        "c.weight": 4 * 3 * 9,
    }


def test_grouped_and_transposed_convolutions():
    model = nn.Sequential(
        nn.Conv2d(4, 4, 1), nn.Conv2d(4, 6, 3, groups=2), nn.ConvTranspose2d(6, 4, 2, groups=2)
    )
    masks = ones(model)
    masks["0.weight"][0] = False  # read by the three filters of the first group
    masks["2.weight"][5] = False  # the last filter of the second group
    assert effective(model, torch.randn(1, 4, 8, 8), masks) == {
        "0.weight": 12,
        "1.weight": 3 * 9 + 2 * 18,
        "2.weight": 5 * 2 * 4,
    }


def test_flatten_after_pooling_kills_the_columns_of_a_channel():
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.MaxPool2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(27, 2))
    masks = ones(model)
    masks["0.weight"][2] = False
    assert effective(model, torch.randn(1, 1, 8, 8), masks) == {"0.weight": 18, "4.weight": 36}
