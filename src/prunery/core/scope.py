"""Scope: who competes with whom, and how many stay.

A scope partitions the unit sets into pools, each with a number of units to keep; `selection` finds them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from prunery.core.selection import Pool
from prunery.registry import Registry

scope = Registry("scope")


@dataclass(frozen=True)
class Target:
    """The sparsity asked of one unit set; sets that share a group (a pattern) may compete."""

    group: str
    sparsity: float


@scope.add(name="global", source="Han et al. 2015; one threshold for the whole network")
def global_(counts: Sequence[int], targets: Sequence[Target]) -> list[Pool]:
    """All layers compete: one pool, or one per pattern of a sparsity mapping."""
    groups: dict[str, list[int]] = {}
    for index, target in enumerate(targets):
        groups.setdefault(target.group, []).append(index)
    return [_pool(members, counts, targets[members[0]].sparsity) for members in groups.values()]


@scope.add(source="uniform: the same sparsity in every layer")
def layer(counts: Sequence[int], targets: Sequence[Target]) -> list[Pool]:
    """Each layer is a pool of its own."""
    return [_pool([index], counts, target.sparsity) for index, target in enumerate(targets)]


def _pool(members: Sequence[int], counts: Sequence[int], sparsity: float) -> Pool:
    total = sum(counts[m] for m in members)
    return Pool(tuple(members), total - round(sparsity * total))
