"""Optimal brain surgeon on layers: what the removal of a weight costs while the others make up for it.

The cost is the mean squared change of the layer's outputs, from the Gram of its inputs (see `grams`).
Axes: g groups, o outputs, d inputs of an output (see `matrices`); r rows, outputs of a group.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from prunery.core.bits import one_thread
from prunery.core.context import ScoringContext
from prunery.core.grams import moments
from prunery.core.layers import Layer
from prunery.core.matrices import Matrix, matrix_of
from prunery.core.selection import Pool
from prunery.core.sparsegpt import Parts, Quota, in_columns, whole_quota
from prunery.errors import ChoiceError

MEMORY = 1 << 28
"""Bytes of Gram matrices that are summed up in one pass over the examples; one layer's at least."""

_EXACT = 1e11  # multiplications of a layer up to which the exact order is found: about ten seconds
_ROWS = 1 << 25  # bytes of inverses that are worked on together
_DELAY = 64  # removals after which they are brought up to date
_DEAD = 1e-7  # of the mean of a Gram's diagonal: rounding

ORDERS = ("auto", "greedy", "columns", "once")


def removal_losses(q: ScoringContext) -> dict[str, Tensor]:
    """Return for each weight what its removal adds to the relative squared error of its layer's outputs.

    Options, the criterion's: `damp`, the share of the Gram's mean diagonal that is added to it; `order`:
    "greedy": always the cheapest weight of a row goes next, then the others make up for it (OBC, exact);
    "columns": column by column, blocks of 128 with a quota each (SparseGPT); "once": nothing makes up for
    anything; "auto": greedy up to 1e11 multiplications a layer, else columns. Where layers compete and one of
    them is too large for greedy, "once" says how many weights each keeps, and these orders say which. Where
    they compete, `moments` makes their losses comparable.
    """
    order, damp = q.options.get("order", "auto"), q.options.get("damp", 0.01)
    if order not in ORDERS:
        raise ChoiceError(f"order {order!r}", "there is none of that name", f"choose: {', '.join(ORDERS)}")
    shares: dict[str, int] = {}
    for keep, members in _too_large(q) if order == "auto" else ():
        shares |= _shares(dict(_losses(members, q, "once", damp, {})), keep)
    return dict(_losses(q.layers, q, order, damp, shares))


def _losses(
    layers: Sequence[Layer], q: ScoringContext, order: str, damp: float, shares: Mapping[str, int]
) -> Iterator[tuple[str, Tensor]]:
    compared = any(len(pool.members) > 1 for pool in q.pools)
    for some in grouped(layers):
        grams = moments(q, some, whole=True, compared=compared)
        for layer in some:
            yield layer.name, _of_layer(layer, grams.pop(layer.name), q, order, damp, shares.get(layer.name))


def _too_large(q: ScoringContext) -> Iterator[tuple[int, list[Layer]]]:
    """Yield what a pool keeps, and its layers, where single weights compete and a layer is too large."""
    layers = {layer.name: layer for layer in q.layers}
    for pool in q.pools:
        units = [q.units[member] for member in pool.members]
        if len(units) > 1 and pool.lines is None and all(unit.norm is None for unit in units):
            members = [layers[unit.name] for unit in units]
            if not all(_is_exact(layer) for layer in members):
                yield pool.keep, members


def _is_exact(layer: Layer) -> bool:
    return layer.parameter.numel() * matrix_of(layer).inputs ** 2 / 3 <= _EXACT


def _shares(losses: Mapping[str, Tensor], keep: int) -> dict[str, int]:
    """Return how many weights of each layer are among the `keep` largest losses."""
    flat = torch.cat([value.flatten().float() for value in losses.values()])
    kept = torch.zeros_like(flat, dtype=torch.bool).index_fill_(0, flat.topk(keep).indices, True)
    sizes = [value.numel() for value in losses.values()]
    counts = [int(some.count_nonzero()) for some in torch.split(kept, sizes)]
    return dict(zip(losses, counts, strict=True))


def grouped(layers: Sequence[Layer]) -> Iterator[list[Layer]]:
    """Yield the layers in groups whose Grams fit the memory together."""
    group: list[Layer] = []
    used = 0
    for layer in layers:
        matrix = matrix_of(layer)
        size = 8 * matrix.groups * matrix.inputs**2
        if group and used + size > MEMORY:
            yield group
            group, used = [], 0
        group, used = [*group, layer], used + size
    if group:
        yield group


def damped(gram: Tensor, damp: float) -> Tensor:
    """Return Grams (g, d, d) with `damp` times the mean of their diagonal added to it; 1 where that is 0."""
    mean = gram.diagonal(dim1=1, dim2=2).mean(1)
    mean = torch.where(mean > 0, mean * damp, 1.0)
    return gram + torch.diag_embed(mean[:, None].expand(-1, gram.shape[1]))


def inverse_of(gram: Tensor, damp: float) -> Tensor:
    """Return the inverses of damped Grams (g, d, d), symmetric and positive definite.

    Where rounding leaves a Gram that `damp` does not make positive definite, ten times as much is tried.
    """
    while True:
        factor, failed = torch.linalg.cholesky_ex(damped(gram, damp))
        if not bool(failed.any()):
            return torch.cholesky_inverse(factor)
        damp = 10 * damp if damp else 1e-9


def _of_layer(
    layer: Layer, gram: Tensor, q: ScoringContext, order: str, damp: float, share: int | None
) -> Tensor:
    """Return the losses of one layer, shaped like its weight; those of its `share` above 1, others below."""
    matrix, pool = matrix_of(layer), pool_of(layer, q)
    weight = layer.parameter.detach().to(gram.device, torch.float64)
    mask = q.masks.get(layer.name)
    weight = weight if mask is None else weight.masked_fill(~mask.to(weight.device), 0)
    diagonal = gram.diagonal(dim1=1, dim2=2)
    dead = diagonal <= _DEAD * diagonal.mean(1, keepdim=True)
    w = matrix.of(weight).masked_fill(dead[:, None], 0)  # what they multiply never changes: they go first
    energy = ((w @ gram) * w).sum().clamp_min(torch.finfo(w.dtype).tiny)
    inverse = inverse_of(gram, damp)
    if order == "auto":
        order = "greedy" if _is_exact(layer) else "columns"
    if order == "once":
        losses = w.square() / inverse.diagonal(dim1=1, dim2=2)[:, None] / energy
    elif order == "greedy":
        losses = greedy(w, inverse, parts_of(pool, matrix)) / energy
        losses = losses if share is None else _parted(losses, share)
    else:
        quota = _quota(layer, pool, matrix) if share is None else whole_quota(matrix, share)
        losses, _ = in_columns(w, inverse, quota, None if mask is None else matrix.of(mask))
    return matrix.back(losses, tuple(layer.parameter.shape))


def _parted(losses: Tensor, share: int) -> Tensor:
    """Return losses in their order, the `share` largest above 1 and the others below."""
    kept = torch.zeros(losses.numel(), dtype=losses.dtype, device=losses.device)
    kept[losses.flatten().topk(share).indices] = 1
    return losses / (1 + losses) + kept.view_as(losses)


def pool_of(layer: Layer, q: ScoringContext) -> Pool | None:
    """Return the pool in which a layer's weights compete; None where units are not its weights."""
    for pool in q.pools:
        for member in pool.members:
            if q.units[member].norm is None and q.units[member].name == layer.name:
                return pool
    return None


def parts_of(pool: Pool | None, matrix: Matrix) -> Parts | None:
    """Return the parts of rows that a pool gives a quota each; None where whole rows or layers compete."""
    if pool is None or pool.lines is None or pool.lines.length >= matrix.inputs:
        return None
    row = matrix.of(pool.lines.numbers())[0, 0]
    leave = -(-pool.keep // pool.lines.count)
    return Parts(torch.unique(row, return_inverse=True)[1], pool.lines.length, leave)


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


def _quota(layer: Layer, pool: Pool | None, matrix: Matrix) -> Quota:
    """Return the quota that a layer has by itself; ChoiceError where layers or larger units compete."""
    if pool is None or len(pool.members) > 1:
        raise ChoiceError(
            f"criterion 'obs' in the order of columns for {layer.name!r}",
            "it decides column by column, so the layer must have a quota of its own in single weights",
            "use scope 'layer', 'row' or 'n_of_m' and granularity 'weight', or order='greedy' or 'once'",
        )
    shape = (matrix.groups, matrix.outputs)
    if pool.lines is None:
        return whole_quota(matrix, pool.keep)
    if parts := parts_of(pool, matrix):
        return Quota(torch.zeros(shape), False, parts)
    return Quota(matrix.inputs - pool.lines.quotas(pool.keep).view(shape), False, None)
