"""Random networks of many operations, drawn from a seed; `graph_random_parts` has the rest of the parts."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

Shape = tuple[int, int, int]  # channels, height, width
Part = Callable[[random.Random, Shape], "Op | None"]
PARTS: list[Part] = []


class Op(nn.Module):
    """A function of itself and of its input and of what it needs; `out` is the shape it gives."""

    def __init__(self, function: Callable[[Any, Tensor], Tensor], out: Shape, **needs: Any) -> None:
        super().__init__()
        self.function, self.out = function, out
        for name, need in needs.items():
            setattr(self, name, nn.ModuleList(need) if isinstance(need, list) else need)

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self, x)


def part(function: Part) -> Part:
    """Enter a function (random numbers, shape) that gives a part, or None where the shape does not suit."""
    PARTS.append(function)
    return function


def chain(draw: random.Random, shape: Shape, length: int) -> list[Op]:
    """Return parts one behind the other."""
    ops: list[Op] = []
    while len(ops) < length:
        op = draw.choice(PARTS)(draw, shape)
        if op is not None and op.out[0] <= 64 and op.out[1] * op.out[2] <= 256:
            ops.append(op)
            shape = op.out
    return ops


def width(draw: random.Random) -> int:
    return draw.choice((4, 6, 8, 12, 16))


class Network(nn.Module):
    """A stem, parts, and a head: linear after a mean or all positions, a convolution, or two outputs."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        draw = random.Random(seed)
        stem = width(draw)
        self.stem = nn.Conv2d(3, stem, 3, padding=1)
        self.parts = nn.Sequential(*chain(draw, (stem, 6, 6), draw.randint(1, 7)))
        c, h, w = self.parts[-1].out
        self.kind = draw.choice(("mean", "flat", "map", "two"))
        self.fc = nn.Linear(c * h * w if self.kind == "flat" else c, 4)
        self.map = nn.Conv2d(c, 2, 1) if self.kind in ("map", "two") else None

    def forward(self, x: Tensor) -> Any:
        x = self.parts(functional.relu(self.stem(x)))
        if self.map is None:
            return self.fc(x.flatten(1) if self.kind == "flat" else x.mean((2, 3)))
        return self.map(x) if self.kind == "map" else (self.map(x), {"y": self.fc(x.amax((2, 3)))})


def input_of(batch: int, seed: int) -> Tensor:
    return torch.randn(batch, 3, 6, 6, generator=torch.Generator().manual_seed(seed))


@part
def convolution(draw: random.Random, shape: Shape) -> Op:
    (c, h, w), out = shape, width(draw)
    groups = draw.choice([g for g in (1, 1, 1, 2, 4, c) if c % g == 0])
    out = c * draw.choice((1, 2)) if groups == c else out - out % groups or groups
    kernel, bias = draw.choice(((1, 0), (3, 1))), draw.random() < 0.5
    conv = nn.Conv2d(c, out, kernel[0], padding=kernel[1], groups=groups, bias=bias)
    if draw.random() < 0.15:
        conv = nn.utils.parametrizations.weight_norm(conv)
    return Op(lambda m, x: m.conv(x), (out, h, w), conv=conv)


@part
def strided(draw: random.Random, shape: Shape) -> Op | None:
    (c, h, w), out = shape, width(draw)
    conv = nn.Conv2d(c, out, 2, 2)
    return Op(lambda m, x: m.conv(x), (out, h // 2, w // 2), conv=conv) if min(h, w) > 3 else None


@part
def transposed(draw: random.Random, shape: Shape) -> Op | None:
    (c, h, w), out = shape, width(draw)
    groups = draw.choice([g for g in (1, 1, 2, c) if c % g == 0 and out % g == 0])
    return Op(lambda m, x: m.up(x), (out, 2 * h, 2 * w), up=nn.ConvTranspose2d(c, out, 2, 2, groups=groups))


@part
def norm(draw: random.Random, shape: Shape) -> Op:
    c = shape[0]
    groups = draw.choice([g for g in (1, 2, 4, c) if c % g == 0])
    kinds = (
        lambda: nn.BatchNorm2d(c),
        lambda: nn.BatchNorm2d(c, affine=draw.random() < 0.5, track_running_stats=True),
        lambda: nn.GroupNorm(groups, c, affine=draw.random() < 0.7),
        lambda: nn.InstanceNorm2d(c, affine=draw.random() < 0.5),
    )
    return Op(lambda m, x: m.norm(x), shape, norm=draw.choice((*kinds, kinds[0]))())


@part
def activation(draw: random.Random, shape: Shape) -> Op:
    kinds = (
        nn.ReLU,
        lambda: nn.ReLU(inplace=True),
        nn.GELU,
        nn.SiLU,
        nn.Sigmoid,
        nn.Tanh,
        nn.Hardswish,
        nn.Softplus,
        nn.LeakyReLU,
        nn.ELU,
        nn.LogSigmoid,
        nn.Mish,
        lambda: nn.PReLU(draw.choice((1, shape[0]))),
        nn.Dropout,
    )
    return Op(lambda m, x: m.act(x), shape, act=draw.choice(kinds)())


@part
def pool(draw: random.Random, shape: Shape) -> Op | None:
    c, h, w = shape
    if min(h, w) < 4:
        return None
    kinds = (
        (nn.MaxPool2d(2), (h // 2, w // 2)),
        (nn.AvgPool2d(3, 1, 1), (h, w)),
        (nn.AdaptiveAvgPool2d(2), (2, 2)),
    )
    kind, size = draw.choice(kinds)
    return Op(lambda m, x: m.pool(x), (c, *size), pool=kind)


@part
def resized(draw: random.Random, shape: Shape) -> Op:
    mode = draw.choice(("nearest", "bilinear"))
    out = (shape[0], 2 * shape[1], 2 * shape[2])
    return Op(lambda m, x: functional.interpolate(x, scale_factor=2, mode=m.mode), out, mode=mode)


@part
def residual(draw: random.Random, shape: Shape) -> Op:
    body = _fitting(chain(draw, shape, draw.randint(1, 3)), shape)
    kind = draw.choice(("add", "inplace", "mul", "where", "max", "sub"))

    def run(m: Any, x: Tensor) -> Tensor:
        y = x
        for op in m.body:
            y = op(y)
        y = m.back(y)
        if m.kind == "inplace":
            y += x
            return y
        return {
            "add": lambda: x + 0.5 * y,
            "sub": lambda: 1.0 - x - y,
            "mul": lambda: x * torch.sigmoid(y),
            "where": lambda: torch.where(y > 0, x, y),
            "max": lambda: torch.maximum(x, y),
        }[m.kind]()

    back = nn.Conv2d(body[-1].out[0] if body else shape[0], shape[0], 1)
    return Op(run, shape, body=body, back=back, kind=kind)


def _fitting(body: list[Op], shape: Shape) -> list[Op]:
    """Return the first parts of a chain that keep height and width."""
    kept: list[Op] = []
    for op in body:
        if op.out[1:] != shape[1:]:
            break
        kept.append(op)
    return kept


@part
def concatenated(draw: random.Random, shape: Shape) -> Op:
    branches = [nn.Conv2d(shape[0], width(draw), k, padding=k // 2) for k in (1, 3)[: draw.randint(1, 2)]]
    keep = draw.random() < 0.5
    total = sum(b.out_channels for b in branches) + (shape[0] if keep else 0)
    out = (total, *shape[1:])
    return Op(
        lambda m, x: torch.cat([*(b(x) for b in m.branches), *([x] if m.keep else [])], 1),
        out,
        branches=branches,
        keep=keep,
    )


@part
def squeezed(draw: random.Random, shape: Shape) -> Op:
    down, up = nn.Linear(shape[0], 4), nn.Linear(4, shape[0])

    def run(m: Any, x: Tensor) -> Tensor:
        gate = m.up(functional.relu(m.down(x.mean((2, 3)))))
        return (
            x * torch.sigmoid(gate)[:, :, None, None]
            if m.late
            else x * gate.sigmoid().view(*x.shape[:2], 1, 1)
        )

    return Op(run, shape, down=down, up=up, late=draw.random() < 0.5)


@part
def reused(draw: random.Random, shape: Shape) -> Op:
    return Op(
        lambda m, x: m.conv(functional.relu(m.conv(x))),
        shape,
        conv=nn.Conv2d(shape[0], shape[0], 3, padding=1),
    )
