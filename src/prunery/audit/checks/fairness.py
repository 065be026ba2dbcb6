"""Checks of comparisons: at the same sparsity, and after the same amount of training."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, combinations

from prunery.audit.checks.repeats import same_or_shorter
from prunery.audit.findings import CHECKS, Finding, finding, percent, several
from prunery.audit.table.numbers import parse
from prunery.audit.table.sheet import Entry, Sheet, grouped
from prunery.audit.table.words import plain

_CLOSE, _SAME = 0.05, 0.008  # sparsities that are compared as one; that are one
_GRIDS = 300  # so many grids are compared with each other
_FEW = 8  # a comparison has so many sparsities at most; more are a curve
_EQUAL = 1.1  # budgets within this ratio are equal
_LONG = 300  # characters; what is longer is no schedule
_EPOCHS = re.compile(r"(?P<count>\d+(?:\s*[+x×*]\s*\d+)*)\s*(?:epochs?|ep)\b(?P<rest>.*)", re.IGNORECASE)
_EACH = re.compile(
    r"\b(a|per|each|every)\s+(round|step|cut|iteration|level|cycle)\b|/\s*(round|step|cut)", re.I
)
_OF_REMAINING = re.compile(r"(\d+(?:\.\d+)?)\s*%\s*of\s*(?:what\s+)?remain")
_ROUNDS = re.compile(r"(\d+)\s*(?:rounds?|cuts?|cycles?|iterations?)|(?:rounds|cuts)\s*=\s*(\d+)")


@CHECKS.add(says="methods compared at sparsities that differ: 52.17 % beside 50 %")
def unmatched_sparsities(sheet: Sheet) -> Iterator[Finding]:
    """Within a table, and where a table repeats at a round sparsity what another one has at its own."""
    compared = [e for e in sheet.entries_of("accuracy") if not e.dense and e.sparsity is not None]
    for group in grouped(compared, lambda e: (*e.place, e.seed)):
        yield from _side_by_side(list(grouped(group, lambda e: (e.method, _schedule(e)))))
    for group in grouped(compared, lambda e: (e.row.report, *e.place[2:], e.method)):
        yield from _relabelled(group)


def _schedule(entry: Entry) -> str:
    return " ".join(
        t for c, t in sorted(entry.labels.items()) if plain(c) in ("schedule", "recovery", "scope")
    )


Arms = Sequence[Sequence[Entry]]


def _side_by_side(arms: Arms) -> Iterator[Finding]:
    """Yield one finding for each two of the `_GRIDS` most usual grids of sparsities, with all their arms."""
    grids = [tuple(sorted({e.sparsity or 0.0 for e in arm})) for arm in arms]
    usual = [g for g, _ in Counter(g for g in grids if 1 < len(g) <= _FEW).most_common(_GRIDS)]
    on = {grid: [arm for arm, g in zip(arms, grids, strict=True) if g == grid] for grid in usual}
    first = {grid: grids.index(grid) for grid in usual}
    for a, b in combinations(sorted(usual, key=lambda g: first[g]), 2):
        if len(a) == len(b) and abs(a[0] - b[0]) <= _CLOSE and _unmatched(a, b):
            yield _beside(on[a], on[b], a, b)


def _unmatched(ours: Sequence[float], theirs: Sequence[float]) -> bool:
    """Return whether two grids of one length agree nowhere and are close everywhere."""
    gaps = [abs(a - b) for a, b in zip(ours, theirs, strict=True)]
    return all(gap <= _CLOSE for gap in gaps) and sum(gap > _SAME for gap in gaps) > len(gaps) / 2


def _beside(first: Arms, second: Arms, ours: Sequence[float], theirs: Sequence[float]) -> Finding:
    a, b = (" / ".join(percent(s) for s in grid) for grid in (ours, theirs))
    named = [several(_arm(arm[0]) for arm in arms) for arms in (first, second)]
    message = f"{named[0]} at {a} is compared with {named[1]} at {b}"
    return finding("unmatched_sparsities", [e for arm in (*first, *second) for e in arm], message)


def _arm(entry: Entry) -> str:
    texts = [t for c, t in entry.labels.items() if plain(c) == "schedule" and t]
    return " ".join([entry.method, *texts]).strip() or f"line {entry.line}"


def _relabelled(group: Sequence[Entry]) -> Iterator[Finding]:
    """Values that a summary table states at another sparsity than the table that they come from."""
    tables = {t[0].row.table: t for t in grouped(group, lambda e: e.row.table)}
    for name, summary in tables.items():
        pairs = [
            (e, other) for e in summary for other in _origin(e, [t for n, t in tables.items() if n != name])
        ]
        for entry, other in pairs if len(pairs) >= 2 else []:
            there = f"table {other.row.table} has it at {percent(other.sparsity or 0)} (line {other.line})"
            message = f"{entry.printed} is stated at {percent(entry.sparsity or 0)}, but {there}: "
            message += "compared at unmatched sparsities"
            yield finding("unmatched_sparsities", [entry], message)


def _origin(entry: Entry, others: Sequence[Sequence[Entry]]) -> list[Entry]:
    """Return the last point of another table's curve that has the entry's value at a sparsity close by."""
    sparsity = entry.sparsity or 0.0
    for table in others:
        arm = [e for e in table if same_or_shorter(_schedule(e), _schedule(entry)) or _less(entry, e)]
        if not arm or any(e.sparsity == sparsity for e in arm):
            continue
        last = max(arm, key=lambda e: e.sparsity or 0.0)
        if last.printed == entry.printed and 1e-9 < abs((last.sparsity or 0.0) - sparsity) <= _CLOSE:
            return [last]
    return []


def _less(entry: Entry, other: Entry) -> bool:
    return all(same_or_shorter(t, other.labels.get(c, "")) for c, t in entry.labels.items())


@dataclass(frozen=True)
class Budget:
    """Epochs of training, as a number and as text."""

    epochs: float
    text: str


@CHECKS.add(says="methods compared after different amounts of training")
def unequal_budgets(sheet: Sheet) -> Iterator[Finding]:
    """One finding for each table and network, at the sparsity where the budgets differ most."""
    scored = [e for e in sheet.entries_of("accuracy") if not e.dense and e.order is not None]
    compared = [e for e in scored if e.metric.split != "train"]
    for group in grouped(compared, lambda e: (e.row.report, e.row.table, e.data_name, e.model)):
        lines: list[Entry] = []
        worst: tuple[float, list[tuple[Entry, Budget]]] = (_EQUAL, [])
        for level in grouped(group, lambda e: e.order):
            budgets = [(e, b) for e in level if (b := budget(sheet, e)) and b.epochs > 0]
            if _stopped_early(budgets) or sheet.log:
                continue
            arms = {(e.method, _schedule(e)): (e, b) for e, b in budgets}
            ranked = sorted(arms.values(), key=lambda pair: pair[1].epochs)
            ratio = ranked[-1][1].epochs / ranked[0][1].epochs if ranked else 1.0
            lines += [e for e, _ in budgets] if ratio > _EQUAL else []
            worst = max(worst, (ratio, ranked), key=lambda pair: pair[0])
        if worst[1]:
            listed = several(f"{_arm(e)} {b.text}" for e, b in worst[1])
            at = percent(worst[1][0][0].sparsity or 0.0)
            message = f"compared after unequal training: at {at}, {listed} (ratio {worst[0]:.3g})"
            yield finding("unequal_budgets", lines, message)


def _stopped_early(budgets: Sequence[tuple[Entry, Budget]]) -> bool:
    """Return whether the seeds of one arm trained for different times: each stopped by itself."""
    arms = list(grouped(budgets, lambda pair: (pair[0].arm, _schedule(pair[0]))))
    varied = [a for a in arms if len({b.epochs for e, b in a if e.seed is not None}) > 1]
    return 2 * len(varied) > len(arms)


def budget(sheet: Sheet, entry: Entry) -> Budget | None:
    """Return the epochs spent on an entry, from columns or from words like `finetune 90 epochs a round`."""
    columns = {
        plain(c): n.value for c, t in entry.row.budget.items() if (n := parse(t)) and "epoch" in plain(c)
    }
    if columns:
        total = next((columns[c] for c in ("epochs", "total_epochs") if c in columns), sum(columns.values()))
        return Budget(total, f"{total:g} epochs")
    match = next((m for t in entry.labels.values() if len(t) < _LONG and (m := _EPOCHS.search(t))), None)
    if match is None:
        return None
    each = _count(match["count"])
    if not _EACH.search(match["rest"]):
        return Budget(each, f"{match['count']} epochs")
    rounds = _rounds(sheet, entry)
    return Budget(each * rounds, f"{rounds} x {each:g} = {each * rounds:g} epochs") if rounds else None


def _count(text: str) -> float:
    parts = re.split(r"\s*\+\s*", text)
    return float(sum(math.prod(float(n) for n in re.split(r"\s*[x×*]\s*", part)) for part in parts))


def _rounds(sheet: Sheet, entry: Entry) -> int | None:
    """Return the number of cuts until the sparsity, from a column, the labels, or longer labels nearby."""
    columns = [
        n.value for c, t in entry.row.budget.items() if sheet.roles.get(c) == "rounds" and (n := parse(t))
    ]
    if columns:
        return int(columns[0])
    fuller = (e for e in sheet.by_method.get((entry.row.report, entry.method), ()) if _less(entry, e))
    for text in (t for e in chain([entry], fuller) for t in e.labels.values()):
        share = _OF_REMAINING.search(text)
        if share and 0 < float(share[1]) < 100 and entry.sparsity is not None and entry.sparsity < 1:
            return math.ceil(
                round(math.log(1 - entry.sparsity) / math.log(1 - float(share[1]) / 100), 2) - 0.02
            )
        if match := _ROUNDS.search(text):
            return int(match[1] or match[2])
    return None
