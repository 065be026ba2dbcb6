"""Pruning: the five choices put together. Start reading here.

evidence ──criterion──▶ scores ──granularity──▶ unit scores ──scope──▶ keep ──granularity──▶ masks ──▶ model
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from prunery.core.binding import Bindings, Named, bind, cuts
from prunery.core.bits import one_thread
from prunery.core.budget import units_within
from prunery.core.cautions import covered, warn_of
from prunery.core.context import ScoringContext
from prunery.core.evidence import gather
from prunery.core.layers import OUTPUT, all_layers, in_play
from prunery.core.masks import NO_UNITS, Masks
from prunery.core.multiples import rounded
from prunery.core.outputs import without_outputs
from prunery.core.scope import Target
from prunery.core.scores import scores_of
from prunery.core.selection import keep
from prunery.core.silence import check_silence
from prunery.core.sparsity import Wanted
from prunery.core.units import UnitSet
from prunery.core.validate import device_of, listed


def prune(
    model: nn.Module,
    sparsity: Wanted,
    *,
    criterion: Named = "magnitude",
    options: Mapping[str, Any] | None = None,
    granularity: Named = "weight",
    scope: Named | None = None,
    schedule: Named | None = None,
    rounds: int | None = None,
    masks: Masks | None = None,
    example: Any = None,
    batches: Any = None,
    loss: Callable[[Any, Any], Tensor] | None = None,
    exclude: Sequence[str] | None = None,
    include: Sequence[str] = (),
    floor: float = 0.0,
    budget: str | None = None,
    device: torch.device | str | None = None,
    seed: int = 0,
) -> Masks:
    """Prune `model` IN PLACE and return its masks: exactly what was asked is kept, removed weights become 0.

    sparsity: 0.9, "90%", "10x", ..., or a mapping from layer patterns to these (the first match counts;
    layers without a match stay dense). Continue from earlier `masks`; sparsity still counts all prunable
    weights. Gradient criteria are scored in the mode (train or eval) that the model is in. scope, exclude:
    by default the granularity's: one pool of all weights, or for filters a pool a layer, in which one filter
    stays or more, with the output layers spared. include: patterns of parameters that are pruned too.
    Raises a PruneryError before the model is touched. Warns of layers left empty (EmptyLayerWarning) and of
    parameters out of reach (CoverageWarning).
    """
    where = device_of(model, masks, exclude or (), include, options, seed, device)
    method = bind(criterion, options, granularity, scope, schedule, rounds, floor, budget)
    spared, include = method.spared(exclude), listed(include)
    if OUTPUT in spared:
        spared = without_outputs(model, spared, example, batches, include)
    every, hidden = all_layers(model, include)
    layers = in_play(model, every, hidden, spared)
    before = masks.fitted(model).to(layers[0].parameter.device) if masks else Masks({})
    chosen = method.criterion.options
    context = ScoringContext(model, layers, before, example, batches, loss, where, seed, chosen, spared)
    units = method.granularity(context)
    after = before
    for targets in cuts(sparsity, method, units, before):
        after = prune_step(units, targets, method, replace(context, masks=after))
    after.apply_(model)
    after = covered(after, model, every, layers, spared)
    warn_of(after, model)
    return after


def prune_step(
    units: Sequence[UnitSet], targets: Sequence[Target], method: Bindings, context: ScoringContext
) -> Masks:
    """Return the masks after one cut, nested in the context's: each pool keeps what the targets leave it."""
    masks, criterion = context.masks, method.criterion
    measured = (context,) if method.scope.facts.get("measured") else ()
    context = replace(context, units=units, pools=method.scope([u.count for u in units], targets, *measured))
    kinds = {kind: _gathered(kind, context) for kind in criterion.facts["needs"].split()}
    check_silence(context, list(kinds), kinds)
    scores = [scores_of(unit_set, kinds, criterion, masks) for unit_set in units]
    if method.budget:
        return _expanded(units, units_within(units, scores, targets[0].sparsity, method, context), masks)
    kept: dict[int, Tensor] = {}
    with one_thread():
        for pool in context.pools:
            live = sum(scores[m].live_count for m in pool.members)
            pool = replace(pool, keep=min(pool.keep, live))  # a cut on the way may ask less than is gone
            kept.update(zip(pool.members, keep(scores, pool, method.floor), strict=True))
    if any(unit_set.multiple > 1 for unit_set in units):
        kept = rounded(units, scores, kept)
    return _expanded(units, kept, masks)


def _gathered(kind: str, context: ScoringContext) -> dict[str, Tensor]:
    if kind == "weight" and context.device is None:  # read where they are
        return {layer.name: layer.parameter.detach() for layer in context.layers}
    return gather(kind, context)


def _expanded(units: Sequence[UnitSet], kept: Mapping[int, Tensor], masks: Masks) -> Masks:
    """Return masks of all members of all units, within the earlier ones; layers not in play keep theirs."""
    merged, uncounted, counts = dict(masks), set(masks.uncounted), dict(masks.units)
    for index, unit_set in enumerate(units):
        if unit_set.norm is not None:
            counts[unit_set.name] = (int(kept[index].count_nonzero()), unit_set.count)
            _add_slices(unit_set, kept[index], merged, uncounted, counts)
        for member in unit_set.members if unit_set.norm is None else ():
            merged[member.name] = member.expand(kept[index])
            counts.pop(member.name, None)  # where one weight is a unit, the weights are counted
    return Masks(merged, uncounted=sorted(uncounted), units=counts)


def _add_slices(
    unit_set: UnitSet,
    kept: Tensor,
    merged: dict[str, Tensor],
    uncounted: set[str],
    counts: dict[str, tuple[int, int]],
) -> None:
    """Add the masks of units larger than a weight; a parameter may be sliced by the units of several sets."""
    for member in unit_set.members:
        mask = member.expand(kept)
        merged[member.name] = mask & merged[member.name] if member.name in merged else mask.clone()
        if member.counted:
            counts.setdefault(member.name, NO_UNITS)
        else:
            uncounted.add(member.name)
