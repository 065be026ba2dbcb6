"""Mask updates: what changes the masks while a network trains.

`fit(..., updates=[...])` asks each update, before every optimiser step, whether it is due, and enforces the
masks that it returns. An update keeps no state of its own: what it does follows from the context alone, so
that a training that was killed and resumed ends with the same bits.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from prunery.core.binding import Bindings, Named, bind
from prunery.core.cautions import warn_of
from prunery.core.context import ScoringContext
from prunery.core.coverage import coverage_of
from prunery.core.criteria import criterion as criteria
from prunery.core.layers import all_layers, prunable
from prunery.core.masks import Masks
from prunery.core.outputs import without_outputs
from prunery.core.prune import prune_step
from prunery.core.schedule import Cut, cuts_of, is_update
from prunery.core.scope import Target
from prunery.core.selection import Pool, floors
from prunery.core.sparsity import Sparsity, parse
from prunery.core.units import UnitSet
from prunery.errors import ChoiceError, SparsityError, SpecError
from prunery.forward import eval_mode
from prunery.seeds import number


@dataclass(frozen=True)
class UpdateContext:
    """What an update may look at.

    model: its removed weights are 0. masks: those in force. step: the optimiser step (from 0) that comes
    next, `total` after the last one. total: the steps of the whole training. seed: for whatever is drawn,
    with `prunery.seeds.stream(seed, "my update", step)`. gradient(): by parameter name, the gradient of the
    training loss on the batch that comes next, at removed weights too; one forward and backward pass.
    """

    model: nn.Module
    masks: Masks
    step: int
    total: int
    seed: int
    gradient: Callable[[], dict[str, Tensor]]


class MaskUpdate(Protocol):
    """Changes the masks at certain steps. A frozen dataclass does well: its repr tells two updates apart."""

    def due(self, step: int, total: int) -> bool:
        """Return whether the update acts before step `step` (from 0) of `total`, or at the end (equal)."""

    def __call__(self, context: UpdateContext) -> Masks:
        """Return the masks from now on; what they remove becomes 0, and what they bring back begins at 0."""


def in_training(
    sparsity: Sparsity,
    *,
    criterion: Named = "magnitude",
    options: Mapping[str, Any] | None = None,
    granularity: Named = "weight",
    scope: Named | None = None,
    schedule: Named = "gradual",
    floor: float = 0.0,
    exclude: Sequence[str] | None = None,
    include: Sequence[str] = (),
    example: Any = None,
    batches: Any = None,
    loss: Callable[[Any, Any], Tensor] | None = None,
    start: float = 0.0,
) -> MaskUpdate:
    """Return the update that prunes to `sparsity` during a training, for `fit(..., updates=[it])`.

    The choices are those of `prune`; the schedule is one whose cuts lie inside a training (gradual,
    drop_grow) or that returns a mask update. start: the sparsity that the masks given to `fit` have.
    Raises a PruneryError for choices that cannot be.
    """
    method = bind(criterion, options, granularity, scope, schedule, None, floor, None)
    result = method.schedule(parse(sparsity), start)
    if is_update(result):
        update: MaskUpdate = result
        return update
    exclude = method.granularity.facts.get("exclude", ()) if exclude is None else exclude
    patterns = {
        "exclude": (exclude,) if isinstance(exclude, str) else tuple(exclude),
        "include": tuple(include),
    }
    return CutsInTraining(
        tuple(cuts_of(result)), method, **patterns, example=example, batches=batches, loss=loss
    )


@dataclass(frozen=True, eq=False)
class CutsInTraining:
    """The update that carries out cuts inside a training: each before the step at its share of all steps.

    After each cut every pool keeps exactly what the cut's sparsity leaves of it. Without regrow the masks are
    nested. With it, `round(regrow * kept)` units of each pool go by the criterion, and as many grow, drawn
    evenly from the units of the pool that were removed before the cut. What a cut drops it does not grow
    again (in the authors' code of SET and RigL it may); so where fewer are removed than would go, fewer go.

    method: how weights are scored, in eval mode, and which compete. example, batches, loss: as for `prune`.
    """

    cuts: tuple[Cut, ...]
    method: Bindings
    exclude: tuple[str, ...] = ()
    include: tuple[str, ...] = ()
    example: Any = None
    batches: Any = None
    loss: Callable[[Any, Any], Tensor] | None = None

    def __post_init__(self) -> None:
        if any(cut.at is None for cut in self.cuts):
            found = f"the cuts of {self.method.schedule.name!r} have no place in it"
            raise SparsityError("pruning during a training", found, "use gradual or drop_grow")
        if self.method.scope.facts.get("measured"):
            found = "it runs the model on examples, and inside a training weights never stand still"
            raise ChoiceError(f"scope {self.method.scope.name!r} during a training", found, "use 'global'")
        units = self.method.granularity
        if not units.facts.get("weights") and any(cut.regrow for cut in self.cuts):
            found = "a larger unit that starts at 0 gets no gradient"
            raise ChoiceError(f"regrowth with granularity {units.name!r}", found, "use granularity 'weight'")

    def __repr__(self) -> str:
        """Tell it from others; what it is scored on is left out, as a checkpoint knows no data."""
        choices = (self.method.criterion, self.method.granularity, self.method.scope)
        words = [f"{c.row.function.__qualname__} {c.name}({dict(c.options)})" for c in choices]
        where = f"floor={self.method.floor}, exclude={self.exclude}, include={self.include}"
        return f"CutsInTraining({list(self.cuts)}, {', '.join(words)}, {where})"

    def due(self, step: int, total: int) -> bool:
        """Return whether a cut lies before step `step` of `total`: at the rounded share of the steps."""
        return bool(self._at(step, total))

    def _at(self, step: int, total: int) -> tuple[Cut, ...]:
        def place(cut: Cut) -> int:
            return round((cut.at or 0.0) * total)

        lo = bisect_left(self.cuts, step, key=place)
        return self.cuts[lo : bisect_right(self.cuts, step, lo=lo, key=place)]

    def __call__(self, context: UpdateContext) -> Masks:
        """Return the masks after the cuts that are due, in order; warn of empty layers after the last one."""
        scoring, cuts = self._scoring(context), self._at(context.step, context.total)
        with eval_mode(context.model):
            units = self.method.granularity(scoring)
            self._check_reach(units, context.masks)
            for cut in cuts:
                scoring = replace(scoring, masks=self._cut(cut, units, scoring))
        masks = scoring.masks
        masks.coverage = coverage_of(
            context.model, all_layers(context.model, self.include)[0], scoring.exclude
        )
        if cuts and cuts[-1] is self.cuts[-1]:
            warn_of(masks, None)
        return masks

    def _scoring(self, context: UpdateContext) -> ScoringContext:
        model, example, batches = context.model, self.example, self.batches
        exclude = without_outputs(model, self.exclude, example, batches, self.include)
        layers = prunable(model, exclude, include=self.include)
        seed, options = number(context.seed, "cut", context.step), self.method.criterion.options
        return ScoringContext(
            model, layers, context.masks, example, batches, self.loss, None, seed, options, exclude
        )

    def _cut(self, cut: Cut, units: Sequence[UnitSet], scoring: ScoringContext) -> Masks:
        method = self.method
        if cut.criterion is not None:
            method = replace(method, criterion=criteria.bind(cut.criterion))
            scoring = replace(scoring, options=method.criterion.options, memo={})
        exchange = _exchanged if cut.regrow else _removed
        return exchange(cut, units, method, scoring)

    def _check_reach(self, units: Sequence[UnitSet], masks: Masks) -> None:
        """Raise SparsityError where the masks remove more than the last cut leaves."""
        last = self.cuts[-1]
        for pool in self.method.scope([u.count for u in units], _targets(last, units)):
            left = _kept(pool, units, masks)
            if left < pool.keep and not last.regrow:
                found = f"the masks leave {left} units where it keeps {pool.keep}"
                raise SparsityError(
                    f"a cut to {last.sparsity:g}", found, "ask for a sparsity that is not lower"
                )


def _targets(cut: Cut, units: Sequence[UnitSet]) -> list[Target]:
    return [Target("*", cut.sparsity, unit_set) for unit_set in units]


def _removed(cut: Cut, units: Sequence[UnitSet], method: Bindings, scoring: ScoringContext) -> Masks:
    return prune_step(units, _targets(cut, units), method, scoring)


def _exchanged(cut: Cut, units: Sequence[UnitSet], method: Bindings, scoring: ScoringContext) -> Masks:
    """The masks with a share of each pool dropped by the criterion, and as many others grown."""
    targets = _targets(cut, units)
    pools = method.scope([u.count for u in units], targets)
    free = _complement(units, scoring.masks)
    least = [sum(floors([units[m].count for m in p.members], method.floor)) for p in pools]
    going = [
        min(round(cut.regrow * p.keep), _kept(p, units, free), p.keep - n)
        for p, n in zip(pools, least, strict=True)
    ]
    staying = [replace(p, keep=p.keep - n) for p, n in zip(pools, going, strict=True)]
    masks = prune_step(units, targets, _in_pools(method, staying), scoring)
    coming = [replace(p, keep=p.keep - _kept(p, units, masks)) for p in pools]
    growing = _in_pools(replace(method, criterion=criteria.bind(cut.grow), floor=0.0), coming)
    scoring = replace(scoring, masks=free, seed=number(scoring.seed, "grow"), memo={})
    grown = prune_step(units, targets, growing, scoring)
    either = {name: mask | grown[name] if name in grown else mask for name, mask in masks.items()}
    return Masks(either, uncounted=sorted(masks.uncounted), units=masks.units)


def _kept(pool: Pool, units: Sequence[UnitSet], masks: Masks) -> int:
    return sum(units[m].live_count(masks) for m in pool.members)


def _in_pools(method: Bindings, pools: Sequence[Pool]) -> Bindings:
    """The method with these pools, whatever the targets are."""
    row = replace(method.scope.row, function=lambda *_, **__: list(pools))
    return replace(method, scope=replace(method.scope, row=row))


def _complement(units: Sequence[UnitSet], masks: Masks) -> Masks:
    """Masks that keep what `masks` remove."""
    removed = {}
    for unit_set in units:
        for layer in unit_set.layers:
            nothing = torch.zeros_like(layer.parameter, dtype=torch.bool)
            removed[layer.name] = ~masks[layer.name] if layer.name in masks else nothing
    return Masks(removed)


def description(update: MaskUpdate) -> str:
    """Return a text that tells an update from others in every process; SpecError if it has none."""
    kind = type(update)
    plain = kind.__repr__ is object.__repr__
    text = f"{kind.__module__}.{kind.__qualname__} {vars(update) if plain else update!r}"
    if " at 0x" in text:
        do = "give its class a __repr__ without addresses; a frozen dataclass of plain values has one"
        raise SpecError(
            f"a checkpoint of a training with {kind.__qualname__}", f"it is described by {text}", do
        )
    return text
