"""Which layers bear pruning: each one pruned alone, at several sparsities, and nothing retrained."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from glob import escape
from typing import TYPE_CHECKING, Any

from torch import nn

from prunery.core.binding import Named
from prunery.core.layers import Layer, prunable
from prunery.core.masks import Masks
from prunery.core.prune import prune
from prunery.core.sparsity import Sparsity, parse
from prunery.errors import DataError, EmptyLayerWarning, SparsityError, ZerosKeptWarning
from prunery.forward import no_trace
from prunery.measure.accuracy import collapse, evaluate
from prunery.wrappers import unwrapped

if TYPE_CHECKING:
    from prunery.data.splits import Split

SPARSITIES = (0.5, 0.75, 0.9, 0.95, 0.99)


@dataclass(frozen=True)
class Scanned:
    """How the model does with one layer pruned and the others as they are; counts of validation examples."""

    layer: str  # the parameter's name; "" for the model as it was given
    sparsity: float | None  # what was asked of the layer, in its units; None for the model as given
    correct: int
    total: int
    loss: float  # mean cross-entropy in nats
    kept: int  # weights of the layer that are left
    weights: int  # all weights of the layer
    share: float  # of all prunable weights that are in this layer
    note: str = ""  # what is wrong with a model that answers without having learnt; see accuracy.collapse

    @property
    def top1(self) -> float:
        """Top-1 accuracy in percent."""
        return 100 * self.correct / self.total


@dataclass(frozen=True)
class Sensitivity:
    """The rows of a scan, layer by layer in the model's order, and the model as it was given."""

    unpruned: Scanned
    rows: tuple[Scanned, ...]
    sparsities: tuple[float, ...]

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers that have a row, in the model's order."""
        return tuple(dict.fromkeys(row.layer for row in self.rows))


def sensitivity(
    model: nn.Module,
    split: Split,
    *,
    sparsities: Sequence[Sparsity] = SPARSITIES,
    criterion: Named = "magnitude",
    granularity: Named = "weight",
    exclude: Sequence[str] = (),
    batches: Any = None,
    example: Any = None,
    seed: int = 0,
    batch: int = 1000,
    on_row: Callable[[int, int], None] = lambda done, of: None,
) -> Sensitivity:
    """Accuracy and loss on `split` with each prunable layer alone pruned to each of the sparsities.

    `model` is scored and measured in eval mode and is the same bits afterwards, whatever happens. Weights
    that are 0 count as removed before; a sparsity that a layer already exceeds gives no row. Score gradient
    criteria on `batches` of training examples. `on_row(done, of)` is called after each measurement.

    SparsityError: no sparsity. DataError: a test split, for what is chosen by it could not be tested on it.
    """
    levels = tuple(sorted({parse(s) for s in sparsities}))
    if not levels:
        raise SparsityError("a sensitivity scan", "no sparsity is given", "give at least one, such as 90%")
    _check_split(split)
    model = unwrapped(model)
    layers, every = prunable(model, exclude), prunable(model)
    choices = {"criterion": criterion, "granularity": granularity, "batches": batches, "example": example}
    weights = sum(layer.parameter.numel() for layer in every)
    scan = _Scan(model, split, batch, weights, {**choices, "exclude": exclude, "seed": seed})
    jobs = [(layer, level) for layer in layers for level in levels]
    rows: list[Scanned] = []
    with no_trace(model):
        unpruned = scan.measured("", None, sum(map(_live, every)), weights)
        on_row(1, 1 + len(jobs))
        for done, (layer, level) in enumerate(jobs, 2):
            rows += scan.rows(layer, level)
            on_row(done, 1 + len(jobs))
    return Sensitivity(unpruned, tuple(rows), levels)


@dataclass(frozen=True)
class _Scan:
    model: nn.Module
    split: Split
    batch: int
    weights: int  # of all prunable layers
    choices: dict[str, Any]

    def rows(self, layer: Layer, level: float) -> list[Scanned]:
        """The row of one layer at one sparsity; none where it is already sparser."""
        with _put_back(self.model):
            kept = self.cut_(layer, level)
            if kept is None:
                return []
            return [self.measured(layer.name, level, kept, layer.parameter.numel())]

    def cut_(self, layer: Layer, level: float) -> int | None:
        """Prune one layer and return how many of its weights are left; None where it is already sparser."""
        before = Masks({layer.name: layer.parameter.detach() != 0})
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", EmptyLayerWarning)  # the row's `kept` says it
            warnings.simplefilter("ignore", ZerosKeptWarning)  # other layers have no mask here
            try:
                masks = prune(self.model, {escape(layer.name): level}, masks=before, **self.choices)
            except SparsityError:
                return None
        return int(masks[layer.name].count_nonzero())

    def measured(self, layer: str, sparsity: float | None, kept: int, weights: int) -> Scanned:
        """The row of the model as it is now."""
        counts = evaluate(self.model, self.split, batch=self.batch)
        answers = counts.correct1, counts.total, counts.loss
        share, note = weights / self.weights, collapse(counts) or ""
        return Scanned(layer, sparsity, *answers, kept, weights, share, note)


def _live(layer: Layer) -> int:
    return int(layer.parameter.detach().count_nonzero())


@contextmanager
def _put_back(model: nn.Module) -> Iterator[None]:
    """On exit every parameter has its bits again."""
    before = [(p.detach(), p.detach().clone()) for p in model.parameters()]
    try:
        yield
    finally:
        for parameter, values in before:
            parameter.copy_(values)


def _check_split(split: Split) -> None:
    if split.name == "test":
        problem = "sparsities that are chosen by it could not be tested on it"
        raise DataError("a sensitivity scan on the test split", problem, "give the validation split")
    if not len(split):
        problem = f"the {split.name} split is empty"
        raise DataError("a sensitivity scan", problem, "set validation images aside: validation=0.1")
