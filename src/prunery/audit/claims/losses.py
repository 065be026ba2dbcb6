"""Claims of how much accuracy a method loses or gains, or how far it lies from another one."""

from __future__ import annotations

import re
from collections.abc import Callable

from prunery.audit.claims.judges import EVERY, JUDGES, Arm, pairs_of, versus
from prunery.audit.claims.prose import Sentence
from prunery.audit.findings import several
from prunery.audit.table.numbers import parse

_UNIT = r"(?P<unit>%|points?\b|percentage points?\b|percent points?\b|pp\b)"
_LOSS = re.compile(
    r"\b(?P<verb>los(?:es?|t|ing)|(?:drops?|falls?) by|gains?|improves? by)\s+"
    r"(?P<how>(?:only|just|less than|at most|under|no more than|more than|over|at least)\s+)?"
    rf"(?P<number>\d+(?:\.\d+)?)\s*{_UNIT}",
    re.IGNORECASE,
)
_WITHIN = re.compile(rf"\bwithin\s+(?P<number>\d+(?:\.\d+)?)\s*{_UNIT}\s+of\b", re.IGNORECASE)
_OTHERWISE = re.compile(  # of costs, between two sparsities, or denied
    r"\b(?:M?FLOPs|MACs|param\w*|weights|memory|time|speed|from|between|never|not|no)\b", re.IGNORECASE
)
_ROUNDING = 0.006  # points: of two printed accuracies


@JUDGES.add()
def lost(sentence: Sentence, arms: list[Arm]) -> list[str] | None:
    """One method loses (or gains) so much: the table must have it at one of the sparsities named."""
    matches = list(_LOSS.finditer(sentence.text))
    names = [n for n in sentence.names() if n != "dense"]
    if len(matches) != 1 or len(names) != 1 or _OTHERWISE.search(sentence.text):
        return None
    match = matches[0]
    pairs = list(pairs_of(arms, names[0], {"dense"}))
    if not pairs:
        return None
    sign = -1 if match["verb"].lower().startswith(("gain", "improve")) else 1
    points = [sign * (b.value - a.value) for a, b in pairs]
    shares = [100 * p / (b.value or 1) for p, (_, b) in zip(points, pairs, strict=True)]
    fits = _fits(match)
    need = all if sentence.reach or EVERY.search(sentence.text) else any
    if need(map(fits, points)) or (match["unit"] == "%" and need(map(fits, shares))):
        return []
    return [f"{match[0]} is stated, the table has {several(f'{p:.2f}' for p in points)} points"]


def _fits(match: re.Match[str]) -> Callable[[float], bool]:
    """Return whether a difference is as stated: so much, less, or more."""
    stated, how = parse(match["number"]), (match["how"] or "").strip().lower()
    assert stated is not None
    if how in ("less than", "at most", "under", "no more than"):
        return lambda difference: difference <= stated.value + _ROUNDING
    if how in ("more than", "over", "at least"):
        return lambda difference: difference >= stated.value - _ROUNDING
    return lambda difference: abs(difference - stated.value) <= stated.step / 2 + _ROUNDING


@JUDGES.add()
def within(sentence: Sentence, arms: list[Arm]) -> list[str] | None:
    """One method is within so many points of another."""
    match = _WITHIN.search(sentence.text)
    if match is None or len(sentence.names()) != 2:
        return None
    first = [name for at, name in sentence.methods if at < match.start()]
    others = {name for at, name in sentence.methods if at >= match.end()}
    pairs = list(pairs_of(arms, first[0], others)) if len(first) == len(others) == 1 else []
    if not pairs:
        return None
    limit = float(match["number"]) + _ROUNDING
    wrong = [(a, b) for a, b in pairs if abs(a.value - b.value) > limit]
    return [f"{len(wrong)} of {len(pairs)} comparisons say otherwise: {versus(wrong)}"] if wrong else []
