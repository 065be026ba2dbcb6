"""Pruning: the five choices put together. Start reading here.

evidence ──criterion──▶ scores ──granularity──▶ unit scores ──scope──▶ keep ──granularity──▶ masks ──▶ model
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from prunery.core.binding import Bindings, Named, bind, cuts
from prunery.core.bits import one_thread
from prunery.core.context import ScoringContext
from prunery.core.criteria import Evidence
from prunery.core.evidence import gather
from prunery.core.granularity import UnitSet
from prunery.core.layers import prunable
from prunery.core.masks import Masks
from prunery.core.scope import Target
from prunery.core.selection import Scores, keep
from prunery.core.sparsity import Wanted
from prunery.core.validate import device_of
from prunery.errors import EmptyLayerWarning
from prunery.registry import BoundEntry


def prune(
    model: nn.Module,
    sparsity: Wanted,
    *,
    criterion: Named = "magnitude",
    options: Mapping[str, Any] | None = None,
    granularity: Named = "weight",
    scope: Named = "global",
    schedule: Named | None = None,
    rounds: int | None = None,
    masks: Masks | None = None,
    example: Any = None,
    batches: Any = None,
    loss: Callable[[Any, Any], Tensor] | None = None,
    exclude: Sequence[str] = (),
    floor: float = 0.0,
    budget: str | None = None,
    device: torch.device | str | None = None,
    seed: int = 0,
) -> Masks:
    """Masks that keep exactly what was asked; `model` is pruned IN PLACE (removed weights become 0).

    sparsity: 0.9, "90%", "10x", ..., or a mapping from layer patterns to these (the first match counts;
    layers without a match stay dense). Continue from earlier `masks`; sparsity still counts all prunable
    weights. Gradient criteria are scored in the mode (train or eval) that the model is in.
    Raises a PruneryError before the model is touched; warns (EmptyLayerWarning) of layers left empty.
    """
    where = device_of(model, masks=masks, exclude=exclude, options=options, seed=seed, device=device)
    method = bind(criterion, options, granularity, scope, schedule, rounds, floor, budget)
    layers = prunable(model, exclude)
    before = (masks or Masks({})).to(layers[0].parameter.device)
    before.check(model)
    options = method.criterion.options
    context = ScoringContext(model, layers, before, example, batches, loss, where, seed, options, exclude)
    units = method.granularity(context)
    after = before
    for targets in cuts(sparsity, method, units, before):
        after = prune_step(units, targets, method, replace(context, masks=after))
    after.apply_(model)
    _warn_of_empty_layers(after)
    return after


def prune_step(
    units: Sequence[UnitSet], targets: Sequence[Target], method: Bindings, context: ScoringContext
) -> Masks:
    """The masks after one cut, nested in the context's: in each pool as many units as the targets leave."""
    masks = context.masks
    kinds = {kind: _gathered(kind, units, context) for kind in method.criterion.facts["needs"].split()}
    evidence = [Evidence(u.layer.name, {k: kinds[k][u.layer.name] for k in kinds}) for u in units]
    scores = [_scores(u, e, method.criterion, masks) for u, e in zip(units, evidence, strict=True)]
    kept: dict[int, Tensor] = {}
    with one_thread():
        for pool in method.scope([u.count for u in units], targets):
            live = sum(scores[m].live_count for m in pool.members)
            pool = replace(pool, keep=min(pool.keep, live))  # a cut on the way may ask less than is gone
            kept.update(zip(pool.members, keep(scores, pool, method.floor), strict=True))
    return _expanded(units, kept, masks)


def _gathered(kind: str, units: Sequence[UnitSet], context: ScoringContext) -> dict[str, Tensor]:
    if kind == "weight" and context.device is None:  # read where they are
        return {u.layer.name: u.layer.parameter.detach() for u in units}
    return gather(kind, context)


def _scores(unit_set: UnitSet, evidence: Evidence, criterion: BoundEntry, masks: Masks) -> Scores:
    """The scores of a layer's units, produced piece by piece where a unit is one weight."""
    member, parameter = unit_set.members[0], unit_set.layer.parameter

    def of_weights(lo: int, hi: int) -> Tensor:
        values: Tensor = criterion(evidence.slice(lo, hi))
        return values.to(parameter.device)

    piece = of_weights
    if unit_set.norm is not None:
        norm = criterion.facts.get("norm", unit_set.norm)
        values = of_weights(0, parameter.numel()).view(member.shape)
        if member.name in masks and norm != "first":  # what is removed says nothing of its unit
            values = values.masked_fill(~masks[member.name], 0)
        reduced = member.reduce(values, _NORMS[norm])

        def piece(lo: int, hi: int) -> Tensor:
            return reduced[lo:hi]

    live = member.reduce(masks[member.name], torch.any) if member.name in masks else None
    return Scores(member.name, unit_set.count, parameter.device, piece, live)


def _l2(values: Tensor, axes: list[int]) -> Tensor:
    peak = values.abs().max().clamp_min(torch.finfo(values.dtype).tiny)  # squares of large scores overflow
    return (values / peak).square().sum(axes).sqrt() * peak


def _first(values: Tensor, axes: list[int]) -> Tensor:
    return values[tuple(0 if axis in axes else slice(None) for axis in range(values.ndim))]


_NORMS: dict[str, Callable[[Tensor, list[int]], Tensor]] = {
    "l1": torch.sum,
    "l2": _l2,
    "-l2": lambda values, axes: -_l2(values, axes),  # of scores that were all negated
    "first": _first,
}


def _expanded(units: Sequence[UnitSet], kept: Mapping[int, Tensor], masks: Masks) -> Masks:
    """Masks of all members of all units, within the earlier ones; layers not in play keep theirs."""
    merged, uncounted, counts = dict(masks), set(masks.uncounted), dict(masks.units)
    for index, unit_set in enumerate(units):
        counts.pop(unit_set.layer.name, None)  # where one weight is a unit, the weights are counted
        for member in unit_set.members:
            mask = member.expand(kept[index])
            if member.axes is not None:
                mask = mask & merged[member.name] if member.name in merged else mask.clone()
                counts[unit_set.layer.name] = (int(kept[index].count_nonzero()), unit_set.count)
            merged[member.name] = mask
            if not member.counted:
                uncounted.add(member.name)
    return Masks(merged, uncounted=sorted(uncounted), units=counts)


def _warn_of_empty_layers(masks: Masks) -> None:
    if empty := [layer.name for layer in masks.layers() if not layer.kept]:
        warnings.warn(
            f"no weight is left in {', '.join(empty)}: the network may be cut in two; a floor (floor=0.01) "
            "or more rounds prevent it",
            EmptyLayerWarning,
            stacklevel=3,
        )
