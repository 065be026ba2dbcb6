"""How the weights that are left are spread: exact counts per layer, over bins with an edge at 0."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from prunery.core.bits import one_thread
from prunery.core.layers import Layer, prunable
from prunery.core.masks import Masks
from prunery.errors import ChoiceError
from prunery.wrappers import unwrapped

_PIECE = 1 << 17  # fits the second-level cache


@dataclass(frozen=True)
class Histogram:
    """The kept weights of one layer in bins of equal width from `low` to `high` = -`low`.

    Bin i holds low + i*width <= w < low + (i+1)*width, the last one `high` too. NaN and infinite weights
    are in no bin: they are counted in `nonfinite`, and kept = sum(counts) + nonfinite.
    """

    layer: str  # the parameter's name
    low: float
    high: float  # the largest finite |w| that is kept; 0 where there is none
    counts: tuple[int, ...]
    kept: int
    total: int
    nonfinite: int = 0

    @property
    def edges(self) -> tuple[float, ...]:
        """The edges of the bins, one more than there are bins; the middle one is exactly 0."""
        half = len(self.counts) // 2
        return tuple(self.high * i / half for i in range(-half, half + 1))


def histograms(
    model: nn.Module,
    masks: Masks | None = None,
    *,
    bins: int = 60,
    exclude: Sequence[str] = (),
    include: Sequence[str] = (),
) -> list[Histogram]:
    """One histogram per prunable layer of `model`, in its order, over the weights that are kept.

    Kept: what the layer's mask says, whatever the weight's value; in a layer without a mask, what is not 0.
    Each weight is in the bin that its exact value belongs to (float64 weights: to a rounding).

    exclude, include: patterns, as `prune` takes them.

    ChoiceError: `bins` odd or below 2. MasksError: masks that do not fit. PatternError: as `prunable`.
    """
    if isinstance(bins, bool) or not isinstance(bins, int) or bins < 2 or bins % 2:
        problem = "0 is to be an edge between two bins"
        raise ChoiceError(f"histograms of {bins!r} bins", problem, "give an even number, at least 2")
    model = unwrapped(model)
    masks = Masks({}) if masks is None else masks
    masks.check(model)
    with torch.inference_mode(), one_thread():
        layers = prunable(model, exclude, include=include)
        return [_histogram(layer, masks.get(layer.name), bins) for layer in layers]


def _histogram(layer: Layer, mask: Tensor | None, bins: int) -> Histogram:
    weights = layer.parameter.detach()
    kept = weights != 0 if mask is None else mask.to(weights.device)
    pieces = list(zip(_pieces(weights), _pieces(kept), strict=True))
    bad = sum(int((k & ~w.isfinite()).count_nonzero()) for w, k in pieces)
    number = sum(int(k.count_nonzero()) for _, k in pieces)
    top = max(float(_shown(w, k).abs().max()) for w, k in pieces)
    counts = torch.zeros(bins, dtype=torch.int64, device=weights.device)
    for w, k in pieces:
        counts += _counts(_shown(w, k), top, bins)
    counts[bins // 2] -= weights.numel() - number + bad  # what is not shown went there as zeros
    return Histogram(layer.name, -top, top, tuple(counts.tolist()), number, weights.numel(), bad)


def _pieces(tensor: Tensor) -> tuple[Tensor, ...]:
    size = _PIECE if tensor.device.type == "cpu" else tensor.numel()
    return tensor.reshape(-1).tensor_split(list(range(size, tensor.numel(), size)))


def _shown(weights: Tensor, kept: Tensor) -> Tensor:
    """The finite kept weights, 0 in the place of the others."""
    return torch.where(kept & weights.isfinite(), weights, 0)


def _counts(weights: Tensor, top: float, bins: int) -> Tensor:
    """Weights per bin. The product is exact for floats up to 32 bits, and no quotient rounds over an edge."""
    half = bins // 2
    index = (weights.double() * half).div_(top or 1.0).floor_().clamp_(-half, half - 1)
    return torch.bincount(index.to(torch.int64).add_(half), minlength=bins)
