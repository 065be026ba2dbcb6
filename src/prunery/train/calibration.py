"""Examples that a trained network is compressed with: part of them are used, part are held out.

They are what the model is called with, as it is (tensors, batches, a data set), or images that are normalised
when batches are made (an `ImageSet`, or a `Split`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from prunery.core.context import first_tensor
from prunery.data.batches import normalised
from prunery.data.images import ImageSet
from prunery.data.splits import Split, Splits
from prunery.errors import ChoiceError, DataError
from prunery.factories import as_ours
from prunery.forward import eval_mode, placed
from prunery.seeds import stream

LEAST = 16
"""Examples that are needed at least: 14 are used, 2 are held out."""

_LABELS = (torch.int64, torch.int32, torch.int16, torch.uint8)
_GIVE = "give a tensor of what the model takes, (x, y) with labels, a list of batches, or a DataLoader"


@dataclass(frozen=True)
class Calibration:
    """Examples that are used, and others on which what came of it is measured."""

    used: Split
    held: Split
    labelled: bool

    def splits(self) -> Splits:
        """Return them as the splits of a `RecoveryContext`: the held-out ones are its validation and test."""
        return Splits(self.used, self.held, self.held)


def calibration(data: Any, *, examples: int, held_out: float, seed: int) -> Calibration:
    """Return `examples` random ones of `data` at most, of which the part `held_out` is put aside.

    data: a tensor x (n, ...), a pair (x, y) with labels y (n,), a list or DataLoader of x or (x, y), a data
    set of either, an ImageSet, of which the training images count, or a Split, without labels where they are
    below 0. DataError: none of these, too few, or values that are NaN or infinite.
    """
    x: Tensor
    y: Tensor | None
    if not 0 < held_out < 1:
        raise ChoiceError(f"held_out={held_out}", "it is no part of the examples", "give, say, 0.125")
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    if isinstance(data, ImageSet):
        x, y, mean, std = data.train.x, data.train.y, data.mean, data.std
    elif isinstance(data, Split):
        x, y, mean, std = data.x, data.y if bool((data.y >= 0).all()) else None, data.mean, data.std
    else:
        x, y = _tensors(data, examples)
    if len(x) < LEAST:
        raise DataError(
            f"to compress with {len(x)} examples", "some must be held out", f"give {LEAST} or more"
        )
    if x.is_floating_point() and not bool(x.isfinite().all()):
        raise DataError("to compress with these examples", "some values are NaN or infinite", "look for them")
    order = torch.randperm(len(x), generator=stream(seed, "calibration"))[:examples]
    held = max(1, round(held_out * len(order)))
    labels = torch.full((len(x),), -1) if y is None else y.long()
    classes = int(labels.max()) + 1

    def part(name: str, rows: Tensor) -> Split:
        return Split(name, x[rows], labels[rows], mean, std, classes)

    return Calibration(part("train", order[held:]), part("validation", order[:held]), y is not None)


def check_takes(model: nn.Module, examples: Calibration) -> None:
    """Raise DataError unless the model takes the examples, and its labels are among its outputs."""
    some = examples.used
    x = placed(normalised(some, some.x[:2]), model)
    do = "give examples in the shape and kind that the model takes"
    asked = f"the model on examples of shape {tuple(x.shape[1:])}"
    with as_ours(asked, do, DataError, "it raises"), eval_mode(model), torch.no_grad():
        output = first_tensor(model(x))
    if not bool(output.isfinite().all()):
        raise DataError("the model's outputs", "some are NaN or infinite", "look at its weights and examples")
    if examples.labelled:
        labels = torch.cat([examples.used.y, examples.held.y])
        width = output.shape[1] if output.ndim > 1 else 0
        if output.ndim != 2 or int(labels.min()) < 0 or int(labels.max()) >= width:
            raise DataError(
                f"labels from {int(labels.min())} to {int(labels.max())}",
                f"the outputs are {tuple(output.shape[1:])} for each example",
                "give the class of each example, counted from 0, or no labels",
            )


def _tensors(data: Any, most: int) -> tuple[Tensor, Tensor | None]:
    """Return all examples that `data` gives, `most` or a few more, and their labels if it has any."""
    if isinstance(data, Tensor):
        return data, None
    if isinstance(data, tuple) and len(data) == 2 and isinstance(data[0], Tensor) and _is_labels(data[1]):
        if len(data[0]) != len(data[1]):
            found = f"there are {len(data[1])} labels for {len(data[0])} of them"
            raise DataError("examples with labels", found, "give a label for each")
        return data[0], data[1]
    if isinstance(data, str | bytes | Mapping) or not _can_be_read(data):
        raise DataError(f"to compress with a {type(data).__name__}", "it holds no tensors", _GIVE)
    inputs, labels, seen = list[Tensor](), list[Tensor](), 0
    with as_ours("the examples to compress with", _GIVE, DataError, "reading them raises"):
        for batch in _batches(data):
            x, y = batch if isinstance(batch, tuple | list) and len(batch) == 2 else (batch, None)
            if not isinstance(x, Tensor) or not x.ndim:
                raise DataError("a batch to compress with", f"it holds a {type(x).__name__}", _GIVE)
            inputs.append(x)
            if y is not None and _is_labels(y) and len(y) == len(x):
                labels.append(y)
            seen += len(x)
            if seen >= most:
                break
    if not inputs:
        raise DataError("to compress with these examples", "there are none", _GIVE)
    if len({tuple(x.shape[1:]) for x in inputs}) > 1:
        raise DataError("to compress with these examples", "they differ in shape", "bring them to one")
    return torch.cat(inputs), torch.cat(labels) if len(labels) == len(inputs) else None


def _is_labels(y: Any) -> bool:
    return isinstance(y, Tensor) and y.ndim == 1 and y.dtype in _LABELS


def _can_be_read(data: Any) -> bool:
    return isinstance(data, Iterable) or (hasattr(data, "__len__") and hasattr(data, "__getitem__"))


def _batches(data: Any) -> Iterator[Any]:
    """Yield the batches of a list or a loader; of a data set, batches of its items."""
    if isinstance(data, torch.utils.data.Dataset):
        data = torch.utils.data.DataLoader(data, batch_size=128)
    yield from data
