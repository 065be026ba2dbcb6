"""Whole image sets as tensors, with their statistics and their content hash.

Axes: n images, C channels, H height, W width. Pixels are uint8; 255 stands for 1.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Images:
    """Images with their labels: `x` uint8 (n, C, H, W), `y` int64 (n,)."""

    x: Tensor
    y: Tensor

    def __len__(self) -> int:
        return len(self.y)


@dataclass(frozen=True, eq=False)
class ImageSet:
    """A set as its source gives it; `mean` and `std` per channel of the train images in units of [0, 1]."""

    name: str
    classes: int
    class_names: tuple[str, ...]
    train: Images
    test: Images
    mean: tuple[float, ...]
    std: tuple[float, ...]
    revision: str  # of the source: a commit, "files:<hash>", "embedded", "given"
    content: str  # sha256 of all pixels and labels, in order

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of one image."""
        channels, height, width = self.train.x.shape[1:]
        return channels, height, width


def image_set(
    name: str, train: Images, test: Images, *, class_names: tuple[str, ...], revision: str
) -> ImageSet:
    """Return the set of these images, with its statistics and its content hash computed."""
    train, test = (Images(_in_order(part.x), part.y) for part in (train, test))
    mean, std = statistics(train.x)
    return ImageSet(
        name, len(class_names), class_names, train, test, mean, std, revision, content_of(train, test)
    )


def _in_order(x: Tensor) -> Tensor:
    """Return the images with the strides of (n, C, H, W): of one channel, others pass for contiguous too.

    A convolution takes them for channels-last, and then a model that flattens with `view` fails.
    """
    return x.contiguous().view(-1).view(x.shape)


def statistics(x: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and population standard deviation per channel, in units of [0, 1]; x: uint8 (n, C, H, W).

    From exact integer sums, so the same on every machine. The std of a constant channel is given as 1,
    which makes that channel 0 after normalisation rather than infinite.
    """
    pairs = [_moments(x[:, channel]) for channel in range(x.shape[1])]
    return tuple(mean for mean, _ in pairs), tuple(std for _, std in pairs)


def _moments(x: Tensor) -> tuple[float, float]:
    counts = torch.bincount(x.reshape(-1), minlength=256).tolist()
    n = sum(counts)
    first = sum(value * count for value, count in enumerate(counts))
    second = sum(value * value * count for value, count in enumerate(counts))
    spread = second * n - first * first
    return first / (255 * n), math.sqrt(spread) / (255 * n) if spread else 1.0


def content_of(train: Images, test: Images) -> str:
    """Return the sha256 (hex) of shapes, pixels and labels of both splits, in their order."""
    digest = hashlib.sha256()
    for tensor in (train.x, train.y, test.x, test.y):
        digest.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).numpy().data)
    return digest.hexdigest()
