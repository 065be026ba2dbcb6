"""Which method keeps most accuracy, over ranges of sparsities in which the answer is the same."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, groupby

from prunery.comparisons import HIGHER, Difference, Pair, compared
from prunery.report.results.groups import Group, sparsities
from prunery.report.text import formats

_ERRORS = 3  # standard errors of a share of the test images
_NAMED = 4
_WIDE = 5  # times the middle interval, from which on a method's is named


@dataclass(frozen=True)
class _Place:
    """The methods at one sparsity, best mean first, and what can be said of the first.

    kind: "chance", "alone", "single" (too few seeds), "first" (ahead of all others) or "open".
    """

    sparsity: float
    ranked: Sequence[Group]
    kind: str
    against: Sequence[Difference | None]

    @property
    def same(self) -> tuple[str, str]:
        """Return what neighbouring sparsities must share to be said in one sentence."""
        return self.kind, "" if self.kind in ("open", "chance") else self.ranked[0].method

    @property
    def undecided(self) -> list[tuple[Group, Difference]]:
        """Return the others that are not shown to be lower, each with the first minus it."""
        others = zip(self.ranked[1:], self.against, strict=True)
        return [(g, d) for g, d in others if d is not None and d.verdict != HIGHER]

    @property
    def level(self) -> list[Group]:
        """Return the first, and the others that are not shown to be lower."""
        others = zip(self.ranked[1:], self.against, strict=True)
        return [self.ranked[0], *(g for g, d in others if d is None or d.verdict != HIGHER)]


def winners(groups: Sequence[Group]) -> list[str]:
    """Return a sentence for each range of sparsities, for weights and for each other granularity apart."""
    pruned = [g for g in groups if g.role == "pruned"]
    kinds = list(dict.fromkeys(g.first("granularity") for g in pruned))
    said = []
    for kind in kinds:
        of_kind = [g for g in pruned if g.first("granularity") == kind]
        share = f" of the {kind}s removed" if len(kinds) > 1 else ""
        places = [p for s in sparsities(of_kind) if (p := _place([g for g in of_kind if g.sparsity == s]))]
        for _, alike in groupby(places, key=lambda p: p.same):
            said.append(_said(list(alike), share))
    return said


def _place(entered: Sequence[Group]) -> _Place | None:
    """Return what can be said at one sparsity; None where nothing is compared or done."""
    ranked = sorted((g for g in entered if g.sound), key=lambda g: -_mean(g))
    if len(entered) < 2 or not ranked:
        return None
    first = ranked[0]
    against = against_first(ranked)
    if _at_chance(first):
        kind = "chance"
    elif len(ranked) == 1:
        kind = "alone"
    elif all(d is None or d.verdict is None for d in against):
        kind = "single"
    else:
        kind = "first" if all(d is not None and d.verdict == HIGHER for d in against) else "open"
    return _Place(first.sparsity, ranked, kind, against)


def against_first(ranked: Sequence[Group]) -> list[Difference | None]:
    """Return the first minus each other.

    The first was chosen by its mean, so the intervals hold together over all pairs, not only those with it.
    """
    couples = list(combinations(ranked, 2))
    pairs = [Pair("", a.method, b.method, a.values, b.values) for a, b in couples]
    differences = compared(pairs, step=ranked[0].step)
    return [d for (a, _), d in zip(couples, differences, strict=True) if a is ranked[0]]


def _at_chance(group: Group) -> bool:
    """Return whether no seed is above chance by more than the draw of images."""
    level, images = group.first("chance_top1"), group.first("test_images")
    if level is None or not images:
        return False
    noise = math.sqrt(level * (100 - level) / images)
    return bool(max(group.values.values()) <= level + _ERRORS * noise)


def _said(places: Sequence[_Place], share: str) -> str:
    first, last = places[0], places[-1]
    there = formats.percent(first.sparsity)
    at = f"At {there}" if len(places) == 1 else f"From {there} to {formats.percent(last.sparsity)}"
    return f"{at}{share}, {_WORDS[first.kind](places)}."


def _chance(places: Sequence[_Place]) -> str:
    return f"nothing is above chance ({places[0].ranked[0].first('chance_top1'):.2f} %)"


def _alone(places: Sequence[_Place]) -> str:
    return f"{places[0].ranked[0].method} alone neither collapsed nor diverged: {_values(places)}"


def _single(places: Sequence[_Place]) -> str:
    return f"{places[0].ranked[0].method} is highest: {_values(places)} (too few seeds for a verdict)"


def _first(places: Sequence[_Place]) -> str:
    nearest = [d for p in places for d in p.against if d is not None]
    least = min(nearest, key=lambda d: d.summary.mean)
    gap = f"{formats.signed(least.summary.mean)} {formats.ends(least.summary)} points"
    least_gap = f"ahead of each other method, by at least {gap}"
    return f"{places[0].ranked[0].method} keeps most: {_values(places)}, {least_gap}"


def _open(places: Sequence[_Place]) -> str:
    level = list(dict.fromkeys(g.method for p in places for g in p.level))
    lower = {g.method for p in places for g in p.ranked} - set(level)
    names = formats.few(level, most=_NAMED) if len(level) > _NAMED else formats.listed(level)
    firsts = list(dict.fromkeys(p.ranked[0].method for p in places))
    seeds = formats.ranged(float(len(g.values)) for p in places for g in p.ranked)
    verb = "are" if len(firsts) > 1 else "is"
    text = f"{formats.listed(firsts)} {verb} highest, {_values(places)}, but which of {names} is best"
    text += f" is not shown with {seeds} seeds{_above(places)}"
    return f"{text}; lower: {formats.listed(sorted(lower))}" if lower else text


def _above(places: Sequence[_Place]) -> str:
    """Return ` (differences above 0.4 to 0.6 would be)`; empty where no pair has an interval.

    Those of the middle pair, at the sparsities where it is smallest and largest; methods whose runs differ by
    far more are named.
    """
    found = [[(g.method, d.summary.half) for g, d in place.undecided if d.summary.half] for place in places]
    middle = [statistics.median(half for _, half in pairs) for pairs in found if pairs]
    if not middle:
        return ""
    low, high = f"{min(middle):.2f}", f"{max(middle):.2f}"
    text = low if low == high else f"{low} to {high}"
    wide = {method for pairs in found for method, half in pairs if half > _WIDE * max(middle)}
    but = f", but for {formats.listed(sorted(wide))}, whose runs differ most" if wide else ""
    return f" (differences above {text} would be{but})"


def _values(places: Sequence[_Place]) -> str:
    """Return the first's accuracy, or that at both ends of the range."""
    ends = [p.ranked[0] for p in {p.sparsity: p for p in (places[0], places[-1])}.values()]
    if len(ends) > 1 and any(g.summary and g.summary.cut for g in ends):  # two ranges, each with two ends
        return " to ".join(dict.fromkeys(f"{_mean(g):.{formats.DECIMALS}f} %" for g in ends))
    return " to ".join(f"{formats.values(g)} %" for g in ends)


def _mean(group: Group) -> float:
    return group.summary.mean if group.summary else -math.inf


_WORDS = {"chance": _chance, "alone": _alone, "single": _single, "first": _first, "open": _open}
