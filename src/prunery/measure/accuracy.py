"""Accuracy as whole numbers of examples, and what a collapse looks like."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from prunery.data.batches import Batches
from prunery.errors import DataError, ModelError
from prunery.forward import no_trace, placed

if TYPE_CHECKING:
    from prunery.data.splits import Split

_TOP5_FROM = 6  # with five classes or fewer every answer is among the first five
_NEAR = 0.005  # a loss within half a percent of ln C
_SPREADS = 3.0  # standard deviations of a guesser's accuracy


@dataclass(frozen=True)
class Counts:
    """How a model did on a split, in examples.

    An example whose outputs hold a NaN is wrong, is in no class of `predicted`, and is counted in `nan`.
    """

    total: int
    correct1: int
    correct5: int | None  # None for five classes or fewer
    loss: float  # mean cross-entropy in nats; NaN or infinite where the model's outputs make it so
    predicted: tuple[int, ...]  # examples per predicted class
    nan: int = 0
    correct_group: int | None = None  # whose predicted class is of the right class's group
    group_chance: float = 0.0  # the part of right groups among uniform random answers

    @property
    def classes(self) -> int:
        """The number of classes."""
        return len(self.predicted)

    @property
    def top1(self) -> float:
        """Top-1 accuracy in percent."""
        return 100 * self.correct1 / self.total

    @property
    def top5(self) -> float | None:
        """Top-5 accuracy in percent, or None for five classes or fewer."""
        return None if self.correct5 is None else 100 * self.correct5 / self.total


def evaluate(
    model: nn.Module | Callable[[Tensor], Any],
    split: Split,
    *,
    batch: int = 1000,
    groups: Sequence[int] | None = None,
) -> Counts:
    """Counts of `model` in eval mode on the whole of `split`; the model is left as it was found.

    A function is called as it is, on batches on the CPU.

    The rank of the right class among C outputs decides: right in top-k if fewer than k are before it, where
    ties go to the lower class. `groups`: the group of each class (its superclass). Batches go to the model's
    device and precision; the loss is summed in float64.

    ModelError: outputs that are not (batch, classes). DataError: an empty split.
    """
    if not len(split):
        raise DataError(f"accuracy on the {split.name} split", "it is empty", "give it some examples")
    classes = split.classes
    group = torch.tensor(range(classes) if groups is None else groups)
    sums = torch.zeros(4, dtype=torch.float64)  # right at 1, right at 5, NaN, right group; exact up to 2^53
    predicted = torch.zeros(classes, dtype=torch.int64)
    loss, total = torch.zeros((), dtype=torch.float64), 0
    script = isinstance(model, torch.jit.ScriptModule)  # once frozen, it has no modes
    module = model if isinstance(model, nn.Module) and not script else None
    with nullcontext() if module is None else no_trace(module), torch.inference_mode():
        for x, y in Batches(split, batch=batch, seed=0):
            x = x if module is None else placed(x, module)
            y = y.to(x.device)
            logits = _logits(model(x), len(y), classes)
            hits, histogram, nats = _count(logits, y, group.to(y.device))
            sums, predicted, loss = _plus(sums, hits), _plus(predicted, histogram), _plus(loss, nats)
            total += len(y)
    right1, right5, nan, right_group = (int(value) for value in sums.tolist())
    five = right5 if classes >= _TOP5_FROM else None
    of_groups = (None, 0.0) if groups is None else (right_group, _group_chance(groups))
    return Counts(total, right1, five, float(loss) / total, tuple(predicted.tolist()), nan, *of_groups)


def collapse(counts: Counts) -> str | None:
    """What is wrong with a model that answers without having learnt: a text, or None.

    In this order: NaN outputs; a loss that is not finite; the same class for every example; a loss within
    0.5 % of ln C with a top-1 accuracy no more than three standard deviations above 1/C.
    """
    classes, total = counts.classes, counts.total
    if counts.nan:
        return f"outputs NaN for {_of(counts.nan, total)}"
    if not math.isfinite(counts.loss):
        return f"loss is {counts.loss}"
    if classes > 1 and total > 1 and max(counts.predicted) == total:
        return f"predicts class {counts.predicted.index(total)} for all {total}"
    if classes > 1 and abs(counts.loss / math.log(classes) - 1) <= _NEAR and _at_chance(counts):
        return f"loss {counts.loss:.4g} is about ln {classes}, top-1 {counts.top1:.2f} % is chance"
    return None


def _group_chance(groups: Sequence[int]) -> float:
    return sum(size * size for size in Counter(groups).values()) / len(groups) ** 2


def _of(part: int, total: int) -> str:
    return f"all {total}" if part == total else f"{part} of {total}"


def _at_chance(counts: Counts) -> bool:
    chance = 1 / counts.classes
    spread = math.sqrt(chance * (1 - chance) * counts.total)
    return counts.correct1 <= chance * counts.total + _SPREADS * spread


def _logits(output: Any, examples: int, classes: int) -> Tensor:
    logits = getattr(output, "logits", output)
    if isinstance(logits, Tensor) and tuple(logits.shape) == (examples, classes):
        return logits.float()
    got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
    raise ModelError(
        f"the accuracy of a model on {classes} classes",
        f"it gave {got} for {examples} examples, not ({examples}, {classes})",
        f"build it with {classes} outputs, or return logits",
    )


def _count(logits: Tensor, y: Tensor, group: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """([right at 1, right at 5, NaN, right group], examples per predicted class, summed loss) of a batch."""
    bad = logits.isnan().any(1)
    of_class = logits.gather(1, y[:, None])
    lower = torch.arange(logits.shape[1], device=y.device) < y[:, None]
    rank = ((logits > of_class) | ((logits == of_class) & lower)).sum(1)
    answers = logits.argmax(1)
    in_group = ((group[answers] == group[y]) & ~bad).sum()
    hits = torch.stack([*(((rank < k) & ~bad).sum() for k in (1, 5)), bad.sum(), in_group])
    histogram = torch.bincount(answers[~bad], minlength=logits.shape[1])
    return hits, histogram, functional.cross_entropy(logits, y, reduction="none").double().sum()


def _plus(sum_: Tensor, part: Tensor) -> Tensor:
    """The running sum, on the device of the parts: nothing waits for the device before the end."""
    return sum_.to(part.device) + part
