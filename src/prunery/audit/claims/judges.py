"""What a claim means for the numbers of a table: one function for each kind of claim."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from prunery.audit.claims.prose import Sentence
from prunery.audit.findings import percent, several
from prunery.audit.table.numbers import mean, parse
from prunery.audit.table.sheet import Entry, grouped
from prunery.registry import Registry

JUDGES = Registry(
    "claim"
)  # (sentence, arms) -> what is wrong, or None where the sentence claims no such thing
_BETTER = (
    r"beats?(?!\w)|outperform(?!ed by)\w*|better than|surpass(?!ed by)\w*|exceeds?"
    r"|superior to|more accurate than|ahead of"
    r"|higher (?:\w+ )?than|improv\w+ (?:up)?on(?!\w)|improv\w+ over"
    r"|gains? [\d.]+ ?(?:points?|pp|%) over"
    r"|(?:is|stays?|remains?|lies?|points?|pp) above(?= (?:the )?[A-Za-z])"
)
_WORSE = (
    r"(?:is|stays?|remains?|lies?|points?|pp|falls?|drops?|goes) below(?= (?:the )?[A-Za-z])"
    r"|(?:outperformed|beaten|surpassed|exceeded) by"
    r"|worse than|loses? to|inferior to|underperform\w*|lower (?:\w+ )?than|less accurate than|falls? behind"
)
_COMPARE = re.compile(rf"\b(?:(?P<better>{_BETTER})|(?P<worse>{_WORSE}))", re.IGNORECASE)
_BEST = re.compile(
    r"\b(?:highest|best|most accurate|lowest|worst|least accurate)\b(?! (?:sparsit|compress|pruning))", re.I
)
_LOW = re.compile(r"lowest|worst|least", re.IGNORECASE)
_OF_ITSELF = re.compile(  # the best of one method's own: SNIP's highest accuracy, the best result of SNIP
    r"'s?\s+(?:\w+\s+)?(?:highest|best|lowest|worst)"
    r"|(?:highest|best|lowest|worst) (?:\w+ ){1,2}(?:of|for|by) (?!all|any|the|every|each|these)",
    re.I,
)
_OTHERS = re.compile(r"(all|every|each|any) (?:of the )?(?:other|method|criteri)|the others|the rest", re.I)
NOT = re.compile(
    r"\b(never|not|no(?=\s*$)|no longer|cannot|nowhere|fails? to|does ?n[o']t|rarely|none of|neither"
    r"|no (?:\w+ )?(?:method|criterion|network|model|run|value)s?)\b",
    re.IGNORECASE,
)
_EXCEPT = re.compile(
    r"\b(?:except|apart from|other than|excluding|besides|unlike|all but|only)\b", re.IGNORECASE
)
_MONOTONE = re.compile(
    r"monoton|steadily|(?:with|as) (?:the )?(?:increasing|growing|higher|rising|more)? ?sparsity", re.I
)
_FALLS = re.compile(r"fall|drop|decreas|declin|degrad|lower|loses", re.IGNORECASE)
_RISES = re.compile(r"ris|increases|improv|grows", re.IGNORECASE)
LIMIT = re.compile(
    r"(?P<down>(?:falls?|drops?|goes|fell|dropped|stays?|remains?|are|is|lies?) (?:always )?(?:below|under)"
    r"|at most)"
    r"|(?P<up>above|over|at least|exceeds?|more than|stays? at)",
    re.IGNORECASE,
)
EVERY = re.compile(
    r"\b(all|every|each|never|always|consistently|none of"
    r"|no (?:\w+ )?(?:method|criterion|network|model|run|value)s?)\b",
    re.IGNORECASE,
)
SIGNIFICANT = re.compile(r"\bsignifican(t|tly|ce)\b|statistically", re.IGNORECASE)


_GROWING = re.compile(r"as (?:the )?sparsit\w+ \w+s\b|with (?:increasing|growing|rising)", re.IGNORECASE)
_HOW = re.compile(
    r"(?P<least>at least|more than|over|no less than)|(?P<most>at most|up to|less than|no more than)", re.I
)


class UnsureError(Exception):
    """A sentence that claims something which the table cannot decide."""


@dataclass(frozen=True)
class Arm:
    """The mean of one method at one sparsity in one place of the table."""

    entries: tuple[Entry, ...]
    names: tuple[str, ...]

    @property
    def value(self) -> float:
        """Its mean, in %."""
        return mean([e.value for e in self.entries])

    @property
    def order(self) -> float:
        """Its sparsity, or what sorts like it."""
        return self.entries[0].order or 0.0

    def __str__(self) -> str:
        first = self.entries[0]
        at = f" at {percent(first.sparsity)}" if first.sparsity else ""
        text = first.printed if len(self.entries) == 1 else f"{self.value:.2f}"
        return f"{' '.join(self.names) or 'dense'}{at} {text} ({_place(first)})"


def _place(entry: Entry) -> str:
    texts = [entry.data_name, entry.model, f"table {entry.row.table}" if entry.row.table else ""]
    return ", ".join([*(t for t in texts if t), f"line {entry.line}"])


def called(arms: Iterable[Arm], name: str) -> list[Arm]:
    """Return the arms of a method; `dense` for the dense network."""
    return [a for a in arms if _is(a, name)]


def _is(arm: Arm, name: str) -> bool:
    return name in arm.names or (name == "dense" and not arm.names)


@JUDGES.add()
def compared(sentence: Sentence, arms: list[Arm]) -> list[str] | None:
    """Judge "A beats B" wherever the table has both at one sparsity, in one place."""
    match = _COMPARE.search(sentence.text)
    if match is None or len(_COMPARE.findall(sentence.text)) > 1 or _two_levels(sentence, match):
        return None
    if _EXCEPT.search(sentence.text) or _GROWING.search(sentence.text):
        return None
    if SIGNIFICANT.search(sentence.text) and NOT.search(sentence.text):
        return None
    before = [name for at, name in sentence.methods if at < match.start()]
    after = [name for at, name in sentence.methods if at >= match.end()]
    if len(set(before)) != 1 or (not after and not _OTHERS.search(sentence.text[match.end() :])):
        return None
    sign = -1 if match["worse"] else 1
    negated = NOT.search(sentence.text[: match.start()]) is not None
    pairs = list(pairs_of(arms, before[0], set(after)))
    if not pairs:
        return [
            f"unsupported: the table has no pair of {before[0]} and {several(after) or 'others'} to compare"
        ]
    wrong = [(a, b) for a, b in pairs if (sign * (a.value - b.value) > 0) == negated]
    messages = [f"{len(wrong)} of {len(pairs)} comparisons say otherwise: {versus(wrong)}"] if wrong else []
    return messages + (_gaps(sentence, pairs) if len(sentence.gaps) == 1 and not wrong else [])


def _two_levels(sentence: Sentence, match: re.Match[str]) -> bool:
    """Return whether a comparison is of one sparsity with another."""
    sides = (sentence.text[: match.start()], sentence.text[match.end() :])
    return len(sentence.sparsities) > 1 and all(re.search(r"\bat \d", side) for side in sides)


def pairs_of(arms: list[Arm], name: str, others: set[str]) -> Iterator[tuple[Arm, Arm]]:
    """Yield (arm of that name, arm of another) at one sparsity and place; the dense arm is at every one."""
    for group in grouped(arms, lambda a: a.entries[0].place):
        for a in called(group, name):
            for b in group:
                same = b.order == a.order or not b.names or not a.names
                chosen = any(_is(b, o) for o in others) if others else bool(b.names)
                if b is not a and same and chosen and set(a.names) != set(b.names):
                    yield a, b


def versus(pairs: Sequence[tuple[Arm, Arm]]) -> str:
    """Return the first pairs as text."""
    return several(f"{a} against {b}" for a, b in pairs[:2]) + (" ..." if len(pairs) > 2 else "")


def _gaps(sentence: Sentence, pairs: Sequence[tuple[Arm, Arm]]) -> list[str]:
    stated = parse(sentence.gaps[0])
    assert stated is not None
    apart = [abs(a.value - b.value) for a, b in pairs]
    how = re.search(rf"{_HOW.pattern}\s+{re.escape(stated.text)}\b", sentence.text, re.IGNORECASE)
    slack = stated.step / 2 + 0.006
    if how:
        fits = [gap >= stated.value - 0.006 if how["least"] else gap <= stated.value + 0.006 for gap in apart]
        if all(fits):
            return []
        if any(fits) and not (sentence.reach or EVERY.search(sentence.text)):
            raise UnsureError
    elif any(abs(gap - stated.value) <= slack for gap in apart):
        return []
    return [
        f"{stated.text} points are stated, the table has "
        + several(f"{abs(a.value - b.value):.2f}" for a, b in pairs)
    ]


@JUDGES.add()
def best(sentence: Sentence, arms: list[Arm]) -> list[str] | None:
    """The one method named beside highest or lowest, against all others at each sparsity and place."""
    match = _BEST.search(sentence.text)
    subject = [name for _, name in sentence.methods if name != "dense"]
    if match is None or len(set(subject)) != 1 or _EXCEPT.search(sentence.text):
        return None
    if _OF_ITSELF.search(sentence.text):
        return None
    sign = -1 if _LOW.search(match[0]) else 1
    places = [
        (a, group)
        for group in grouped(arms, lambda a: (a.entries[0].place, a.order))
        for a in called(group, subject[0])
    ]
    places = [(a, group) for a, group in places if len(group) > 1 and a.names]
    if not places:
        return [f"unsupported: the table has nothing of {subject[0]} beside other methods there"]
    if re.search(r"\b(?:its|overall|single)\b", sentence.text):
        return None
    tops = [(a, max((b for b in group if b.names), key=lambda b: sign * b.value)) for a, group in places]
    negated = NOT.search(sentence.text) is not None
    wrong = [(a, b) for a, b in tops if (sign * (b.value - a.value) > 1e-9) != negated]
    return [f"not so in {len(wrong)} of {len(tops)} places: {versus(wrong)}"] if wrong else []


@JUDGES.add()
def limited(sentence: Sentence, arms: list[Arm]) -> list[str] | None:
    """Judge "never below X" and "all above X" by every value of the methods named, or of all."""
    match = LIMIT.search(sentence.text)
    if match is None or len(sentence.values) != 1 or not EVERY.search(sentence.text):
        return None
    first = re.search(r"\d+(?:\.\d+)?", sentence.text[match.end() :])
    if first is None or first[0] != sentence.values[0]:
        return None
    if re.search(r"\bnot (?:all|every|always|each)\b", sentence.text, re.IGNORECASE):
        return None
    below = (match["down"] is not None) != (NOT.search(sentence.text) is not None)
    limit = float(sentence.values[0])
    spared = _EXCEPT.search(sentence.text)
    out = {name for at, name in sentence.methods if spared and at > spared.start()}
    names = [n for n in sentence.names() if n not in out]
    chosen = [a for n in names for a in called(arms, n)] or [a for a in arms if a.names]
    chosen = [a for a in chosen if not out & set(a.names)]
    if not chosen:
        return [f"unsupported: the table has nothing of {several(sentence.names())} there"]
    wrong = [a for a in chosen if (a.value > limit if below else a.value < limit)]
    return (
        [f"{len(wrong)} of {len(chosen)} values say otherwise: {several(map(str, wrong[:2]))}"]
        if wrong
        else []
    )


@JUDGES.add()
def monotone(sentence: Sentence, arms: list[Arm]) -> list[str] | None:
    """Curves that fall (or rise) from each sparsity to the next."""
    sure = re.search(r"monoton|steadily", sentence.text, re.IGNORECASE) or EVERY.search(sentence.text)
    if not sure or not _MONOTONE.search(sentence.text) or sentence.values:
        return None
    sign = -1 if _RISES.search(sentence.text) and not _FALLS.search(sentence.text) else 1
    chosen = [a for n in sentence.names() for a in called(arms, n)] or [a for a in arms if a.names]
    steps = []
    for curve in grouped(chosen, lambda a: a.entries[0].arm):
        ranked = sorted(curve, key=lambda a: a.order)
        steps += list(pairwise(ranked))
    if not steps:
        return ["unsupported: the table has no curve over sparsity there"]
    wrong = [(a, b) for a, b in steps if sign * (b.value - a.value) > 1e-9]
    negated = NOT.search(sentence.text) is not None
    if negated:
        return [] if wrong else ["it is monotone in the table"]
    return [f"{len(wrong)} of {len(steps)} steps go the other way: {versus(wrong)}"] if wrong else []
