"""Users' own models and data, good and bad, for specs that name them as `lab_nets:...`."""

import torch
from torch import nn

from prunery.data.sets import from_tensors


def raises():
    raise RuntimeError("no such luck")


def no_module():
    return "a net"


def narrow():
    """Takes no 8x8 images."""
    return nn.Sequential(nn.Flatten(), nn.Linear(10, 10))


def bare():
    """One layer, whose outputs are the model's."""
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))


def two_classes():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 2))


class NotOnMeta(nn.Module):
    """Asks a tensor for its value, which the meta device does not know."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(64, 10)

    def forward(self, x):
        return self.layer(x.flatten(1)) + float(x.mean())


def few():
    """A set with two images of each of three classes."""
    y = torch.arange(3).repeat(3)
    x = torch.zeros(9, 1, 8, 8, dtype=torch.uint8)
    return from_tensors(x, y, x, y, name="few")


def normed():
    """A small convolution with batch norm, for 8x8 images of ten classes."""
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(256, 10)
    )


def seeds_itself():
    """The same initial weights whatever the seed of the run."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))


def draws_anew():
    """Other images at every call."""
    x = torch.randint(0, 256, (40, 1, 8, 8), dtype=torch.uint8)
    y = torch.arange(10).repeat(4)
    return from_tensors(x, y, x, y, name="draws_anew")


def half_zero():
    """A network whose last layer begins at 0, as some do."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 20), nn.ReLU(), nn.Linear(20, 10))
    nn.init.zeros_(net[3].weight)
    return net


class Mixture(nn.Module):
    """Three experts of 64 x 20 stacked in one parameter, weighed by a router."""

    def __init__(self):
        super().__init__()
        self.router = nn.Linear(64, 3)
        self.experts = nn.Parameter(torch.randn(3, 20, 64) * 0.1)

    def forward(self, x):
        return torch.einsum("be,eoi,bi->bo", self.router(x).softmax(1), self.experts, x)


def experts():
    """A mixture of experts for 8x8 images of ten classes: 192 + 3840 + 200 weights."""
    return nn.Sequential(nn.Flatten(), Mixture(), nn.ReLU(), nn.Linear(20, 10))


class Bare(nn.Module):
    """A matrix that no layer holds."""

    def __init__(self):
        super().__init__()
        self.matrix = nn.Parameter(torch.randn(10, 64) * 0.1)

    def forward(self, x):
        return x.flatten(1) @ self.matrix.T


def ends_bare():
    """A layer, and a matrix of no layer that makes the output."""
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), Bare())
