"""Batches made on the device from whole arrays: no worker processes, no copies to hand over.

Axes: b images, C channels, H height, W width. The bits of a batch depend on (seed, epoch, step) only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn.functional import pad

from prunery.data.splits import Split
from prunery.errors import ChoiceError, DataError
from prunery.registry import nearest
from prunery.seeds import stream

AUGMENTATIONS = ("none", "flip", "crop_flip")
_PAD = 4  # pixels on each side, black: the usual CIFAR augmentation (He et al. 2016, section 4.2)


class Batches:
    """A re-iterable of (x float32 (b, C, H, W), y int64 (b,)): normalised batches on the split's device.

    The last batch may be smaller. `shuffle` draws the order from (seed, epoch); `augmentation` "flip"
    mirrors half of the images, "crop_flip" also shifts each by up to 4 pixels, black coming in. `start` is
    the number of batches to leave out: the others are the same bits as without it.

    ChoiceError: an unknown augmentation. DataError: `batch` below 1, or `start` beyond the last batch.
    """

    def __init__(
        self,
        split: Split,
        *,
        batch: int,
        augmentation: str = "none",
        seed: int,
        epoch: int = 0,
        shuffle: bool = False,
        start: int = 0,
    ) -> None:
        self.split, self.batch, self.augmentation = split, batch, augmentation
        self.seed, self.epoch, self.shuffle, self.start = seed, epoch, shuffle, start
        check_augmentation(augmentation, split)
        if batch < 1:
            raise DataError(
                f"batches of {batch}", "a batch has at least one image", "give a batch of 1 or more"
            )
        if not 0 <= start <= self.total:
            problem = f"the epoch has {self.total} batches"
            raise DataError(f"batches from number {start} on", problem, f"start between 0 and {self.total}")

    @property
    def total(self) -> int:
        """Batches in the whole epoch."""
        return -(-len(self.split) // self.batch)

    def __len__(self) -> int:
        return self.total - self.start

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        split, order, normal = self.split, self._order(), normaliser(self.split)
        for step in range(self.start, self.total):
            rows = slice(step * self.batch, (step + 1) * self.batch)
            x, y = split.x[rows], split.y[rows]
            if order is not None:
                x, y = split.x.index_select(0, order[rows]), split.y.index_select(0, order[rows])
            if self.augmentation != "none":
                x = self._augmented(x, step)
            yield normal(x), y

    def _order(self) -> Tensor | None:
        if not self.shuffle:
            return None
        order = torch.randperm(len(self.split), generator=stream(self.seed, "order", self.epoch))
        return order.to(self.split.x.device)

    def _augmented(self, x: Tensor, step: int) -> Tensor:
        # drawn on the CPU, so that every device sees the same batches
        generator = stream(self.seed, "augment", self.epoch, step)
        flips = torch.rand(len(x), generator=generator) < 0.5
        x = flipped(x, flips)
        if self.augmentation == "crop_flip":
            x = shifted(x, torch.randint(0, 2 * _PAD + 1, (2, len(x)), generator=generator))
        return x


def normaliser(split: Split) -> Callable[[Tensor], Tensor]:
    """Return what normalises examples of a split, to float32; without statistics they stay as they are."""
    if not split.mean:
        return lambda x: x
    scale, shift = affine(split)
    return lambda x: x.to(torch.float32, copy=True).mul_(scale).add_(shift)


def normalised(split: Split, x: Tensor) -> Tensor:
    """Return examples of a split, float32 and normalised; as they are where the split has no statistics."""
    return normaliser(split)(x)


def affine(split: Split) -> tuple[Tensor, Tensor]:
    """Return scale and shift, float32 (1, C, 1, 1): pixels 0..255 to (pixel / 255 - mean) / std."""
    mean, std = (torch.tensor(values, dtype=torch.float64) for values in (split.mean, split.std))
    return tuple(  # type: ignore[return-value]
        values.to(torch.float32).view(1, -1, 1, 1).to(split.x.device)
        for values in (1 / (255 * std), -mean / std)
    )


def flipped(x: Tensor, flips: Tensor) -> Tensor:
    """Return the images x (b, C, H, W), those with True in `flips`, bool (b,), mirrored left to right."""
    doubled = torch.cat(
        [x, x.flip(3)]
    )  # then whole images are picked: five times as fast as `where` on a CPU
    return doubled.index_select(0, torch.arange(len(x), device=x.device) + len(x) * flips.to(x.device))


def shifted(x: Tensor, corners: Tensor, *, margin: int = _PAD) -> Tensor:
    """Return each image padded with `margin` zeros and cut to its size again; x: (b, C, H, W).

    `corners`, int64 (2, b) in 0..2*margin: the row and column in the padded image of each cut's corner.
    """
    b, c, h, w = x.shape
    padded = pad(x, (margin,) * 4).contiguous()
    padded_height, padded_width = h + 2 * margin, w + 2 * margin
    # every run of w neighbouring pixels is a row of an overlapping view, so that a cut only picks rows
    runs = padded.as_strided((padded.numel() - w + 1, w), (1, 1))
    top, left = corners.to(x.device)
    planes = torch.arange(b * c, device=x.device).view(b, c, 1) * (padded_height * padded_width)
    lines = (top[:, None] + torch.arange(h, device=x.device)) * padded_width + left[:, None]
    return runs.index_select(0, (planes + lines[:, None]).view(-1)).view(b, c, h, w)


def balanced(split: Split, *, per_class: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return one normalised batch with exactly `per_class` images of each class, (x, y); classes take turns.

    x: float32 (per_class * classes, C, H, W), y: int64. Drawn from the seed, without replacement.
    DataError: a class has fewer images.
    """
    counts = torch.bincount(split.y, minlength=split.classes).tolist()
    if per_class < 1 or min(counts) < per_class:
        few = min(range(split.classes), key=counts.__getitem__)
        raise DataError(
            f"{per_class} examples of each class",
            f"the {split.name} split has {counts[few]} of class {few}",
            f"ask for 1 to {counts[few]}" if counts[few] else "use a split with images of every class",
        )
    order = torch.randperm(len(split), generator=stream(seed, "balanced"))
    by_class = order[split.y.cpu()[order].sort(stable=True).indices]
    starts = torch.tensor([0, *counts[:-1]]).cumsum(0)
    rows = by_class[(starts + torch.arange(per_class)[:, None]).view(-1)].to(split.x.device)
    return normalised(split, split.x.index_select(0, rows)), split.y.index_select(0, rows)


def check_augmentation(name: str, split: Split) -> None:
    """Raise ChoiceError for an augmentation that there is none of, or that a split's examples cannot have."""
    if name not in AUGMENTATIONS:
        raise ChoiceError(
            f"augmentation {name!r}",
            f"there is none of that name{nearest(name, AUGMENTATIONS)}",
            f"choose one of: {', '.join(AUGMENTATIONS)}",
        )
    if name != "none" and split.x.ndim != 4:
        raise ChoiceError(
            f"augmentation {name!r}",
            f"examples have the shape {tuple(split.x.shape[1:])}, which is no image's",
            "use augmentation='none'",
        )
