"""Scope: who competes with whom, and how many stay.

A scope partitions the unit sets into pools, each with a number of units to keep; `selection` finds them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from prunery.core.selection import Pool
from prunery.errors import SparsityError
from prunery.registry import Registry

scope = Registry("scope", stand_in={})


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
def layer(counts: Sequence[int], targets: Sequence[Target], *, least: int = 0) -> list[Pool]:
    """Return a pool for each layer, which keeps `least` units or more."""
    if not isinstance(least, int) or isinstance(least, bool) or least < 0:
        raise SparsityError(f"least={least!r} of scope 'layer'", "it is no number of units", "give, say, 1")
    pools = [_pool([index], counts, target.sparsity) for index, target in enumerate(targets)]
    return [replace(p, keep=max(p.keep, min(least, counts[p.members[0]]))) for p in pools]


def _pool(members: Sequence[int], counts: Sequence[int], sparsity: float) -> Pool:
    total = sum(counts[m] for m in members)
    return Pool(tuple(members), total - round(sparsity * total))
