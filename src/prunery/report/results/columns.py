"""The metrics of a report's tables: each with its name, k, split, unit and chance level, none mixed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Metric:
    """A column of the frame as a table shows it."""

    column: str
    name: str
    unit: str
    decimals: int = 2
    k: int | None = None

    def chance(self, row: Mapping[str, Any]) -> float | None:
        """What guessing gives, in this unit: k of C classes, or ln C nats; None where it is not known."""
        if self.k is not None:
            return _number(row.get(f"chance_top{self.k}"))
        one = _number(row.get("chance_top1"))
        return math.log(100 / one) if one and self.unit == "nats" else None


TOP1 = Metric("test_top1", "Top-1 accuracy (k = 1)", "%", k=1)
TOP5 = Metric("test_top5", "Top-5 accuracy (k = 5)", "%", k=5)
LOSS = Metric("test_loss", "Loss (mean cross-entropy)", "nats", decimals=3)
SUPERCLASS = Metric("test_superclass_top1", "Superclass accuracy (that of the predicted class)", "%")
CORRUPTED = Metric("test_corrupted_top1", "Top-1 accuracy under corruption (mean of all)", "%", k=1)
BEST_ON_TEST = Metric("test_top1_max", "Best top-1 of any epoch, chosen on test: no result", "%", k=1)
OTHERS = (TOP5, SUPERCLASS, CORRUPTED, LOSS, BEST_ON_TEST)


def recorded(frame: pd.DataFrame) -> list[Metric]:
    """The metrics besides top-1 that some cell of the frame has."""
    return [m for m in OTHERS if m.column in frame.columns and bool(frame[m.column].notna().any())]


def _number(value: Any) -> float | None:
    known = isinstance(value, int | float) and not math.isnan(value)
    return float(value) if known else None
