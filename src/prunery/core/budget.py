"""Budgets: the sparsity is of weights or of MACs, and the fewest units go that it needs.

Units go in one order: where all compete (scope global) the lowest score per cost first; else each set loses
the same share of its units, the lowest scores first. What is left is counted, not estimated: where a row and
a column cross, a weight goes once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from prunery.core.binding import Bindings
from prunery.core.context import ScoringContext, example_of, moved
from prunery.core.selection import Scores
from prunery.core.units import Member, UnitSet
from prunery.errors import ScoreError, SparsityError
from prunery.graph.uses.count import count
from prunery.graph.uses.lineage import Watched
from prunery.wrappers import unwrapped


@dataclass(frozen=True)
class Price:
    """What a weight of each layer costs, and what all of them cost together."""

    of: Mapping[str, float]
    total: float


def price_of(currency: str, context: ScoringContext) -> Price:
    """Return the price of weights in a currency: 1 each, or the MACs of each for one call on the example."""
    uses = _uses(context) if currency == "macs" else {layer.name: 1.0 for layer in context.layers}
    return Price(uses, sum(uses[x.name] * x.parameter.numel() for x in context.layers))


def _uses(context: ScoringContext) -> Mapping[str, float]:
    """Return how often a call on the example uses a weight of each layer; counted once for all cuts."""
    if "uses" not in context.memo:
        watched = [Watched(x.name, x.parameter, prunable=True) for x in context.layers]
        example = moved(example_of(context), context.layers[0].parameter.device)
        count(unwrapped(context.model), watched, example)
        numbers = {
            w.name: torch.as_tensor(0 if w.uses is None else w.uses, dtype=torch.float64) for w in watched
        }
        context.memo["uses"] = {name: float(number.mean()) for name, number in numbers.items()}
    uses: Mapping[str, float] = context.memo["uses"]
    return uses


def units_within(
    units: Sequence[UnitSet],
    scores: Sequence[Scores],
    level: float,
    method: Bindings,
    context: ScoringContext,
) -> dict[int, Tensor]:
    """Return which units of each set stay so that at most 1 - level of the total price is left.

    No fewer stay than the budget needs, and at least one of each set (or its multiple). SparsityError: the
    budget cannot be reached.
    """
    price = price_of(str(method.budget), context)
    left = _Left(units, scores, price, context.masks)
    order = left.order(compete=method.scope.name == "global")
    limit = (1 - level) * price.total * (1 + 1e-12)
    low, high = -1, len(order)  # with `high` units removed the limit is kept, with `low` it is not
    if (least := left.after(order)) > limit:
        raise SparsityError(
            f"a budget of {1 - level:.4g} of the total",
            f"with as few units as may be left, {least / price.total:.4g} of it is",
            "ask for less, exclude less, or see prunery.couplings for what must stay",
        )
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if left.after(order[:middle]) <= limit else (middle, high)
    return left.staying(order[:high])


class _Left:
    """What stays of each set, and the price of it, once the first units of an order are removed."""

    def __init__(
        self, units: Sequence[UnitSet], scores: Sequence[Scores], price: Price, masks: Mapping[str, Tensor]
    ) -> None:
        self.units, self.price, self.masks = units, price, masks
        self.values = [score.piece(0, score.count).double().cpu() for score in scores]
        self.ranked = [_best_first(v, score) for v, score in zip(self.values, scores, strict=True)]
        self.members: dict[str, list[tuple[int, Member]]] = {}
        for index, unit_set in enumerate(units):
            for member in unit_set.members:
                if member.counted and member.name in price.of:
                    self.members.setdefault(member.name, []).append((index, member))
        owned = sum(price.of[name] * prod(m[0][1].shape) for name, m in self.members.items())
        self.others = price.total - owned

    def order(self, *, compete: bool) -> Tensor:
        """Return the set of the unit that goes first, second, ...; of a set the lowest scores go first."""
        keys, sets = [], []
        for index, ranked in enumerate(self.ranked):
            lowest = ranked[1:].flip(0)  # the best one stays
            share = torch.arange(len(lowest), dtype=torch.float64) / max(1, len(ranked))
            keys.append(self.values[index][lowest] / self._cost(index) if compete else share)
            sets.append(torch.full((len(lowest),), index))
        return torch.cat(sets)[torch.cat(keys).argsort(stable=True)]

    def _cost(self, index: int) -> float:
        """Return the price of one unit of a set, before any other is gone."""
        owned = [member for member in self.units[index].members if member.name in self.members]
        prices = (self.price.of[m.name] * prod(m.shape) * m.share(self.units[index].count) for m in owned)
        return max(sum(prices), 1e-300)

    def staying(self, removed: Tensor) -> dict[int, Tensor]:
        """Return which units of each set stay; as many as a multiple where a set asks for it."""
        gone = torch.bincount(removed, minlength=len(self.units)).tolist()
        kept = {}
        for index, (unit_set, ranked) in enumerate(zip(self.units, self.ranked, strict=True)):
            number = len(ranked) - gone[index]
            if unit_set.multiple > 1 and len(ranked) > unit_set.multiple:
                number = max(unit_set.multiple, number // unit_set.multiple * unit_set.multiple)
            kept[index] = torch.zeros(unit_set.count, dtype=torch.bool)
            kept[index][ranked[:number]] = True
        return kept

    def after(self, removed: Tensor) -> float:
        """Return the price of what is left."""
        kept = self.staying(removed)
        counts = {name: self._count(name, members, kept) for name, members in self.members.items()}
        return self.others + sum(self.price.of[name] * count for name, count in counts.items())

    def _count(self, name: str, members: Sequence[tuple[int, Member]], kept: Mapping[int, Tensor]) -> int:
        """Return how many weights of a layer stay."""
        shape = members[0][1].shape
        lines: dict[int, Tensor] = {}
        for index, member in members:
            line = member.line(kept[index])
            if line is None or name in self.masks:
                break
            axis = (member.axes or (0,))[0]
            lines[axis] = lines[axis] & line if axis in lines else line
        else:
            return prod(int(lines[a].count_nonzero()) if a in lines else n for a, n in enumerate(shape))
        mask = self.masks.get(name, torch.ones(shape, dtype=torch.bool)).cpu()
        for index, member in members:
            mask = mask & member.expand(kept[index])
        return int(mask.count_nonzero())


def _best_first(values: Tensor, scores: Scores) -> Tensor:
    """Return the live units of a set, the highest score first; of equal ones the first."""
    if bool(values.isnan().any()):
        raise ScoreError(f"the scores of {scores.name!r}", "some are NaN", "look at the weights and the loss")
    order = (-values).argsort(stable=True)
    return order if scores.live is None else order[scores.live.cpu()[order]]
