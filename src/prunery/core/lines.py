"""Pools that are parts of one layer: lines of weights, each of which keeps a number of its own.

A line is a row of a layer's matrix (scope `row`), or a few neighbours in a row (scope `n_of_m`).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd, prod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Lines:
    """The weights of a layer in lines of one length: viewed as `view`, axes permuted to `order`, then cut."""

    view: tuple[int, ...]
    order: tuple[int, ...]
    length: int

    @property
    def count(self) -> int:
        """Return the number of lines."""
        return prod(self.view) // self.length

    def split(self, values: torch.Tensor) -> torch.Tensor:
        """Return flat values as (lines, length)."""
        return values.reshape(self.view).permute(self.order).reshape(-1, self.length)

    def join(self, lines: torch.Tensor) -> torch.Tensor:
        """Return (lines, length) as flat values, in the order of the weights."""
        permuted = lines.reshape([self.view[axis] for axis in self.order])
        return permuted.permute([self.order.index(axis) for axis in range(len(self.order))]).reshape(-1)

    def numbers(self) -> torch.Tensor:
        """Return the number of each weight's line, shape (weights,)."""
        import torch

        return self.join(torch.arange(self.count)[:, None].expand(-1, self.length))

    def quotas(self, keep: int) -> torch.Tensor:
        """Return how many each line keeps of `keep` in all: as evenly as can be, shape (lines,).

        A line never keeps more of a smaller `keep`, so that cuts are nested.
        """
        import torch

        least, more = divmod(keep, self.count)
        return least + (torch.arange(self.count) * _coprime(self.count) % self.count < more).long()

    def top(self, values: torch.Tensor, live: torch.Tensor | None, keep: int) -> torch.Tensor | None:
        """Return which weights stay, flat: in each line its quota of the largest; None if too few are live.

        Equal values are taken in an order that differs from line to line, so that no column is emptied.
        """
        import torch

        scores = self.split(values)
        there = torch.ones_like(scores, dtype=torch.bool) if live is None else self.split(live)
        quotas = self.quotas(keep).to(scores.device)
        if bool((there.sum(1) < quotas).any()):
            return None
        turned = self._turned(scores.device)
        ranks = scores.gather(1, turned).masked_fill(~there.gather(1, turned), -torch.inf)
        alive = there.gather(1, turned)
        order = ranks.argsort(dim=1, descending=True, stable=True)
        order = order.gather(1, alive.gather(1, order).int().argsort(dim=1, descending=True, stable=True))
        first = torch.arange(self.length, device=scores.device) < quotas[:, None]
        kept = torch.zeros_like(alive).scatter(1, turned.gather(1, order), first)
        return self.join(kept)

    def _turned(self, device: torch.device) -> torch.Tensor:
        """Return an order of each line's places, (lines, length): every so many, from another start."""
        import torch

        places = torch.arange(self.length, device=device) * _coprime(self.length)
        return (places + torch.arange(self.count, device=device)[:, None]) % self.length


def _coprime(n: int) -> int:
    """Return a number without a common divisor with n, near n over the golden ratio."""
    return next(a for a in range(max(1, round(n * 0.6180339887)), 2 * n + 2) if gcd(a, n) == 1)
