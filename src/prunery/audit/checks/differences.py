"""Checks of differences: columns named delta, drop, gain against the columns that they may be of."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import islice

from prunery.audit.checks.derived import Case, exceptions
from prunery.audit.findings import CHECKS, Finding
from prunery.audit.table.numbers import Number, agree
from prunery.audit.table.sheet import Entry, Row, Sheet
from prunery.audit.table.words import plain

_PRUNED = ("pruned", "after", "sparse", "final")
_FIRST, _PAIRS = 12, 20  # rows that must fit once; pairs of columns that are tried on all rows
DenseNumber = Callable[[Row, str], Number | None]


@CHECKS.add(says="a difference that its columns, or its own dense network, do not give")
def differences(sheet: Sheet) -> Iterator[Finding]:
    """Columns named delta, drop, gain, to_...: against every pair of columns, whichever most rows fit."""
    numeric = [c for c in sheet.columns if any(c in r.numbers for r in sheet.rows)]
    known = ("measured", "open", "unread", "label")
    sources = [c for c in numeric if sheet.roles[c] in known or plain(c) in _PRUNED]
    dense_number = _dense_numbers(sheet)
    for column in sheet.columns_of("delta"):
        rows = [r for r in sheet.rows if column in r.numbers]
        made = [(a, b, _given(rows, a, b, dense_number)) for a, b in _promising(rows, column, sources)]
        to_dense = sheet.columns_of("measured") if not _to_another(column) else []
        made += [(a, "dense", given) for a in to_dense if (given := _given(rows, a, "dense", dense_number))]
        made += [("dense", a, [(r, y, x) for r, x, y in given]) for a, b, given in made if b == "dense"]
        ranked = [(sum(_fits(r.numbers[column], x, y) for r, x, y in given), a, b) for a, b, given in made]
        if ranked:
            best = max(range(len(ranked)), key=lambda i: ranked[i][0])
            _, a, b = ranked[best]
            cases = [_case(r, r.numbers[column], x, y) for r, x, y in made[best][2]]
            yield from exceptions("differences", [column, a, b], cases, most=0.5)


def _to_another(column: str) -> bool:
    """Return whether a column's name says that something else than the dense network is subtracted."""
    match = re.search(r"(?:^|_)(?:to|vs)_(\w+)$", plain(column))
    return match is not None and match[1] not in ("dense", "baseline", "base", "original")


def _given(
    rows: Sequence[Row], a: str, b: str, dense_number: DenseNumber
) -> list[tuple[Row, Number, Number]]:
    """Return the two numbers of each row that has both."""
    pairs = ((r, r.numbers.get(a), dense_number(r, a) if b == "dense" else r.numbers.get(b)) for r in rows)
    return [(r, x, y) for r, x, y in pairs if x is not None and y is not None]


def _promising(rows: Sequence[Row], column: str, sources: Sequence[str]) -> list[tuple[str, str]]:
    """Return the pairs that give the difference in most of the first rows: most pairs never do."""
    fits: Counter[tuple[int, int]] = Counter()
    for row in rows[:_FIRST]:
        here = sorted((row.numbers[c].value, i) for i, c in enumerate(sources) if c in row.numbers)
        values, stated = [value for value, _ in here], row.numbers[column]
        widest = max((row.numbers[sources[i]].step for _, i in here), default=0.0)
        for value, i in here:
            wanted, a = value - stated.value, row.numbers[sources[i]]
            slack = (stated.step + a.step + widest) / 2 * 1.001 + 1e-6 * max(1.0, abs(wanted))
            for other, j in islice(here, bisect_left(values, wanted - slack), None):
                if other > wanted + slack:
                    break
                if i != j and _fits(stated, a, row.numbers[sources[j]]):
                    fits[i, j] += 1
    best = sorted(fits, key=lambda pair: (-fits[pair], pair))[:_PAIRS]
    return [(sources[i], sources[j]) for i, j in sorted(best)]


def _fits(stated: Number, a: Number, b: Number) -> bool:
    """Return whether a difference is right where it could have been wrong."""
    return stated.value != 0 and agree(a.value - b.value, stated.value, (stated.step + a.step + b.step) / 2)


def _case(row: Row, stated: Number, a: Number, b: Number) -> Case:
    computed = a.value - b.value
    ok = agree(computed, stated.value, (stated.step + a.step + b.step) / 2)
    message = f"{stated.text} is stated, {a.text} - {b.text} is {round(computed, 10):+.6g}"
    return Case(row, ok, stated.value != 0, message)


def _dense_numbers(sheet: Sheet) -> DenseNumber:
    """Return a function that gives the dense network's number for a row and column; it caches look-ups."""
    entries = {(id(e.row), e.column): e for e in sheet.entries}
    known: dict[tuple[int, str], Number | None] = {}

    def dense_number(row: Row, column: str) -> Number | None:
        key = (id(row), column)
        if key not in known:
            entry = entries.get(key)
            known[key] = _dense_number(sheet, entry) if entry else None
        return known[key]

    return dense_number


def _dense_number(sheet: Sheet, entry: Entry) -> Number | None:
    """Return the dense network's number for the seed of an entry: the first arm called dense."""
    dense = [d for d in sheet.references.dense_of(entry) if d.place == entry.place]
    paired = [e for e in dense if e.row.cells.get("n") == entry.row.cells.get("n")]  # over as many runs
    named = [e for e in paired if e.seed == entry.seed and e.method in ("dense", "none", "baseline")]
    named = named or paired
    return named[0].row.numbers[named[0].column] if named else None
