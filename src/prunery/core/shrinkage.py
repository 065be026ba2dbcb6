"""How far the Gram of few columns is trusted: a part of the columns is held out, and the others must fit it.

Sums over few columns make inputs look as if they could stand in for each other. A Gram is therefore drawn
towards its diagonal by the share that makes the columns that it has not seen most likely.
Source: Schäfer and Strimmer 2005, section 2.2 (target D); the share by held-out likelihood.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

FEW = 32
"""Columns for each input; where there are more, all of them are summed up and trusted."""

SHARES = (0.0, 0.001, 0.003, 0.01, 0.03, 0.1, 0.2, 0.4, 0.7, 0.9)
_EVERY = 4  # of so many rows one is held out
_ODD = 4.0
_LEAST = 1e-6  # of a live input's variance: below it an eigenvalue is rounding


def parted(x: Tensor, seen: int) -> Iterator[tuple[bool, Tensor]]:
    """Yield (held out, rows) of x, whose first row is number `seen`: every fourth row is held out."""
    held = torch.arange(seen, seen + len(x), device=x.device) % _EVERY == _EVERY - 1
    for out in (False, True):
        rows = x[held == out]
        if len(rows):
            yield out, rows


def likeliest_share(used: Tensor, held: Tensor) -> float:
    """Return the share of SHARES with which Grams `used` (g, d, d) make those of held-out columns likeliest.

    Both are means of x xᵀ, of normally distributed columns. An input whose mean square in one is more than
    _ODD times that in the other is rarely anything but 0, as a picture's border is: it does not count.
    """
    total = torch.zeros(len(SHARES), dtype=torch.float64)
    for one, other in zip(used.double().cpu(), held.double().cpu(), strict=True):
        ratio = other.diagonal() / one.diagonal()  # NaN or infinite where an input is always 0
        live = (ratio > 1 / _ODD) & (ratio < _ODD)
        scale = one.diagonal()[live].rsqrt()
        one, other = (g[live][:, live] * scale[:, None] * scale for g in (one, other))
        values, vectors = torch.linalg.eigh(one)
        energy = ((other @ vectors) * vectors).sum(0)
        for i, share in enumerate(SHARES):
            drawn = ((1 - share) * values + share).clamp_min(_LEAST)
            total[i] += (energy / drawn + drawn.log()).sum()
    return SHARES[int(total.argmin())]


def towards_diagonal(gram: Tensor, share: float) -> Tensor:
    """Return Grams (g, d, d) with this share of what is not on their diagonals taken away."""
    return (1 - share) * gram + share * torch.diag_embed(gram.diagonal(dim1=1, dim2=2))
