"""What one call of `prune` means: its five choices with their options, and what each of its cuts asks.

All that can be refused without looking at a score is refused here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from prunery.core.criteria import criterion as criteria
from prunery.core.granularity import granularity as granularities
from prunery.core.layers import unmatched
from prunery.core.schedule import cuts_of, of_rounds
from prunery.core.schedule import schedule as schedules
from prunery.core.scope import Target
from prunery.core.scope import scope as scopes
from prunery.core.sparsity import Wanted, parse_wanted
from prunery.core.units import UnitSet
from prunery.core.validate import listed
from prunery.errors import ChoiceError, PatternError, SparsityError
from prunery.registry import BoundEntry, Choice

if TYPE_CHECKING:
    from torch import Tensor

Named = str | Mapping[str, Any] | Choice


@dataclass(frozen=True)
class Bindings:
    """The choices of one call, bound to their options."""

    criterion: BoundEntry
    granularity: BoundEntry
    scope: BoundEntry
    schedule: BoundEntry
    floor: float
    budget: str | None = None

    def spared(self, exclude: str | Sequence[str] | None) -> tuple[str, ...]:
        """Return the patterns of what is not pruned: those that were given, or the granularity's own."""
        own = self.granularity.facts.get("exclude", ())
        return tuple(listed(own if exclude is None else exclude))


def bind(
    criterion: Named,
    options: Mapping[str, Any] | None,
    granularity: Named,
    scope: Named | None,
    schedule: Named | None,
    rounds: int | None,
    floor: float,
    budget: str | None,
) -> Bindings:
    """The choices of a call, checked; ChoiceError or SparsityError says which is wrong."""
    named = Choice.parse(criterion)
    asked = {**named.options, **(options or {})}
    invert = asked.pop("invert", False)
    scored_by = criteria.bind(Choice(named.name, asked))
    units = granularities.bind(granularity)
    check_norm(scored_by, units)
    scope = units.facts.get("scope", "global") if scope is None else scope
    scored_by = inverted(scored_by, units.options.get("norm")) if invert else scored_by
    if not isinstance(floor, int | float) or not 0 <= floor < 1:
        raise SparsityError(f"a floor of {floor}", "a floor is a density in [0, 1)", "give, say, floor=0.01")
    if budget is not None:
        check_budget(budget, Choice.parse(scope).name, units.name)
    bound = _schedule(schedule, rounds, scored_by)
    return Bindings(scored_by, units, scopes.bind(scope), bound, floor, budget)


def check_budget(budget: str, scope: str, granularity: str) -> None:
    """Raise ChoiceError for a budget that there is none of, or that the other choices leave no room for."""
    if budget not in ("weights", "macs"):
        found = "times are no budget yet" if budget == "ms" else "there is none of that name"
        raise ChoiceError(f"budget {budget!r}", found, "choose 'weights' or 'macs'")
    if scope not in ("global", "layer"):
        raise ChoiceError(
            f"budget {budget!r} with scope {scope!r}", "it has pools of its own", "use 'global'"
        )
    if granularities[granularity].facts.get("weights") and budget == "weights":
        raise ChoiceError(f"budget {budget!r}", "each unit is one weight already", "leave budget out")


def check_norm(criterion: BoundEntry, granularity: BoundEntry) -> None:
    """Raise ChoiceError for squares of signed scores, and for scores of units where weights are the units."""
    if criterion.facts.get("of_units") and granularity.facts.get("weights"):
        raise ChoiceError(
            f"criterion {criterion.name!r} with granularity {granularity.name!r}",
            "it scores whole units, and here each weight is one",
            "use granularity 'filter'",
        )
    if criterion.facts.get("signed") and granularity.options.get("norm") == "l2":
        raise ChoiceError(
            f"norm 'l2' with criterion {criterion.name!r}",
            "its scores are signed, and squares lose the sign",
            "use norm 'l1', which sums them",
        )


def inverted(criterion: BoundEntry, norm: str | None) -> BoundEntry:
    """The criterion with its order turned round: the control that removes what should matter most.

    norm: how the scores of a unit's weights are put together, if a unit is more than one weight.

    Source: Frankle et al. 2021, section 5 (inversion).
    """
    row = criterion.row

    def negated(evidence: Any, **options: Any) -> Tensor:
        scores: Tensor = -row.function(evidence, **options)
        return scores

    facts = {**({"norm": "-l2"} if norm == "l2" else {}), **row.facts, "signed": True}
    return BoundEntry(replace(row, function=negated, facts=facts), criterion.options)


def _schedule(schedule: Named | None, rounds: int | None, criterion: BoundEntry) -> BoundEntry:
    """The schedule asked for; else exponential over `rounds`, or over the criterion's own number."""
    if schedule is None:
        rounds = criterion.facts.get("rounds", 1) if rounds is None else rounds
        return schedules.bind(of_rounds(rounds))
    choice = Choice.parse(schedule)
    return schedules.bind(
        choice if rounds is None else Choice(choice.name, {**choice.options, "rounds": rounds})
    )


def cuts(
    sparsity: Wanted, method: Bindings, units: Sequence[UnitSet], masks: Mapping[str, Tensor]
) -> Iterator[list[Target]]:
    """The targets of each cut, one per unit set; the last ones are what was asked."""
    live = {u.name: u.live_count(masks) for u in units}
    final = _targets(sparsity, units, live)
    if not method.budget:
        _check_reach(method, units, final, live)
    elif len({target.group for target in final}) > 1:
        found = "a sparsity for each layer leaves nothing to choose"
        raise ChoiceError(f"budget {method.budget!r}", found, "give one sparsity")
    levels = {}
    for group in {t.group for t in final}:
        members = [u for u, t in zip(units, final, strict=True) if t.group == group]
        start = 1 - sum(live[u.name] for u in members) / sum(u.count for u in members)
        wanted = next(t.sparsity for t in final if t.group == group)
        levels[group] = (
            _levels(method.schedule, wanted, start) if wanted > start else [wanted]
        )  # there already
    rounds = max(map(len, levels.values()))
    for r in range(rounds):
        yield [replace(t, sparsity=levels[t.group][min(r, len(levels[t.group]) - 1)]) for t in final]


def _levels(schedule: BoundEntry, sparsity: float, start: float) -> list[float]:
    """Return the cumulative sparsities of a schedule's cuts; SparsityError if they lie inside a training."""
    if schedule.facts.get("during"):
        raise SparsityError(
            f"schedule {schedule.name!r}",
            "its cuts lie inside a training",
            "use it in a study, or train with fit(..., updates=[in_training(...)])",
        )
    return [cut.sparsity for cut in cuts_of(schedule(sparsity, start))]


def _check_reach(
    method: Bindings, units: Sequence[UnitSet], final: Sequence[Target], live: Mapping[str, int]
) -> None:
    """Raise SparsityError where earlier masks already removed more than the target leaves."""
    for pool in method.scope([u.count for u in units], final):
        left = sum(live[units[m].name] for m in pool.members)
        if pool.keep > left:
            total = sum(units[m].count for m in pool.members)
            raise SparsityError(
                f"sparsity {final[pool.members[0]].sparsity:g} in {units[pool.members[0]].name!r} "
                f"and {len(pool.members) - 1} more layers",
                f"the masks given already remove {total - left} of {total}",
                "ask for at least the sparsity that they have",
            )


def _targets(sparsity: Wanted, units: Sequence[UnitSet], live: Mapping[str, int]) -> list[Target]:
    """What is asked of each unit set; one that no pattern of a mapping matches stays as it is."""
    wanted = parse_wanted(sparsity)
    if isinstance(wanted, float):
        return [Target("*", wanted, u) for u in units]
    layers = [layer for u in units for layer in u.layers]
    targets = []
    for unit_set in units:
        name = unit_set.name
        pattern = next((p for p in wanted if unit_set.matches(p)), None)
        gone = 1 - live[name] / unit_set.count
        group, asked = (f"= {name}", gone) if pattern is None else (pattern, wanted[pattern])
        targets.append(Target(group, asked, unit_set))
    for pattern in set(wanted) - {t.group for t in targets}:
        if not any(u.matches(pattern) for u in units):
            raise unmatched("sparsity", pattern, layers, "it matches no layer that is not excluded")
        raise PatternError(
            f"sparsity pattern {pattern!r}",
            "patterns before it take all the layers that it matches",
            "put the more specific pattern first",
        )
    return targets
