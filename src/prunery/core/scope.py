"""Scope: who competes with whom, and how many stay.

A scope partitions the unit sets into pools, each with a number of units to keep; `selection` finds them.
The fact `lines` says that its pools are parts of layers (see `lines`); `measured`, that it is called with the
context as well, on which it may run the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import prod
from typing import TYPE_CHECKING

from prunery.core.layers import Layer
from prunery.core.lines import Lines
from prunery.core.matrices import Matrix, matrix_of
from prunery.core.selection import Pool
from prunery.core.units import UnitSet
from prunery.errors import ChoiceError, ModelError, SparsityError
from prunery.registry import Registry

if TYPE_CHECKING:
    from prunery.core.context import ScoringContext

scope = Registry("scope", stand_in={})


@dataclass(frozen=True)
class Target:
    """The sparsity asked of one unit set; sets that share a group (a pattern) may compete.

    units: the unit set itself, for scopes that must know its layer.
    """

    group: str
    sparsity: float
    units: UnitSet | None = field(default=None, compare=False)


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


@scope.add(lines=True, source="Sun et al. 2024 (Wanda), section 3: weights compete for each output")
def row(counts: Sequence[int], targets: Sequence[Target]) -> list[Pool]:
    """Return a pool for each layer, in which the weights of each output compete, and keep as many as others.

    A layer keeps exactly what was asked; where its outputs cannot keep equally many, some keep one more.
    """
    pools = []
    for index, target in enumerate(targets):
        matrix = matrix_of(layer_of(target, "row"))
        lines = Lines(matrix.view, matrix.order, matrix.inputs)
        pools.append(replace(_pool([index], counts, target.sparsity), lines=lines))
    return pools


@scope.add(lines=True, source="Mishra et al. 2021, section 2 (2:4); Zhou et al. 2021 (N:M)")
def n_of_m(counts: Sequence[int], targets: Sequence[Target], *, n: int = 2, m: int = 4) -> list[Pool]:
    """Return a pool for each layer, in which of m neighbouring inputs of each output n stay.

    Neighbours are input channels, of a convolution at one place of its kernel. The sparsity is 1 - n/m.
    SparsityError: another sparsity. ModelError: a layer whose input channels are no multiple of m.
    """
    if not (isinstance(n, int) and isinstance(m, int) and 0 < n < m):
        raise ChoiceError(f"scope n_of_m(n={n!r}, m={m!r})", "n of m are no part", "give, say, n=2, m=4")
    pools = []
    for index, target in enumerate(targets):
        pool = _pool([index], counts, target.sparsity)
        if pool.keep * m != counts[index] * n:
            raise SparsityError(
                f"sparsity {target.sparsity:g} with {n} of {m}",
                f"that leaves {n / m:g} of the weights",
                f"ask for {1 - n / m:g}",
            )
        pools.append(replace(pool, lines=_neighbours(layer_of(target, "n_of_m"), m)))
    return pools


@scope.add(source="Evci et al. 2020 (RigL), section 3 (Erdős-Rényi-kernel); Mocanu et al. 2018, eq. 1")
def erk(counts: Sequence[int], targets: Sequence[Target]) -> list[Pool]:
    """Return a pool for each layer, with a density in proportion to the sum of its sizes over their product.

    Sizes: output and input channels and the sides of the kernel. Layers that would keep more than they have
    stay dense. What all keep together is exactly what was asked, by largest remainders.
    """
    pools: dict[int, Pool] = {}
    for members in _groups(targets).values():
        total = sum(counts[m] for m in members)
        keep = total - round(targets[members[0]].sparsity * total)
        weights = {m: _erk_share(layer_of(targets[m], "erk"), counts[m]) for m in members}
        dense: set[int] = set()
        while True:
            left = keep - sum(counts[m] for m in dense)
            scale = left / (sum(w for m, w in weights.items() if m not in dense) or 1)
            full = {m for m, w in weights.items() if m not in dense and scale * w > counts[m]}
            if not full:
                break
            dense |= full
        asked = {m: float(counts[m]) if m in dense else scale * weights[m] for m in members}
        rest = keep - sum(int(n) for n in asked.values())
        order = sorted(members, key=lambda m: int(asked[m]) - asked[m])
        more = set([m for m in order if int(asked[m]) < counts[m]][:rest])
        pools |= {m: Pool((m,), int(asked[m]) + (m in more)) for m in members}
    return [pools[m] for m in sorted(pools)]


@scope.add(measured=True, source="own; the sum of costs as in Sinha and Zoltners 1979")
def repairable(
    counts: Sequence[int],
    targets: Sequence[Target],
    context: ScoringContext | None = None,
    *,
    images: int = 256,
    damp: float = 0.01,
) -> list[Pool]:
    """Return a pool for each layer, so sparse that the outputs change least once the survivors are repaired.

    Each layer is pruned by itself at eight densities and repaired in SparseGPT's way, and the change of the
    model's outputs on about so many images (no labels) is measured; see `prunery.core.repairable`. damp: the
    share of the mean of a Gram's diagonal that is added to it. Without a context nothing can be measured, and
    the pools are those of scope `global`, which keep as many.
    """
    pools = global_(counts, targets)
    if context is None:
        return pools
    from prunery.core.repairable import kept_after_repair

    layers = [layer_of(target, "repairable") for target in targets]
    kept = kept_after_repair(context, layers, pools, images=images, damp=damp)
    return [Pool((index,), count) for index, count in enumerate(kept)]


def _erk_share(layer: Layer, count: int) -> float:
    """Return what a layer keeps in proportion to: its count times the sum of its sizes over their product."""
    matrix = matrix_of(layer)
    kernel = [matrix.view[axis] for axis in matrix.order[len(matrix.order) - matrix.places :]]
    outputs = matrix.groups * matrix.outputs
    return count * (outputs + matrix.channels + sum(kernel)) / (outputs * matrix.channels * prod(kernel))


def _groups(targets: Sequence[Target]) -> dict[str, list[int]]:
    """Return the sets (by index) of each group."""
    groups: dict[str, list[int]] = {}
    for index, target in enumerate(targets):
        groups.setdefault(target.group, []).append(index)
    return groups


def _neighbours(layer: Layer, m: int) -> Lines:
    """Return lines of m input channels each."""
    matrix = matrix_of(layer)
    if matrix.channels % m:
        found = f"each output has {matrix.channels} input channels"
        raise ModelError(
            f"{m} neighbours in {layer.name!r}", found, f"exclude it, or choose a divisor of {m}"
        )
    order = (*(axis for axis in matrix.order if axis != _channels_in(matrix)), _channels_in(matrix))
    return Lines(matrix.view, order, m)


def _channels_in(matrix: Matrix) -> int:
    """Return the axis of the view that counts input channels."""
    return matrix.order[len(matrix.order) - matrix.places - 1]


def layer_of(target: Target, name: str) -> Layer:
    """Return the layer of a set whose units are its weights; ChoiceError for larger units."""
    units = target.units
    if units is None or units.norm is not None:
        raise ChoiceError(
            f"scope {name!r}", "the units are not single weights", "use it with granularity 'weight'"
        )
    return units.layers[0]


def _pool(members: Sequence[int], counts: Sequence[int], sparsity: float) -> Pool:
    total = sum(counts[m] for m in members)
    return Pool(tuple(members), total - round(sparsity * total))
