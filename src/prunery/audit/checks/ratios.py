"""Checks of columns that follow from others across a row: speed-ups, reductions, averages."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence

from prunery.audit.checks.derived import Case, exceptions
from prunery.audit.findings import CHECKS, Finding
from prunery.audit.table.numbers import Number, agree
from prunery.audit.table.roles import SIZE, costs_of
from prunery.audit.table.sheet import Entry, Row, Sheet
from prunery.audit.table.words import plain

_AVERAGE = re.compile(r"average|avg|mean|avg_acc|mean_acc|average_acc(uracy)?|mean_accuracy")


@CHECKS.add(says="a speed-up, a reduction or a compression that the costs of its row do not give")
def ratios(sheet: Sheet) -> Iterator[Finding]:
    """Dense over own cost, or the share that was saved, where most rows keep it."""
    for column in sheet.columns_of("derived"):
        name = plain(column)
        for kind in costs_of(column):
            costs = [e for e in sheet.entries_of(kind) if not e.metric.variant]
            for measured in dict.fromkeys(e.column for e in costs):
                entries = [e for e in costs if e.column == measured and column in e.row.numbers]
                cases = [case for e in entries if (case := _ratio(sheet, e, e.row.numbers[column], name))]
                yield from exceptions("ratios", [column, measured], cases)


def _ratio(sheet: Sheet, entry: Entry, stated: Number, name: str) -> Case | None:
    dense = [d for d in sheet.references.dense_of(entry) if d.column == entry.column and d.value > 0]
    if not dense or entry.value <= 0:
        return None
    times = dense[0].value / entry.value
    share = re.search(r"reduc|sav|(^|_)(red|decreased?)(_|$)", name) is not None
    computed = times if stated.unit == "x" or not share else 1 - 1 / times
    computed *= 100 if computed < 1 and (stated.unit == "%" or re.search("percent|pct", name)) else 1
    rounding = entry.number.step / entry.value * max(times, abs(computed))
    ok = agree(computed, stated.value, stated.step + rounding)  # some cut digits off
    message = f"{stated.text} is stated, {entry.printed} against {dense[0].printed} gives {computed:.4g}"
    return Case(entry.row, ok, not entry.dense, message)


@CHECKS.add(says="a compression ratio that the sizes of its table do not give")
def sizes(sheet: Sheet) -> Iterator[Finding]:
    """The size in the one row whose ratio is 1 over the size of each row, where most rows keep it."""
    named = [c for c in sheet.columns if SIZE.search(plain(c))]
    for column in sheet.columns_of("ratio", "compression"):
        whole = [r for r in sheet.rows if column in r.numbers and r.numbers[column].value == 1]
        for size in named if len(whole) == 1 else ():
            rows = [r for r in sheet.rows if {column, size} <= set(r.numbers) and r.numbers[size].value > 0]
            if size in whole[0].numbers:
                cases = [_size(r, whole[0].numbers[size], r.numbers[size], r.numbers[column]) for r in rows]
                yield from exceptions("sizes", [column, size], cases)


def _size(row: Row, whole: Number, size: Number, stated: Number) -> Case:
    computed = whole.value / size.value
    slack = stated.step + computed * (size.step / size.value + whole.step / max(whole.value, 1e-9))
    message = f"{stated.text} is stated, {whole.text} over {size.text} is {computed:.4g}"
    return Case(row, agree(computed, stated.value, slack), whole is not size, message)


@CHECKS.add(says="an average that the columns before it do not give")
def averages(sheet: Sheet) -> Iterator[Finding]:
    """A column called average after columns of one kind, in most rows their mean."""
    if any(e.of_seeds for e in sheet.entries):
        return
    for column in (c for c in sheet.columns if _AVERAGE.fullmatch(plain(c))):
        every = _before(sheet, column)
        rows = [r for r in sheet.rows if column in r.numbers and all(p in r.numbers for p in every)]
        tried = [[_mean(row, row.numbers[column], every[i:]) for row in rows] for i in range(len(every) - 1)]
        best = max(tried, key=lambda cases: sum(c.ok for c in cases), default=[])
        yield from exceptions("averages", [column], best)


def _before(sheet: Sheet, column: str) -> list[str]:
    """Return the columns of numbers that stand side by side left of an average."""
    parts: list[str] = []
    for name in reversed(sheet.columns[: sheet.columns.index(column)]):
        numbers = sum(name in row.numbers for row in sheet.rows)
        if sheet.roles[name] not in ("measured", "unread", "open", "label") or 2 * numbers <= len(sheet.rows):
            break
        parts.append(name)
    return parts[::-1]


def _mean(row: Row, stated: Number, parts: Sequence[str]) -> Case:
    numbers = [row.numbers[p] for p in parts]
    computed = math.fsum(n.value for n in numbers) / len(numbers)
    ok = agree(computed, stated.value, stated.step / 2 + max(n.step for n in numbers) / 2)
    message = f"{stated.text} is stated, the mean of the {len(parts)} columns before is {computed:.5g}"
    return Case(row, ok, True, message)
