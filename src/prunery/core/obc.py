"""OBC's order: the cheapest weight of each row goes, the others make up for it, and again.

Axes: g groups, o outputs, d inputs of an output (see `matrices`); r rows, outputs of a group.
"""

from __future__ import annotations

import torch
from torch import Tensor

from prunery.core.bits import one_thread
from prunery.core.sparsegpt import Parts

_ROWS = 1 << 25  # bytes of inverses that are worked on together
_DELAY = 64  # removals after which they are brought up to date


def greedy(w: Tensor, inverse: Tensor, parts: Parts | None = None) -> Tensor:
    """Return the loss at which each weight of w (g, o, d) goes: always the cheapest of its row is next.

    inverse: of the Grams (g, d, d). Within a row later weights have larger losses (at least the next number
    after the one before), so that any threshold keeps a set that the order passes through. Where parts of a
    row have a quota, what they must keep has the largest losses.
    Source: Frantar and Alistarh 2022 (OBC), eq. 3 and 4, alg. 1; removals take effect in blocks.
    """
    at_once = max(1, _ROWS // (8 * w.shape[2] ** 2))
    found = torch.empty_like(w)
    for group in range(len(w)):
        with one_thread():
            for lo in range(0, w.shape[1], at_once):
                rows = w[group, lo : lo + at_once].clone()
                found[group, lo : lo + at_once] = _eliminated(rows, inverse[group], parts)
    return found


def _eliminated(w: Tensor, inverse: Tensor, parts: Parts | None) -> Tensor:
    """Return the losses (r, d) of rows w (r, d), which are written to."""
    rows, size = w.shape
    every = torch.arange(rows, device=w.device)
    place = torch.arange(size, device=w.device).expand(rows, size)
    losses, level = torch.full_like(w, torch.inf), w.new_zeros(rows)
    room = _Room(parts, rows, w)
    inverse = inverse.expand(rows, size, size)
    left = room.removable(size)
    while left:
        block = min(_DELAY, left)
        inverse, w, place, level = _block(w, inverse, place, losses, level, room, block, every)
        left -= block
    kept = losses.isinf()
    return losses.where(~kept, level[:, None] * 2 + w.new_zeros(rows, size).scatter(1, place, w.square()))


class _Room:
    """How many weights may still go in each part of each row."""

    def __init__(self, parts: Parts | None, rows: int, w: Tensor) -> None:
        self.parts = parts
        if parts is not None:
            self.number = parts.number.to(w.device)
            count = int(self.number.max()) + 1
            self.left = torch.full((rows, count), parts.length - parts.leave, device=w.device)

    def removable(self, size: int) -> int:
        """Return how many of `size` weights of each row may go."""
        return size if self.parts is None else int(self.left[0].sum())

    def take(self, every: Tensor, place: Tensor) -> None:
        """Count the weight at `place` of each row as gone."""
        if self.parts is not None:
            self.left[every, self.number[place]] -= 1

    def full(self, place: Tensor) -> Tensor | None:
        """Return which of the places (r, n) lie in parts of which no more may go."""
        return None if self.parts is None else self.left.gather(1, self.number[place]) <= 0


def _block(
    w: Tensor,
    inverse: Tensor,
    place: Tensor,
    losses: Tensor,
    level: Tensor,
    room: _Room,
    block: int,
    every: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Remove `block` weights of each row; return inverse, weights, places and level of what is left."""
    tiny = torch.finfo(w.dtype).tiny
    diagonal = inverse.diagonal(dim1=1, dim2=2).clone()
    pending = w.new_zeros(len(w), block, w.shape[1])
    gone = torch.zeros_like(w, dtype=torch.bool)
    for k in range(block):
        full = room.full(place)
        score = (w * w / diagonal).masked_fill_(gone if full is None else gone | full, torch.inf)
        value, at = score.min(1)
        level = torch.maximum(level.nextafter(torch.full_like(level, torch.inf)), value)
        losses[every, place[every, at]] = level
        root = diagonal[every, at].sqrt()
        column = inverse[every, at] - (pending[every, :k, at][:, None] @ pending[:, :k])[:, 0]
        column = column / root[:, None]
        w.sub_(column * (w[every, at] / root)[:, None])
        w[every, at] = 0
        gone[every, at] = True
        diagonal = (diagonal - column.square()).clamp_min_(tiny)
        pending[:, k] = column
        room.take(every, place[every, at])
    kept = (~gone).nonzero()[:, 1].view(len(w), -1)
    pending = pending.gather(2, kept[:, None].expand(-1, block, -1))
    inverse = torch.stack([whole[some][:, some] for whole, some in zip(inverse, kept, strict=True)])
    return inverse.baddbmm_(pending.mT, pending, alpha=-1), w.gather(1, kept), place.gather(1, kept), level
