"""Optimal brain surgeon on layers: what the removal of a weight costs while the others make up for it.

The cost is the mean squared change of the layer's outputs, from the Gram of its inputs (see `grams`).
Axes: g groups, o outputs, d inputs of an output (see `matrices`); r rows, outputs of a group.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from prunery.core.changed_outputs import ChangedOutputs
from prunery.core.context import ScoringContext
from prunery.core.grams import Moment, moments
from prunery.core.layers import Layer
from prunery.core.matrices import Matrix, matrix_of
from prunery.core.obc import greedy
from prunery.core.selection import Pool
from prunery.core.sparsegpt import Parts, Quota, in_columns, whole_quota
from prunery.errors import ChoiceError

MEMORY = 1 << 28
"""Bytes of Gram matrices that are summed up in one pass over the examples; one layer's at least."""

_EXACT = 1e11  # multiplications of a layer up to which the exact order is found: about ten seconds
_DEAD = 1e-7  # of the mean of a Gram's diagonal: rounding

ORDERS = ("auto", "greedy", "columns", "once")
OUTPUTS = ("layer", "model")

_LOOKED_AT = 64  # examples on which the model's outputs are compared


@dataclass(frozen=True)
class _Options:
    order: str
    damp: float
    change: ChangedOutputs | None


def removal_losses(q: ScoringContext) -> dict[str, Tensor]:
    """Return for each weight what its removal adds to the relative squared error of outputs.

    Options, the criterion's: `damp`, the share of the Gram's mean diagonal that is added to it; `order`:
    "greedy": always the cheapest weight of a row goes next, then the others make up for it (OBC, exact);
    "columns": column by column, blocks of 128 with a quota each (SparseGPT); "once": nothing makes up for
    anything; "auto": greedy up to 1e11 multiplications a layer, else columns. Where layers compete and one of
    them is too large for greedy, "once" says how many weights each keeps, and these orders say which. Where
    they compete, `moments` makes their losses comparable. `outputs`: "layer", the error of the layer's own
    outputs; "model", that of the model's outputs: each layer is pruned and repaired by itself, and its losses
    are multiplied by what the model's outputs then changed by for each unit of the layer's own error.
    """
    order, outputs = q.options.get("order", "auto"), q.options.get("outputs", "layer")
    for word, value, known in (("order", order, ORDERS), ("outputs", outputs, OUTPUTS)):
        if value not in known:
            raise ChoiceError(
                f"{word} {value!r}", "there is none of that name", f"choose: {', '.join(known)}"
            )
    measured = outputs == "model" and _compete(q)
    change = ChangedOutputs(q, images=_LOOKED_AT) if measured else None
    options = _Options(order, q.options.get("damp", 0.01), change)
    shares: dict[str, int] = {}
    for keep, members in _too_large(q) if order == "auto" else ():
        shares |= _shares(dict(_losses(members, q, replace(options, order="once"), {})), keep)
    return dict(_losses(q.layers, q, options, shares))


def _compete(q: ScoringContext) -> bool:
    return any(len(pool.members) > 1 for pool in q.pools)


def _losses(
    layers: Sequence[Layer], q: ScoringContext, options: _Options, shares: Mapping[str, int]
) -> Iterator[tuple[str, Tensor]]:
    compared = _compete(q)
    for some in grouped(layers):
        seen = moments(q, some, whole=True, compared=compared)
        for layer in some:
            own, share = seen.pop(layer.name), shares.get(layer.name)
            inverse = inverse_of(own.square, options.damp)
            losses = _of_layer(layer, own.square, inverse, q, options.order, share)
            if options.change is not None and share is None:
                losses *= _carried(layer, own, inverse, q, options.change)
            yield layer.name, losses


def _carried(layer: Layer, seen: Moment, inverse: Tensor, q: ScoringContext, change: ChangedOutputs) -> float:
    """Return what the model's outputs change by for each unit of a layer's relative squared error.

    Measured where the layer keeps as large a part of its weights as all that compete with it.
    """
    matrix, pool, gram = matrix_of(layer), pool_of(layer, q), seen.square
    w = matrix.of(masked(layer, q).to(gram.device, torch.float64))
    kept = int(w.numel() * (1.0 if pool is None else pool.keep / sum(q.units[m].count for m in pool.members)))
    while True:
        weight = repaired(q, layer, inverse, min(kept, int(w.count_nonzero())))
        moved = matrix.of(weight) - w
        error = float(((moved @ gram) * moved).sum() / _energy(w, gram))
        if error > 0 or not kept:
            return change(layer, weight, seen) / error if error > 0 else 1.0
        kept //= 2


def repaired(q: ScoringContext, layer: Layer, inverse: Tensor, kept: int) -> Tensor:
    """Return the weight of a layer that keeps so many, the survivors moved to make up for the others."""
    matrix, mask = matrix_of(layer), q.masks.get(layer.name)
    weight = masked(layer, q).to(inverse.device, torch.float64)
    own = None if mask is None else matrix.of(mask.to(weight.device))
    _, moved = in_columns(matrix.of(weight), inverse, whole_quota(matrix, kept), own)
    return matrix.back(moved, tuple(layer.parameter.shape))


def masked(layer: Layer, q: ScoringContext) -> Tensor:
    """Return a layer's weight, 0 where a mask says so."""
    weight, mask = layer.parameter.detach(), q.masks.get(layer.name)
    return weight if mask is None else weight.masked_fill(~mask.to(weight.device), 0)


def _energy(w: Tensor, gram: Tensor) -> Tensor:
    """Return the mean square of a layer's outputs, never 0."""
    return ((w @ gram) * w).sum().clamp_min(torch.finfo(w.dtype).tiny)


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
    layer: Layer, gram: Tensor, inverse: Tensor, q: ScoringContext, order: str, share: int | None
) -> Tensor:
    """Return the losses of one layer, shaped like its weight; those of its `share` above 1, others below.

    inverse: of the damped Gram.
    """
    matrix, pool, mask = matrix_of(layer), pool_of(layer, q), q.masks.get(layer.name)
    diagonal = gram.diagonal(dim1=1, dim2=2)
    dead = diagonal <= _DEAD * diagonal.mean(1, keepdim=True)
    w = matrix.of(masked(layer, q).to(gram.device, torch.float64))
    w = w.masked_fill(dead[:, None], 0)  # what they multiply never changes: they go first
    energy = _energy(w, gram)
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
