"""What is said of the masks of a cut: how much of the model they cover, and what is unusual about them."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import torch
from torch import nn

from prunery.core.bits import nonzero, zeros_kept
from prunery.core.coverage import coverage_of
from prunery.core.layers import Layer
from prunery.core.masks import NO_UNITS, Masks
from prunery.errors import CoverageWarning, EmptyLayerWarning, ZerosKeptWarning
from prunery.wrappers import parameter_of


def covered(
    masks: Masks, model: nn.Module, every: Sequence[Layer], layers: Sequence[Layer], exclude: Sequence[str]
) -> Masks:
    """Return the masks of a cut with their coverage; a layer of which no unit may go keeps all its weights.

    every: all prunable weights. layers: those in play.
    """
    whole = {x.name: torch.ones_like(x.parameter, dtype=torch.bool) for x in layers if x.name not in masks}
    if whole:
        units = {**masks.units, **dict.fromkeys(whole, NO_UNITS)}
        masks = Masks({**masks, **whole}, uncounted=sorted(masks.uncounted), units=units)
    masks.coverage = coverage_of(model, every, exclude)
    return masks


def warn_of(masks: Masks, model: nn.Module | None) -> None:
    """Warn of layers left empty, of parameters out of reach, and of kept weights that are 0 already.

    model: to look for zeros in; None where weights that were grown are 0 with good reason.
    """
    if empty := [layer.name for layer in masks.layers() if not layer.kept]:
        warnings.warn(
            f"no weight is left in {', '.join(empty)}: the network may be cut in two; a floor (floor=0.01) "
            "or more rounds prevent it",
            EmptyLayerWarning,
            stacklevel=3,
        )
    if masks.coverage and masks.coverage.out_of_reach:
        do = "name them if they are weights (include=[...]), or exclude them"
        warnings.warn(f"{masks.coverage}; {do}", CoverageWarning, stacklevel=3)
    if model is not None:
        _warn_of_zeros_kept(masks, model)


def _warn_of_zeros_kept(masks: Masks, model: nn.Module) -> None:
    """Warn (ZerosKeptWarning) where `masks`, just applied to `model`, keep weights that are 0 already.

    So it is after a second cut to a lower sparsity. Where units were cut, whole rows of zeros count. A layer
    that is 0 throughout was set so by whoever built the model, and one in a thousand weights may be 0 by
    chance: they are not warned of.
    """
    counts = []
    for row in masks.layers():
        parameter, kept, what, few = parameter_of(model, row.name), row.kept, "weights", row.total // 1000
        zeros = zeros_kept(parameter, kept, masks[row.name])
        if zeros and row.name in masks.units:
            rows = masks[row.name].flatten(1).any(1).to(parameter.device)
            zeros, few = int((rows & ~nonzero(parameter).flatten(1).any(1)).count_nonzero()), 0
            kept, what = int(rows.count_nonzero()), "rows"
        if few < zeros < kept:
            counts.append(f"{zeros} of the {kept} {what} kept in {row.name}")
    if counts:
        warnings.warn(
            f"{', '.join(counts)} are 0 already: the network is sparser than the masks, which say "
            f"{masks.sparsity:.4g}. To go on from an earlier cut, pass its masks (masks=..., or "
            "masks=prunery.Masks.of(model)) and a sparsity at least as high",
            ZerosKeptWarning,
            stacklevel=4,
        )
