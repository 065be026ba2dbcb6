"""Train, validation and test: a seed draws validation images out of train; test images never move."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from prunery.core.selection import shares
from prunery.data.images import Images, ImageSet
from prunery.errors import DataError
from prunery.seeds import stream


@dataclass(frozen=True, eq=False)
class Split:
    """Part of a set: `x` uint8 (n, C, H, W), `y` int64 (n,), and the statistics that normalise it.

    Without statistics (`mean` and `std` empty) `x` (n, ...) is of any kind: what a model takes as it is.
    """

    name: str  # train, validation or test
    x: Tensor
    y: Tensor
    mean: tuple[float, ...]
    std: tuple[float, ...]
    classes: int

    def __len__(self) -> int:
        return len(self.y)

    def to(self, device: torch.device | str) -> Split:
        """Return the same split with its tensors on that device."""
        return replace(self, x=self.x.to(device), y=self.y.to(device))


@dataclass(frozen=True, eq=False)
class Splits:
    """The three splits; no image is in two of them."""

    train: Split
    validation: Split
    test: Split

    def to(self, device: torch.device | str) -> Splits:
        """Return the same splits with their tensors on that device."""
        return Splits(self.train.to(device), self.validation.to(device), self.test.to(device))


def split(images: ImageSet, *, validation: float | int = 0.1, seed: int) -> Splits:
    """Return the set with a seeded, class-balanced validation split taken out of its train images.

    `validation` is a fraction of the train images (a float in [0, 1), `round(fraction * n)` images) or a
    number of them (an int). Each class gives its share, to the nearest image by largest remainders, so the
    total is exact. Images keep their order within each split. All splits carry the statistics of the whole
    train part of the set.

    DataError: a number or fraction out of range.
    """
    labels = images.train.y
    chosen = torch.zeros(len(labels), dtype=torch.bool)
    chosen[_drawn(labels, _count(validation, len(labels)), images.classes, seed)] = True
    parts = {
        "train": Images(images.train.x[~chosen], labels[~chosen]),
        "validation": Images(images.train.x[chosen], labels[chosen]),
        "test": images.test,
    }
    return Splits(
        **{
            name: Split(name, part.x, part.y, images.mean, images.std, images.classes)
            for name, part in parts.items()
        }
    )


def _count(validation: float | int, n: int) -> int:
    whole = isinstance(validation, int)
    count = int(validation) if whole else round(validation * n) if 0 <= validation < 1 else -1
    if isinstance(validation, bool) or not 0 <= count < n:
        raise DataError(
            f"a validation split of {validation!r}",
            f"there are {n} train images, and at least one must stay",
            f"give a fraction in [0, 1) or a whole number from 0 to {n - 1}",
        )
    return count


def _drawn(labels: Tensor, count: int, classes: int, seed: int) -> Tensor:
    """Return the indices of `count` images, each class in proportion to its size."""
    generator = stream(seed, "validation")
    quotas = shares(torch.bincount(labels, minlength=classes).tolist(), count)
    drawn = []
    for label, quota in enumerate(quotas):
        members = (labels == label).nonzero().squeeze(1)
        drawn.append(members[torch.randperm(len(members), generator=generator)[:quota]])
    return torch.cat(drawn)
