"""How much of each layer stays, so that outputs change least after repair: measured, then chosen together.

Each layer is pruned by itself at a few densities and repaired, and the change of the model's outputs is
measured. Of the sums of these costs the least is chosen; it is exact for costs that are convex and piecewise
linear, which a layer's are made to be (their lower hull).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

from prunery.core.changed_outputs import ChangedOutputs
from prunery.core.context import ScoringContext
from prunery.core.grams import moments
from prunery.core.layers import Layer
from prunery.core.obs import grouped, inverse_of, repaired
from prunery.core.selection import Pool

LEVELS = 8
"""Densities at which each layer is measured: from 0.7 to an eighth of the density that is asked for."""

Costs = list[tuple[int, float]]
"""Of one layer: (weights kept, what that costs), the fewest first; the last costs nothing."""


def kept_after_repair(
    q: ScoringContext, layers: Sequence[Layer], pools: Sequence[Pool], *, images: int, damp: float
) -> list[int]:
    """Return how many weights each layer keeps; the layers of a pool (by index) keep what it keeps.

    images: at least so many, in whole batches, are looked at where costs are measured.
    """
    levels: dict[str, list[int]] = {}
    for pool in pools:
        counts = [layers[m].parameter.numel() for m in pool.members]
        if len(counts) > 1:
            found = [densities(count, pool.keep / sum(counts)) for count in counts]
            levels |= {layers[m].name: some for m, some in zip(pool.members, found, strict=True)}
    measured = costs(q, levels, images=images, damp=damp) if levels else {}
    kept: dict[int, int] = {}
    for pool in pools:
        names = [layers[m].name for m in pool.members]
        alone = len(names) == 1
        some = [pool.keep] if alone else shared(pool.keep, [measured[name] for name in names])
        kept |= dict(zip(pool.members, some, strict=True))
    return [kept[m] for m in range(len(layers))]


def densities(count: int, density: float) -> list[int]:
    """Return how many of `count` weights stay at each level, the fewest first; never all, and never none."""
    least = density / 8
    steps = [least * (max(0.7, density) / least) ** (i / (LEVELS - 1)) for i in range(LEVELS)]
    return sorted({max(1, round(count * step)) for step in steps} - {count})


def costs(
    q: ScoringContext, levels: Mapping[str, Sequence[int]], *, images: int, damp: float
) -> dict[str, Costs]:
    """Return by parameter name what each number of kept weights costs, the rest of the model as it is.

    A cost is the mean squared change of the outputs over their variance. A layer is pruned and its survivors
    are moved in the order of columns (SparseGPT), which is a fair guess at any size of layer.
    """
    change, found = ChangedOutputs(q, images=images), dict[str, Costs]()
    for some in grouped([layer for layer in q.layers if layer.name in levels]):
        seen = moments(q, some, whole=True, compared=True)
        for layer in some:
            own = seen.pop(layer.name)
            inverse = inverse_of(own.square, damp)
            live = _live(q, layer)
            found[layer.name] = [(live, 0.0)]
            for kept in reversed([n for n in levels[layer.name] if n < live]):
                weight = repaired(q, layer, inverse, kept)
                found[layer.name].insert(0, (kept, change(layer, weight, own)))
    return found


def shared(keep: int, layers: Sequence[Costs]) -> list[int]:
    """Return how many weights each layer keeps, `keep` in all, so that the sum of the costs is least.

    Starts from the fewest of each layer; what lowers the cost most for each weight comes first.
    Source: Sinha and Zoltners 1979, The multiple-choice knapsack problem (its linear relaxation).
    """
    hulls = [hull(costs) for costs in layers]
    kept = [points[0][0] for points in hulls]
    left = keep - sum(kept)
    if left < 0:  # more must go than the lowest levels have: all give in proportion
        scaled = [n * keep // max(sum(kept), 1) for n in kept]
        for m in sorted(range(len(kept)), key=lambda m: scaled[m] - kept[m])[: keep - sum(scaled)]:
            scaled[m] += 1
        return scaled
    pieces = [
        (_slope(low, high), m, high[0] - low[0])
        for m, points in enumerate(hulls)
        for low, high in pairwise(points)
    ]
    for _, m, size in sorted(pieces):  # the steepest fall of the cost first
        more = min(size, left)
        kept[m] += more
        left -= more
    return kept


def hull(costs: Costs) -> Costs:
    """Return the points of the lower convex hull of costs against kept weights."""
    points: Costs = []
    for point in costs:
        while len(points) > 1 and _slope(points[-2], points[-1]) >= _slope(points[-1], point):
            points.pop()
        points.append(point)
    return points


def _slope(a: tuple[int, float], b: tuple[int, float]) -> float:
    return (b[1] - a[1]) / (b[0] - a[0])


def _live(q: ScoringContext, layer: Layer) -> int:
    mask = q.masks.get(layer.name)
    return layer.parameter.numel() if mask is None else int(mask.count_nonzero())
