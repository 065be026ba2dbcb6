"""Sums over the training batches of an epoch, gathered without waiting for the device at each step."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor


class Tally:
    """Loss and correct answers so far; `totals` are exact after `settle`."""

    def __init__(self, **totals: Any) -> None:
        self.totals = Totals(**totals)
        self._pending: list[tuple[Tensor, Tensor, int]] = []

    def add(self, loss: Tensor, logits: Tensor, y: Tensor) -> None:
        """Note one batch: its mean loss (), logits (b, classes) and labels (b,); nothing is read yet."""
        hits = torch.count_nonzero(logits.detach().argmax(1) == y)
        self._pending.append((loss.detach(), hits, len(y)))

    def settle(self) -> Totals:
        """The totals with every noted batch, read from the device in one go.

        Batches are added one after the other, so the sum's bits do not depend on when it is settled.
        """
        if self._pending:
            losses, hits, sizes = zip(*self._pending, strict=True)
            self._pending = []
            for loss, size in zip(torch.stack(losses).tolist(), sizes, strict=True):
                self.totals._add(loss, size)
            self.totals.correct += int(torch.stack(hits).sum())
        return self.totals


@dataclass
class Totals:
    """What a tally has counted."""

    loss: float = 0.0
    """Sum over examples, in nats."""
    correct: int = 0
    total: int = 0
    steps: int = 0
    bad: int | None = None
    """The first step of the epoch (from 0) whose loss was not finite."""

    @property
    def mean_loss(self) -> float:
        """Loss per example, in nats."""
        return self.loss / self.total if self.total else math.nan

    def plain(self) -> dict[str, Any]:
        """The fields as plain data, for a checkpoint."""
        return asdict(self)

    def _add(self, loss: float, size: int) -> None:
        if self.bad is None and not math.isfinite(loss):
            self.bad = self.steps
        self.loss += loss * size
        self.total += size
        self.steps += 1
