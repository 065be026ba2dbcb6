"""Least squares of a layer's weights against the dense network's outputs, from sums over columns.

Axes: g groups, o outputs, d inputs of an output, n columns (see `prunery.core.matrices`).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from prunery.core.grams import about_means, has_few, share_of
from prunery.core.layers import Layer
from prunery.core.matrices import Matrix, columns, matrix_of
from prunery.core.shrinkage import SHARES, parted
from prunery.seeds import stream

_TRIED = 32  # outputs of a layer by which a share is chosen


@dataclass
class Sums:
    """Sums over columns, float64: x xᵀ and x̂ xᵀ (g, d, d), x and x̂ (g, d); x̂ is the dense network's x."""

    own: Tensor
    cross: Tensor
    first: Tensor
    dense_first: Tensor
    count: int = 0

    @staticmethod
    def of(matrix: Matrix, device: torch.device) -> Sums:
        """Return sums of nothing."""
        square = (matrix.groups, matrix.inputs, matrix.inputs)
        zero = [torch.zeros(shape, dtype=torch.float64, device=device) for shape in (square, square[:2])]
        return Sums(zero[0], zero[0].clone(), zero[1], zero[1].clone())

    def add(self, dense: Tensor, x: Tensor) -> None:
        """Add columns (g, d, n) of the two networks."""
        dense, x = (t.float() if t.itemsize < 4 else t for t in (dense, x))
        self.own += x @ x.mT
        self.cross += dense @ x.mT
        self.first += x.sum(2)
        self.dense_first += dense.sum(2)
        self.count += x.shape[2]

    def __iadd__(self, other: Sums) -> Sums:
        """Add other sums."""
        self.own += other.own
        self.cross += other.cross
        self.first += other.first
        self.dense_first += other.dense_first
        self.count += other.count
        return self

    def means(self, *, centred: bool) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return the means of x xᵀ and x̂ xᵀ, about the means of x and x̂ if `centred`, and these means."""
        own, cross = self.own / self.count, self.cross / self.count
        first, dense_first = self.first / self.count, self.dense_first / self.count
        if centred:
            cross = cross - dense_first[:, :, None] * first[:, None]
            own, varies = about_means(own, first)
            cross = cross * varies[:, None]
        return own, cross, first, dense_first


class Parts:
    """Sums over a layer's columns; where it has few, those of every fourth row apart (see `shrinkage`)."""

    def __init__(self, layer: Layer, device: torch.device) -> None:
        self.used = Sums.of(matrix_of(layer), device)
        self.held: Sums | None = None
        self._layer, self._device, self._rows = layer, device, 0

    def add(self, dense: Tensor, x: Tensor, images: int) -> None:
        """Add what enters the layer in both networks; the same places are drawn of both."""
        layer, share = self._layer, share_of(self._layer, x, images)
        both = [parted(t, self._rows) if has_few(layer, x, images) else [(False, t)] for t in (dense, x)]
        draws = ("columns", layer.name, str(self._rows))
        self._rows += len(x)
        for (held, one), (_, other) in zip(*both, strict=True):
            pieces = [columns(layer, t, share=share, draws=stream(0, *draws)) for t in (one, other)]
            for first, second in zip(*pieces, strict=True):
                self._sums(held).add(first, second)

    def together(self) -> Sums:
        """Return the sums over all columns; what was held out is no longer apart."""
        if self.held is not None:
            self.used += self.held
            self.held = None
        return self.used

    def _sums(self, held: bool) -> Sums:
        if held and self.held is None:
            self.held = Sums.of(matrix_of(self._layer), self._device)
        return self.held if held and self.held is not None else self.used


def best_share(parts: Parts, wanted: Tensor, kept: Tensor, damp: float, *, centred: bool) -> float:
    """Return the share of SHARES whose solution comes nearest on columns that it was not solved on.

    wanted, kept: the dense weights and which stay (g, o, d), of which some rows are tried. 0 where no columns
    were held out.
    """
    if parts.held is None:
        return 0.0
    rows = torch.arange(0, wanted.shape[1], max(1, wanted.shape[1] // _TRIED), device=wanted.device)
    wanted, kept = wanted[:, rows], kept[:, rows]
    own, cross, *_ = parts.used.means(centred=centred)
    held, held_cross, *_ = parts.held.means(centred=centred)
    errors = []
    for share in SHARES:
        found, _ = least_squares(wanted @ cross, own, kept, wanted, damp, share)
        errors.append(float((found * (found @ held - 2 * wanted @ held_cross)).sum()))
    return SHARES[errors.index(min(errors))]


def least_squares(
    products: Tensor, gram: Tensor, kept: Tensor, near: Tensor, damp: float, share: float = 0.0
) -> tuple[Tensor, bool]:
    """Return W (g, o, d), 0 where not kept, with W G nearest to products, and whether G is singular.

    Minimises |W x - y|² + Σ λ (W - near)² for each row over what it keeps; λ is `damp` times G's mean
    diagonal, and share / (1 - share) times the input's own.
    """
    solved = torch.zeros_like(products)
    singular = False
    for group in range(len(gram)):
        diagonal = gram[group].diagonal()
        mean = float(diagonal.mean())
        singular |= bool((diagonal <= 1e-6 * mean).any()) or mean == 0
        ridge = (damp * mean if mean > 0 else 1.0) + share / (1 - share) * diagonal
        for row in range(products.shape[1]):
            at = kept[group, row].nonzero()[:, 0]
            if len(at):
                own = gram[group].index_select(0, at).index_select(1, at)
                right, close = products[group, row, at], near[group, row, at]
                solved[group, row, at] = _near(own, right, close, ridge[at])
    return solved, singular


def _near(gram: Tensor, right: Tensor, near: Tensor, ridge: Tensor) -> Tensor:
    """Return x (d,) of least xᵀ G x - 2 xᵀ right + Σ ridge (x - near)²; more where rounding asks."""
    while True:
        damped = gram.clone()
        damped.diagonal().add_(ridge)
        factor, failed = torch.linalg.cholesky_ex(damped)
        if not bool(failed):
            return torch.cholesky_solve((right + ridge * near)[:, None], factor)[:, 0]
        ridge = ridge * 10
