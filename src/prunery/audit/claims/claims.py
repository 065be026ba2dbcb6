"""Claims of a text against the table: highest, beats, never, all, monotone, and quoted numbers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from prunery.audit.claims import judges, losses, quotes, significance
from prunery.audit.claims.hedges import hedged
from prunery.audit.claims.judges import JUDGES, Arm
from prunery.audit.claims.prose import Sentence, Vocabulary, names_of, nearest, sentences, vocabulary
from prunery.audit.findings import Finding, percent, several
from prunery.audit.table.sheet import Sheet, grouped
from prunery.errors import DataError

KINDS = (judges, losses, quotes, significance)  # importing a module enters its kinds of claims
_CLAIM = re.compile(
    r"highest|lowest|best|worst|never|always|\ball\b|every|consistent|monoton|beats?|outperform|better|worse|exceed"
    r"|surpass|superior|inferior|significan|faster|slower|wins?\b|robust|collaps|matches|state.of.the.art|\d\s*%",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Unchecked:
    """A sentence that claims something which no check understood."""

    line: int
    text: str


def check(sheet: Sheet, path: Path) -> tuple[list[Finding], list[Unchecked]]:
    """Return the wrong and unsupported claims of a text, and the claims that were not understood."""
    if not path.is_file():
        raise DataError(f"claims {path}", "there is no such file", "give the path of a text or Markdown file")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"claims {path}", "it is not text in UTF-8", "give a text or Markdown file"
        ) from error
    words, arms = vocabulary(sheet), list(_arms(sheet))
    findings: list[Finding] = []
    unchecked: list[Unchecked] = []
    for sentence in sentences(text, words):
        if sentence.text.rstrip("\"')* ").endswith("?"):
            continue
        verdicts = None
        if not sentence.unsure and not hedged(sentence.text):
            verdicts = _judged(sentence, _scoped(sentence, arms, words), words)
        if verdicts is None:
            unchecked += [Unchecked(sentence.line, sentence.text)] if _CLAIM.search(sentence.text) else []
            continue
        quoted = sentence.text if len(sentence.text) < 120 else sentence.text[:117] + "..."
        findings += [Finding("claims", (sentence.line,), "", f'"{quoted}"', v, "claims") for v in verdicts]
    return findings, unchecked


def _arms(sheet: Sheet) -> Iterator[Arm]:
    entries = [
        e
        for e in sheet.entries_of("accuracy")
        if e.metric.split in ("test", "") and (e.order is not None or e.dense)
    ]
    whole = {e.line for e in entries if not e.of_seeds}
    kept = [e for e in entries if not (e.of_seeds and e.line in whole)]
    for group in grouped(kept, lambda e: (e.arm, e.order)):
        yield Arm(tuple(group), () if group[0].dense and group[0].order == 0 else tuple(names_of(group[0])))


def _scoped(sentence: Sentence, arms: Iterable[Arm], words: Vocabulary) -> list[Arm]:
    """Return the arms at the data set, network, table, metric and sparsities that a sentence names."""
    k = 5 if re.search(r"top-?5", sentence.text, re.IGNORECASE) else 1
    levels = {nearest(s, words) for s in sentence.sparsities}
    highest = re.search(r"highest (sparsit|compress)", sentence.text, re.IGNORECASE) and not levels
    levels = {words.sparsities[-1]} if highest and words.sparsities else levels
    kept = []
    for arm in arms:
        first = arm.entries[0]
        here = (not sentence.data or (first.data and first.data.name in sentence.data)) and (
            not sentence.networks or first.network in sentence.networks
        )
        there = (not sentence.table or first.row.table == sentence.table) and (first.metric.k or 1) == k
        level = not levels or not arm.names or _reached(first.sparsity, levels, sentence.reach)
        kept += [arm] if here and there and level else []
    return kept


def _reached(sparsity: float | None, levels: set[float | None], reach: str) -> bool:
    """Return whether a sparsity is one of those named, or up to, from, beyond or between them."""
    named = [s for s in levels if s is not None]
    if sparsity is None or not named or not reach:
        return sparsity in levels
    low, high = min(named), max(named)
    return {
        "to": sparsity <= high,
        "on": sparsity >= low,
        "beyond": sparsity > low,
        "under": sparsity < high,
        "between": low <= sparsity <= high,
    }[reach]


def _judged(sentence: Sentence, arms: list[Arm], words: Vocabulary) -> list[str] | None:
    """Return what is wrong with a sentence (empty: nothing), or None if no check understood it."""
    missing = [s for s in sentence.sparsities if nearest(s, words) is None]
    try:
        verdicts = [v for name in JUDGES if (v := JUDGES[name].function(sentence, arms)) is not None]
    except judges.UnsureError:
        return None
    if not verdicts:
        return None
    if missing:
        return [f"unsupported: the table has nothing at sparsity {several(percent(s) for s in missing)}"]
    return [text for verdict in verdicts for text in verdict]
