"""The scores of a unit set: produced piece by piece where a unit is one weight, else reduced to its units."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod

import torch
from torch import Tensor

from prunery.core.criteria import Evidence
from prunery.core.selection import Scores
from prunery.core.units import Member, UnitSet
from prunery.errors import EvidenceError
from prunery.registry import BoundEntry

Kinds = Mapping[str, Mapping[str, Tensor]]  # evidence: kind -> parameter name -> tensor like the parameter


def scores_of(unit_set: UnitSet, kinds: Kinds, criterion: BoundEntry, masks: Mapping[str, Tensor]) -> Scores:
    """Return the scores of a set's units under a criterion, and which of the units are live."""
    device = unit_set.layers[0].parameter.device
    kinds = {kind.rpartition(":")[2]: tensors for kind, tensors in kinds.items()}
    if unit_set.norm is None:
        piece = _of_weights(unit_set, kinds, criterion, masks, device)
    else:
        scores = _of_units(unit_set, kinds, criterion, masks).to(device)

        def piece(lo: int, hi: int) -> Tensor:
            return scores[lo:hi]

    return Scores(unit_set.name, unit_set.count, device, piece, unit_set.live(masks))


def _of_weights(
    unit_set: UnitSet, kinds: Kinds, criterion: BoundEntry, masks: Mapping[str, Tensor], device: torch.device
) -> Callable[[int, int], Tensor]:
    member = unit_set.members[0]
    if criterion.facts.get("whole"):
        scores = _of_layer(member, unit_set.count, kinds, criterion, masks).reshape(-1).to(device)
        return lambda lo, hi: scores[lo:hi]
    evidence = Evidence(member.name, {kind: of[member.name] for kind, of in kinds.items()})

    def piece(lo: int, hi: int) -> Tensor:
        values: Tensor = criterion(evidence.slice(lo, hi))
        return values.to(device)

    return piece


def _of_layer(
    member: Member, count: int, kinds: Kinds, criterion: BoundEntry, masks: Mapping[str, Tensor]
) -> Tensor:
    """Return the scores of all weights of one member, shaped like its parameter."""
    own = {kind: of[member.name] for kind, of in kinds.items()}
    evidence = Evidence(member.name, own, member, count)
    if not criterion.facts.get("whole"):
        pointwise: Tensor = criterion(evidence.slice(0, prod(member.shape)))
        return pointwise.view(member.shape)
    values: Tensor = criterion(evidence.whole(masks.get(member.name)))
    if tuple(values.shape) != member.shape:
        raise EvidenceError(
            f"the scores of {member.name!r} by criterion {criterion.name!r}",
            f"they have the shape {tuple(values.shape)}",
            f"return one score a weight, shape {member.shape}",
        )
    return values


def _of_units(unit_set: UnitSet, kinds: Kinds, criterion: BoundEntry, masks: Mapping[str, Tensor]) -> Tensor:
    """Return the scores of units larger than a weight, over all members that are scored."""
    norm = str(criterion.facts.get("norm", unit_set.norm))
    members = unit_set.scored if norm != "first" else unit_set.scored[:1]
    if criterion.facts.get("of_units") and len(unit_set.scored) > 1:
        raise EvidenceError(
            f"criterion {criterion.name!r} for {unit_set.name!r}",
            f"its units lie in {len(unit_set.scored)} parameters, and it compares units of one",
            "exclude the layer, or use another criterion",
        )
    parts = []
    for member in members:
        values = _of_layer(member, unit_set.count, kinds, criterion, masks)
        if member.name in masks and norm != "first":  # what is removed says nothing of its unit
            values = values.masked_fill(~masks[member.name].to(values.device), 0)
        if unit_set.even:
            values = values / _rms(values)
        parts.append(member.reduce(values, _NORMS[norm.lstrip("-")], unit_set.count))
    scores = parts[0] if len(parts) == 1 else _NORMS[norm.lstrip("-")](torch.stack(parts), [0])
    return -scores if norm.startswith("-") else scores  # "-l2": of scores that were all negated


def _rms(values: Tensor) -> Tensor:
    """Return the root of the mean square, or the smallest number above 0."""
    root: Tensor = _l2(values, list(range(values.ndim))) / values.numel() ** 0.5
    return root.clamp_min(torch.finfo(values.dtype).tiny)


def _l2(values: Tensor, axes: list[int]) -> Tensor:
    peak = values.abs().max().clamp_min(torch.finfo(values.dtype).tiny)  # squares of large scores overflow
    return (values / peak).square().sum(axes).sqrt() * peak


def _first(values: Tensor, axes: list[int]) -> Tensor:
    return values[tuple(0 if axis in axes else slice(None) for axis in range(values.ndim))]


_NORMS: dict[str, Callable[[Tensor, list[int]], Tensor]] = {
    "l1": torch.sum,
    "l2": _l2,
    "mean": torch.mean,
    "max": torch.amax,
    "first": _first,
}
