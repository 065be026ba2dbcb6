"""Accuracies that a sentence quotes for methods and sparsities: the table must have each."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import partial

from prunery.audit.claims.judges import EVERY, JUDGES, LIMIT, NOT, Arm, called
from prunery.audit.claims.prose import Sentence
from prunery.audit.findings import percent, several
from prunery.audit.table.numbers import Number, parse

_QUOTES = re.compile(
    r"\b(?:reach|achiev|obtain|attain|scor|gets?|got|has|have|had|gives?|yields?|keeps?|retains?|accurac|top-?\d|to|at"
    r"|is|was|are|were|with)\w*\b[^.;]{0,40}?\d|\(\d",
    re.IGNORECASE,
)
_VAGUE = re.compile(
    r"(?:below|above|under|over|less than|more than|at least|at most|about|around|nearly|almost|roughly"
    r"|beyond|approximately|close to|up to|~|≈|<|>)\s*\d",
    re.IGNORECASE,
)


@JUDGES.add()
def quoted(sentence: Sentence, arms: list[Arm]) -> list[str] | None:
    """Numbers quoted for a method and a sparsity: the table must have each."""
    names = sentence.names()
    pairs = _matched(sentence, names, arms)
    if pairs is None:
        return None
    wrong = []
    for value, candidates, about in pairs:
        stated = parse(value)
        assert stated is not None
        if not candidates:
            wrong.append(f"unsupported: the table has nothing for {about}")
        elif not any(_prints(a, stated) for a in candidates):
            wrong.append(f"{value} is quoted for {about}, the table has {several(map(str, candidates))}")
    return wrong


def _prints(arm: Arm, stated: Number) -> bool:
    values = [arm.value, *(e.value for e in arm.entries)]
    return any(abs(value - stated.value) <= stated.step / 2 + 1e-6 for value in values)


Quote = tuple[str, list[Arm], str]


def _matched(sentence: Sentence, names: list[str], arms: list[Arm]) -> list[Quote] | None:
    """(number, the arms that it may be of, what it is said of), by the order of the sentence."""
    values, levels = sentence.values, sentence.sparsities
    if (
        not values
        or not names
        or not _QUOTES.search(sentence.text)
        or (LIMIT.search(sentence.text) and EVERY.search(sentence.text))
        or NOT.search(sentence.text)
        or _VAGUE.search(sentence.text)
    ):
        return None
    arms_of = partial(called, arms)
    at = f" at {several(percent(s) for s in levels)}" if levels else ""
    if len(names) == 1 and len(levels) == len(values) > 1:
        return [
            (v, _at(arms_of(names[0]), s), f"{names[0]} at {percent(s)}")
            for v, s in zip(values, levels, strict=True)
        ]
    places = len(sentence.data) + len(sentence.networks)
    if len(names) == 1 and (len(values) == 1 or len(levels) <= 1 < len(values) <= places):
        return [(v, arms_of(names[0]), f"{names[0]}{at}") for v in values]
    if len(names) == len(values) and len(levels) <= 1:
        return [(v, arms_of(n), f"{n}{at}") for v, n in zip(values, names, strict=True)]
    return None


def _at(arms: Iterable[Arm], sparsity: float) -> list[Arm]:
    return [
        a for a in arms if a.entries[0].sparsity is not None and abs(a.entries[0].sparsity - sparsity) < 0.006
    ]
