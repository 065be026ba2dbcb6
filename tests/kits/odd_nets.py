"""Factories for 8x8 images of ten classes, each odd in one way: some must work, others be refused."""

import random

import torch
from torch import nn

import prunery

SHARED = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))


def lazy():
    """Layers that learn their sizes from the first image."""
    return nn.Sequential(
        nn.LazyConv2d(4, 3), nn.LazyBatchNorm2d(), nn.ReLU(), nn.Dropout(), nn.Flatten(), nn.LazyLinear(10)
    )


class LazyInTraining(nn.Module):
    """A second head that only training runs, of a size that only running it tells."""

    def __init__(self):
        super().__init__()
        self.head, self.extra = nn.Linear(64, 10), nn.LazyLinear(10)

    def forward(self, x):
        x = x.flatten(1)
        return self.head(x) + self.extra(x) if self.training else self.head(x)


def lazy_for_other_images():
    return nn.Sequential(nn.Flatten(), nn.Linear(10, 10), nn.LazyLinear(10))


def a_class():
    return LazyInTraining


def nothing():
    pass


def ends():
    raise SystemExit(3)


def wants_width(width):
    return nn.Linear(width, 10)


def on_meta():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10, device="meta"))


def part_on_meta():
    """Its weights have values, a buffer has none."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    model.register_buffer("scale", torch.ones(10, device="meta"))
    return model


def shared():
    """The same model at every call."""
    return SHARED


def shared_weights():
    """Another model at every call, around the same weights."""
    return nn.Sequential(nn.Flatten(), SHARED[1])


def in_double():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10)).double()


def frozen():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10)).requires_grad_(False)


class Odd(nn.Module):
    """A linear model to be odd in one way."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(64, 10)

    def forward(self, x):
        return self.layer(x.flatten(1))


class TwoArguments(Odd):
    def forward(self, x, y):
        return self.layer(x.flatten(1)) + y


class Tuple(Odd):
    def forward(self, x):
        return super().forward(x), x


class TupleInTraining(Odd):
    """As networks with auxiliary heads do."""

    def forward(self, x):
        return (super().forward(x), x) if self.training else super().forward(x)


class Dict(Odd):
    def forward(self, x):
        return {"logits": super().forward(x)}


class WholeNumbers(Odd):
    def forward(self, x):
        return super().forward(x).argsort(1)


class Exits(Odd):
    def forward(self, x):
        raise SystemExit("no such layer")


class Forgetful(Odd):
    """What the forward pass gives has no gradient."""

    @torch.no_grad()
    def forward(self, x):
        return super().forward(x)


class MoreThanTensors(Odd):
    """Its state dict holds what a file of tensors cannot."""

    def get_extra_state(self):
        return {"version": 3}

    def set_extra_state(self, state):
        pass


class Renamed(nn.Module):
    """Another name for its layer at every build."""

    def __init__(self):
        super().__init__()
        self.add_module(f"layer{random.SystemRandom().random()}".replace(".", ""), nn.Linear(64, 10))

    def forward(self, x):
        return next(self.children())(x.flatten(1))


class Draws(Odd):
    """Noise in the forward pass, from the global generator."""

    def forward(self, x):
        return super().forward(x) + torch.randn(10)


class OnlyTwo(Odd):
    """Takes two images at a time and no other number."""

    def forward(self, x):
        if len(x) != 2:
            raise RuntimeError("two, please")
        return super().forward(x)


@prunery.granularity.add(name="breaks")
def breaks(context):
    """A granularity that does not work."""
    raise KeyError("units")
