"""MACs and weights of well-known networks, and the bounds on MACs that a sparsity implies."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from prunery.stats import filled

_VGG = {
    "vgg11": "64 p 128 p 256 256 p 512 512 p 512 512",
    "vgg13": "64 64 p 128 128 p 256 256 p 512 512 p 512 512",
    "vgg16": "64 64 p 128 128 p 256 256 256 p 512 512 512 p 512 512 512",
    "vgg19": "64 64 p 128 128 p 256 256 256 256 p 512 512 512 512 p 512 512 512 512",
}
_BLOCKS = {"resnet18": (2, 2, 2, 2), "resnet34": (3, 4, 6, 3)}
_LENET300 = (784 * 300, 300 * 100, 100 * 10)


@dataclass(frozen=True)
class Layer:
    """Weights of a layer, and how often each is used for one image."""

    weights: int
    uses: int


@dataclass(frozen=True)
class Net:
    """A network as the bounds need it."""

    name: str
    layers: tuple[Layer, ...]

    @property
    def weights(self) -> int:
        """All prunable weights."""
        return sum(layer.weights for layer in self.layers)

    @property
    def macs(self) -> int:
        """MACs of the dense network for one image."""
        return sum(layer.weights * layer.uses for layer in self.layers)

    def bounds(self, sparsity: float) -> tuple[float, float]:
        """Return the (fewest, most) MACs that this sparsity over all weights can leave."""
        return filled([(layer.weights, layer.uses) for layer in self.layers], (1 - sparsity) * self.weights)


def net(name: str, *, classes: int, side: int) -> Net | None:
    """Return the network of that name for square images of `side` pixels, if it is known here."""
    if name in _VGG and side == 32:
        return Net(name, tuple(_vgg(_VGG[name], classes)))
    if name in _BLOCKS and side == 32:
        return Net(name, tuple(_resnet(_BLOCKS[name], classes)))
    if (deep := re.fullmatch(r"resnet(20|32|44|56|110)", name)) and side == 32:
        return Net(name, tuple(_small_resnet((int(deep[1]) - 2) // 6, classes)))
    return None


def lenet300() -> Net:
    """Return LeNet-300-100, in which each weight is used once."""
    return Net("lenet300", tuple(Layer(weights, 1) for weights in _LENET300))


def _vgg(widths: str, classes: int) -> Iterator[Layer]:
    channels, side = 3, 32
    for width in widths.split():
        if width == "p":
            side //= 2
        else:
            yield Layer(9 * channels * int(width), side * side)
            channels = int(width)
    yield Layer(channels * classes, 1)


def _resnet(blocks: tuple[int, ...], classes: int) -> Iterator[Layer]:
    yield Layer(9 * 3 * 64, 32 * 32)
    before = 64
    for stage, count in enumerate(blocks):
        width, uses = 64 << stage, (32 >> stage) ** 2
        for _ in range(count):
            yield Layer(9 * before * width, uses)
            yield Layer(9 * width * width, uses)
            if before != width:
                yield Layer(before * width, uses)
            before = width
    yield Layer(before * classes, 1)


def _small_resnet(blocks: int, classes: int) -> Iterator[Layer]:
    yield Layer(9 * 3 * 16, 32 * 32)
    before = 16
    for stage in range(3):
        width, uses = 16 << stage, (32 >> stage) ** 2
        for _ in range(blocks):
            yield Layer(9 * before * width, uses)
            yield Layer(9 * width * width, uses)
            before = width
    yield Layer(before * classes, 1)
