"""Image sets from a user's tensors or map-style datasets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from prunery.data.images import Images, ImageSet, image_set
from prunery.errors import DataError
from prunery.factories import as_ours

_INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
_CORRECT = "correct the dataset, so that each item is an image and its label"
_SCALE = "give uint8, or float in [0, 1], not yet normalised: that is done when batches are made"


def from_tensors(
    x: Any,
    y: Any,
    test_x: Any,
    test_y: Any,
    *,
    name: str = "own",
    classes: int | None = None,
    class_names: Sequence[str] = (),
) -> ImageSet:
    """Return the set of these tensors (or arrays): images (n, C, H, W) or (n, H, W), labels (n,).

    Images are uint8, or float in [0, 1], which is rounded to the nearest of 256 levels; uint8 tensors are
    shared, not copied. Labels are integers in 0..classes-1; `classes` is by default the number of
    `class_names`, or else the largest label plus 1; then some label must be 0.

    DataError: other types, shapes or ranges, or a split without images.
    """
    with as_ours(f"the data set {name!r}", "give tensors or arrays", DataError, "reading it raises"):
        train, test = _images("train", x, y), _images("test", test_x, test_y)
    if train.x.shape[1:] != test.x.shape[1:]:
        raise DataError(
            f"the data set {name!r}",
            f"train images are {tuple(train.x.shape[1:])} and test images {tuple(test.x.shape[1:])}",
            "give both in one shape (C, H, W)",
        )
    names = _names(train, test, classes, class_names)
    return image_set(name, train, test, class_names=names, revision="given")


def from_dataset(
    train: Any,
    test: Any,
    *,
    name: str = "own",
    image: str = "image",
    label: str = "label",
    classes: int | None = None,
    class_names: Sequence[str] = (),
) -> ImageSet:
    """Return the set of two map-style datasets (`len(d)`, `d[i]`), read once from first to last.

    An item is a pair (image, label), or a mapping with the keys `image` and `label`. An image is a PIL
    image, an array (H, W) or (H, W, C), or a tensor (H, W) or (C, H, W); its values as in `from_tensors`.

    DataError: an item of another form, or images of different sizes.
    """
    pairs = [_stacked(split, part, image, label) for split, part in (("train", train), ("test", test))]
    (x, y), (test_x, test_y) = pairs
    return from_tensors(x, y, test_x, test_y, name=name, classes=classes, class_names=class_names)


def _images(split: str, x: Any, y: Any) -> Images:
    pixels, labels = _pixels(split, torch.as_tensor(x)), torch.as_tensor(y)
    if labels.dtype not in _INTEGERS or labels.dim() != 1:
        problem = f"they are {labels.dtype} of shape {tuple(labels.shape)}"
        raise DataError(f"the {split} labels", problem, "give one integer per image, shape (n,)")
    if len(labels) != len(pixels) or not len(pixels):
        problem = f"there are {len(labels)} labels for {len(pixels)} images"
        raise DataError(f"the {split} split", problem, "give as many labels as images, and at least one")
    return Images(pixels, labels.detach().cpu().long())


def _pixels(split: str, x: Tensor) -> Tensor:
    if x.dim() not in (3, 4):
        problem = f"they have the shape {tuple(x.shape)}"
        raise DataError(f"the {split} images", problem, "give the shape (n, C, H, W) or (n, H, W)")
    x = x.detach().cpu().contiguous()
    x = x if x.dim() == 4 else x.unsqueeze(1)
    if x.dtype == torch.uint8:
        return x
    if not x.dtype.is_floating_point:
        raise DataError(f"the {split} images", f"they are {x.dtype}", _SCALE)
    if x.numel() and not (x.min() >= 0 and x.max() <= 1):  # also true of NaN
        problem = f"their values lie in [{float(x.min()):g}, {float(x.max()):g}]"
        raise DataError(f"the {split} images", problem, _SCALE)
    return (x.float() * 255).round().to(torch.uint8)


def _names(train: Images, test: Images, classes: int | None, names: Sequence[str]) -> tuple[str, ...]:
    if classes is not None and not (isinstance(classes, int | np.integer) and classes >= 1):
        raise DataError(f"a data set of {classes!r} classes", "it is no number of classes", "give at least 1")
    names = tuple(map(str, names))
    low = min(int(train.y.min()), int(test.y.min()))
    high = max(int(train.y.max()), int(test.y.max()))
    count = int(classes or 0) or len(names) or high + 1
    if low > 0 and classes is None and not names:
        problem = f"they lie in {low}..{high}: no image is of class 0, which would be a class too many"
        raise DataError("the labels", problem, f"number the classes from 0, or give classes={count}")
    if low < 0 or high >= count:
        problem = f"they lie in {low}..{high}, and there are {count} classes"
        raise DataError("the labels", problem, f"number the classes 0..{count - 1}, or give `classes`")
    if names and len(names) != count:
        raise DataError(
            "the class names", f"there are {len(names)} for {count} classes", "give one per class"
        )
    return names or tuple(map(str, range(count)))


def _stacked(split: str, dataset: Any, image: str, label: str) -> tuple[Tensor, Tensor]:
    images: list[Tensor] = []
    labels: list[int] = []
    if not (hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")):
        problem = f"a {type(dataset).__name__} has no length, or its items no numbers"
        raise DataError(f"the {split} dataset", problem, "give one with __len__ and __getitem__, or tensors")
    with as_ours(f"the {split} dataset", _CORRECT, DataError, "its length raises"):
        rows = range(len(dataset))
    for row in rows:
        what = f"item {row} of the {split} dataset"
        with as_ours(what, _CORRECT, DataError, "reading it raises"):
            x, y = _pair(what, dataset[row], image, label)
            images.append(_tensor(what, x))
        if images[-1].shape != images[0].shape or images[-1].dtype != images[0].dtype:
            problem = f"its image is {_form(images[-1])}, that of item 0 is {_form(images[0])}"
            raise DataError(what, problem, "bring all images to one shape and type first")
        labels.append(_label(what, y))
    if not images:
        raise DataError(f"the {split} dataset", "it has no items", "give at least one")
    with as_ours(f"the {split} dataset", _CORRECT, DataError, "putting its items together raises"):
        return torch.stack(images), torch.tensor(labels)


def _pair(what: str, item: Any, image: str, label: str) -> tuple[Any, Any]:
    if isinstance(item, Mapping):
        if image not in item or label not in item:
            problem = f"it has the keys {', '.join(map(repr, item))}"
            raise DataError(what, problem, f"name them with image= and label= (now {image!r} and {label!r})")
        return item[image], item[label]
    if isinstance(item, tuple | list) and len(item) == 2:
        return item[0], item[1]
    raise DataError(what, f"it is a {type(item).__name__}", "return a pair (image, label), or a mapping")


def _tensor(what: str, image: Any) -> Tensor:
    """Return the image as a tensor (H, W) or (C, H, W)."""
    if isinstance(image, Tensor):
        return image.detach().cpu()
    if hasattr(image, "mode") and image.mode not in ("L", "RGB"):
        problem = f"its image has the mode {image.mode!r}"
        raise DataError(what, problem, "convert it to 'L' (grey) or 'RGB' first")
    array = np.array(image)
    if array.ndim not in (2, 3):
        problem = f"its image has {array.ndim} axes"
        raise DataError(what, problem, "give (H, W) or (H, W, C) as an array, or (C, H, W) as a tensor")
    return torch.from_numpy(array if array.ndim == 2 else np.ascontiguousarray(array.transpose(2, 0, 1)))


def _label(what: str, label: Any) -> int:
    try:
        if int(label) == label:
            return int(label)
    except (TypeError, ValueError, RuntimeError, OverflowError):  # of torch: a tensor of several numbers
        pass
    raise DataError(what, f"its label is {label!r}", "give an integer")


def _form(image: Tensor) -> str:
    return f"{image.dtype} {tuple(image.shape)}"
