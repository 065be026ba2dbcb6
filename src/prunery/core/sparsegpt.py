"""SparseGPT's order: which weights go is decided column by column, and later columns make up for each.

Axes: g groups, o outputs, d inputs of an output (see `matrices`).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from prunery.core.matrices import Matrix

_BLOCK = 128  # columns of the lazy blocks


@dataclass(frozen=True)
class Parts:
    """Equal parts of each row that keep `leave` weights each; number (d,) has the part of each input."""

    number: Tensor
    length: int
    leave: int


@dataclass(frozen=True)
class Quota:
    """What SparseGPT's order must know of the pool.

    removed: by row, (g, o), how many go; of a layer as a whole where `whole`. parts: equal parts of rows.
    """

    removed: Tensor
    whole: bool
    parts: Parts | None


def whole_quota(matrix: Matrix, keep: int) -> Quota:
    """Return the quota of a layer that keeps so many weights, wherever they are."""
    rows = (matrix.groups, matrix.outputs)
    return Quota(torch.full(rows, rows[0] * rows[1] * matrix.inputs - keep), True, None)


def in_columns(w: Tensor, inverse: Tensor, quota: Quota, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return scores of w (g, o, d), above 1 where SparseGPT keeps a weight and below elsewhere; and its w.

    Source: Frantar and Alistarh 2023 (SparseGPT), alg. 1 with lazy blocks of 128 columns: in each block the
    weights with the least w^2 / [H^-1]_cc of the columns from c on go, then column by column the later
    columns make up for the change. Quotas are met exactly: blocks share them in proportion to their columns.
    """
    order = None if quota.parts is None else quota.parts.number.argsort(stable=True)
    size = w.shape[2]
    if order is not None:
        inverse = inverse[:, order][:, :, order]
        w, mask = w[:, :, order], None if mask is None else mask[:, :, order]
    w, upper = w.clone(), torch.linalg.cholesky(inverse, upper=True)
    root = upper.diagonal(dim1=1, dim2=2)
    step = _BLOCK if quota.parts is None else max(1, _BLOCK // quota.parts.length) * quota.parts.length
    saliency, drop = torch.empty_like(w), torch.zeros_like(w, dtype=torch.bool)
    for lo in range(0, size, step):
        hi = min(lo + step, size)
        errors = w.new_zeros(*w.shape[:2], hi - lo)
        for c in range(lo, hi):
            end = hi if quota.parts is None else c + quota.parts.length
            if (c - lo) % (end - lo if quota.parts is None else quota.parts.length) == 0:
                found = (w[:, :, c:end] / root[:, None, c:end]).square()
                saliency[:, :, c:end] = found
                if mask is not None:
                    found = found.masked_fill(~mask[:, :, c:end], -1)
                drop[:, :, c:end] = _dropped(found, quota, c, end, size)
            error = torch.where(drop[:, :, c], w[:, :, c], 0) / root[:, None, c]
            w[:, :, c:hi] -= error[:, :, None] * upper[:, None, c, c:hi]
            errors[:, :, c - lo] = error
        w[:, :, hi:] -= errors @ upper[:, lo:hi, hi:]
    scores = saliency / (1 + saliency) + (~drop).double()
    if order is None:
        return scores, w
    back = order.argsort()
    return scores[:, :, back], w[:, :, back]


def _dropped(saliency: Tensor, quota: Quota, lo: int, hi: int, size: int) -> Tensor:
    """Return which weights of the columns lo to hi go, (g, o, hi - lo)."""
    if quota.parts is not None:
        ranks = saliency.argsort(dim=2, stable=True).argsort(dim=2)
        return ranks < quota.parts.length - quota.parts.leave
    if quota.whole:
        total = int(quota.removed[0, 0])
        count = total * hi // size - total * lo // size
        flat = torch.zeros(saliency.numel(), dtype=torch.bool, device=saliency.device)
        flat[saliency.reshape(-1).argsort(stable=True)[:count]] = True
        return flat.view_as(saliency)
    counts = (quota.removed * hi // size - quota.removed * lo // size).to(saliency.device)
    return saliency.argsort(dim=2, stable=True).argsort(dim=2) < counts[:, :, None]
