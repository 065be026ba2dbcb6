"""Whether masks keep exactly what was asked, in every pool and every line of a pool."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from prunery.core.context import ScoringContext
from prunery.core.granularity import granularity as granularities
from prunery.core.layers import all_layers
from prunery.core.masks import Masks
from prunery.core.scope import Target
from prunery.core.scope import scope as scopes
from prunery.core.units import UnitSet
from prunery.errors import MasksError

DEFECT = "report this as a defect of the library"


def units_of(model: nn.Module, masks: Masks) -> dict[str, UnitSet]:
    """Return by parameter name the sets of weights whose masks keep single weights."""
    layers = {layer.name: layer for layer in all_layers(model)[0]}
    every = granularities["weight"].function(ScoringContext(model, [layers[n] for n in masks if n in layers]))
    return {unit_set.name: unit_set for unit_set in every if unit_set.name not in masks.units}


def check_exact(
    masks: Masks, scope: Any, sparsity: float, units: Mapping[str, UnitSet], *, do: str = DEFECT
) -> None:
    """MasksError unless every pool, and every line of one, keeps exactly what the sparsity leaves of it."""
    layers = masks.layers()
    targets = [Target("*", sparsity, units.get(layer.name)) for layer in layers]
    for pool in scopes.bind(scope)([x.units_total for x in layers], targets):
        kept = sum(layers[member].units_kept for member in pool.members)
        names = ", ".join(layers[member].name for member in pool.members)
        if kept != pool.keep:
            problem = f"{kept} units are kept, {pool.keep} were asked for in {names}"
            raise MasksError(f"sparsity {sparsity:g}", problem, do)
        if pool.lines is None:
            continue
        found = pool.lines.split(masks[layers[pool.members[0]].name]).sum(1).cpu()
        if not found.equal(pool.lines.quotas(pool.keep)):
            problem = f"the lines of {names} do not keep what each of them was asked to"
            raise MasksError(f"sparsity {sparsity:g}", problem, do)
