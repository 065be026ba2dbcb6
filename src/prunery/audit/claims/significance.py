"""Claims that a difference is significant: several runs a cell, and a t-test that tells them apart."""

from __future__ import annotations

import math

from prunery.audit.claims.judges import JUDGES, NOT, SIGNIFICANT, Arm, UnsureError, pairs_of, versus
from prunery.audit.claims.prose import Sentence
from prunery.audit.table.numbers import mean, sd
from prunery.stats import t_quantile


@JUDGES.add()
def significant(sentence: Sentence, arms: list[Arm]) -> list[str] | None:
    """Significance needs several runs a cell."""
    if not SIGNIFICANT.search(sentence.text) or not sentence.methods:
        return None
    pairs = _claimed(sentence, arms)
    if pairs and any(_few(a) or _few(b) for a, b in pairs) and not all(_one_run(x) for p in pairs for x in p):
        raise UnsureError
    if pairs and NOT.search(sentence.text):
        wrong = [(a, b) for a, b in pairs if not (_few(a) or _few(b)) and _differ(a, b)]
        return [f"by a t-test at 5 % they differ: {versus(wrong)}"] if wrong else []
    weak = [(a, b) for a, b in pairs if len(a.entries) > 1 < len(b.entries) and not _differ(a, b)]
    if weak:
        return [f"unsupported: their runs overlap (t-test at 5 %): {versus(weak)}"]
    rows = [e for a in arms for e in a.entries]
    known = any(e.number.spread is not None or e.seed is not None or "n" in e.row.numbers for e in rows)
    repeated = known or any(len(a.entries) > 1 for a in arms)
    return [] if repeated else ["unsupported: the table has one run a cell, which shows no significance"]


def _claimed(sentence: Sentence, arms: list[Arm]) -> list[tuple[Arm, Arm]]:
    """Return the pairs that a comparison of two methods speaks of."""
    names = sentence.names()
    return list(pairs_of(arms, names[0], {names[1]})) if len(names) == 2 else []


def _one_run(arm: Arm) -> bool:
    first = arm.entries[0]
    return len(arm.entries) == 1 and first.number.spread is None and "n" not in first.row.numbers


def _few(arm: Arm) -> bool:
    """Return whether an arm is a mean whose runs the table does not show."""
    return len(arm.entries) == 1


def _differ(a: Arm, b: Arm) -> bool:
    """Return whether two sets of runs differ by a t-test at 5 %, paired over shared seeds if they can be."""
    first, second = ([e.value for e in arm.entries] for arm in (a, b))
    error = math.sqrt(sd(first) ** 2 / len(first) + sd(second) ** 2 / len(second))
    if abs(a.value - b.value) > t_quantile(len(first) + len(second) - 2) * error:
        return True
    seeds = {e.seed: e.value for e in a.entries}
    paired = [seeds[e.seed] - e.value for e in b.entries if e.seed in seeds]
    if len(paired) < 2:
        return False
    return abs(mean(paired)) > t_quantile(len(paired) - 1) * sd(paired) / math.sqrt(len(paired))
