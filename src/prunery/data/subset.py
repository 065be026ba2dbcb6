"""Parts of a set: some of its classes, or fewer training images, drawn from the seed."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from prunery.core.selection import shares
from prunery.data.images import Images, ImageSet, image_set
from prunery.data.splits import Splits
from prunery.errors import DataError
from prunery.seeds import stream


def of_classes(images: ImageSet, count: int, seed: int) -> ImageSet:
    """Return the set with `count` classes drawn from the seed, labelled 0..count-1 in their old order.

    Statistics and content hash are those of what is left. DataError: fewer than 2 classes, or more than
    there are.
    """
    if not 2 <= count <= images.classes:
        raise DataError(
            f"{count} classes of {images.name!r}",
            f"it has {images.classes}",
            f"ask for 2 to {images.classes} classes",
        )
    drawn = torch.randperm(images.classes, generator=stream(seed, "classes"))[:count].sort().values
    labels = torch.full((images.classes,), -1).index_copy(0, drawn, torch.arange(count))
    train, test = (_relabelled(part, labels) for part in (images.train, images.test))
    names = tuple(images.class_names[i] for i in drawn.tolist())
    return image_set(images.name, train, test, class_names=names, revision=images.revision)


def _relabelled(part: Images, labels: Tensor) -> Images:
    y = labels[part.y]
    return Images(part.x[y >= 0], y[y >= 0])


def fewer(splits: Splits, count: int, seed: int) -> Splits:
    """Return the splits with `count` training images, classes in proportion; validation and test as before.

    Images keep their order. DataError: fewer than one image of each class, or more than there are.
    """
    train = splits.train
    if not train.classes <= count <= len(train):
        raise DataError(
            f"{count} training images",
            f"there are {len(train)} of {train.classes} classes, validation images aside",
            f"ask for {train.classes} to {len(train)}",
        )
    order = torch.randperm(len(train), generator=stream(seed, "fewer"))
    quotas = shares(torch.bincount(train.y, minlength=train.classes).tolist(), count)
    by_class = [order[train.y[order] == label][:quota] for label, quota in enumerate(quotas)]
    kept = torch.cat(by_class).sort().values
    return replace(splits, train=replace(train, x=train.x[kept], y=train.y[kept]))
