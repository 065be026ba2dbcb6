"""Accuracy on corrupted images, as counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prunery.data.corruptions import corrupted, corruption
from prunery.errors import ChoiceError
from prunery.measure.accuracy import evaluate

if TYPE_CHECKING:
    from torch import nn

    from prunery.data.splits import Split


@dataclass(frozen=True)
class Corrupted:
    """How many of a split's examples were right under one corruption at one severity."""

    corruption: str
    severity: int
    correct: int
    total: int

    @property
    def top1(self) -> float:
        """Top-1 accuracy in percent."""
        return 100 * self.correct / self.total


@dataclass(frozen=True)
class Robustness:
    """The counts of each corruption at each severity, in order."""

    rows: tuple[Corrupted, ...]

    @property
    def correct(self) -> int:
        """Right answers in all rows."""
        return sum(row.correct for row in self.rows)

    @property
    def total(self) -> int:
        """Examples in all rows; each row has the same number."""
        return sum(row.total for row in self.rows)

    @property
    def mean(self) -> float:
        """The mean corruption accuracy (top-1) in percent, over all rows."""
        return 100 * self.correct / self.total


def robustness(
    model: nn.Module,
    split: Split,
    *,
    kinds: Sequence[str] | None = None,
    severities: Sequence[int] = (1, 3, 5),
    seed: int = 0,
    batch: int = 1000,
) -> Robustness:
    """Counts of `model` in eval mode on `split` under each corruption (all by default) at each severity.

    The images depend on (seed, corruption, severity): every model is measured on the same ones. The model
    is left as it was found.

    ChoiceError: an unknown corruption, or none. DataError: a severity out of range, or an empty split.
    """
    names = list(corruption) if kinds is None else [corruption[kind].name for kind in kinds]
    if not names or not severities:
        raise ChoiceError(
            "a mean over corruptions", "no corruption or no severity is given", "name at least one of each"
        )
    rows = []
    for name in names:
        for severity in severities:
            counts = evaluate(model, corrupted(split, name, severity, seed), batch=batch)
            rows.append(Corrupted(name, severity, counts.correct1, counts.total))
    return Robustness(tuple(rows))
