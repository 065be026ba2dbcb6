"""Checks of totals: total rows and columns against their parts, and layer tables against stated totals."""

from __future__ import annotations

import math
import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence

from prunery.audit.checks.derived import Case, exceptions
from prunery.audit.findings import CHECKS, Finding, finding, in_row
from prunery.audit.table.numbers import Number, agree, mended
from prunery.audit.table.sheet import Entry, Row, Sheet, grouped
from prunery.audit.table.words import plain

_SUMMED = ("macs", "params", "time", "other")
_MEAN = re.compile(r"mean|average|avg", re.IGNORECASE)
_TOTAL = re.compile(r"(^|_)(total|sum|overall)(_|$)")
_CLOSE = 0.3  # a total row off by more, in every column, is no sum of the rows above it


@CHECKS.add(says="a row of totals or means that its rows do not add up to")
def total_rows(sheet: Sheet) -> Iterator[Finding]:
    """Sums of costs and means of accuracies over the rows before, back to the total before."""
    kinds = dict.fromkeys(sheet.columns_of("kept", "total"), "params")
    kinds |= {e.column: e.kind for e in sheet.entries}
    start = 0
    for row in sheet.totals:
        parts = [r for r in sheet.rows if start < r.line < row.line]
        start = row.line
        mean = any(_MEAN.fullmatch(text) for text in (*row.labels.values(), row.seed or ""))
        columns = [c for c, kind in kinds.items() if c in row.numbers and (mean or kind in _SUMMED)]
        checked = [(c, _gap(row, parts, c, mean)) for c in columns if len(parts) > 1]
        plausible = any(ok for _, (ok, _, relative) in checked) or all(r < _CLOSE for _, (_, _, r) in checked)
        for column, (ok, total, _) in checked if plausible else []:
            if not ok:
                what = "mean" if mean else "sum"
                message = (
                    f"{row.numbers[column].text} is stated, the {what} of the rows above is {total:.10g}"
                )
                yield in_row("total_rows", row, [column], message)


def _gap(row: Row, parts: Sequence[Row], column: str, mean: bool) -> tuple[bool, float, float]:
    """(whether it agrees, what the parts give, relative difference)."""
    numbers = [part.numbers[column] for part in parts if column in part.numbers]
    stated = row.numbers[column]
    total = math.fsum(n.value for n in numbers) / (len(numbers) or 1 if mean else 1)
    slack = (
        (stated.step + max((n.step for n in numbers), default=0.0)) / 2
        if mean
        else _rounding(stated, *numbers)
    )
    return agree(total, stated.value, slack), total, abs(total - stated.value) / max(abs(total), 1e-12)


@CHECKS.add(says="a total column that is not the sum of its parts")
def total_columns(sheet: Sheet) -> Iterator[Finding]:
    """`epochs` beside `epochs_before` and `epochs_after`; `total` beside the columns of one kind."""
    numeric = [c for c in sheet.columns if sum(c in r.numbers for r in sheet.rows) >= 0.5 * len(sheet.rows)]
    sorted_ = sorted((f"{plain(c)}_", place) for place, c in enumerate(numeric))
    for total in numeric:
        parts = _parts(total, numeric, sorted_, sheet)
        if len(parts) < 2:
            continue
        cases = []
        for row in (r for r in sheet.rows if total in r.numbers and all(p in r.numbers for p in parts)):
            numbers = [row.numbers[p] for p in parts]
            summed, stated = math.fsum(n.value for n in numbers), row.numbers[total]
            ok = agree(summed, stated.value, _rounding(stated, *numbers))
            terms = " + ".join(n.text for n in numbers)
            telling = sum(n.value != 0 for n in numbers) > 1
            cases.append(Case(row, ok, telling, f"{stated.text} is stated, {terms} is {summed:.10g}"))
        yield from exceptions("total_columns", [total, *parts], cases)


def _rounding(*numbers: Number) -> float:
    """Return how much rounding may move a sum; whole numbers are counts, which are not rounded."""
    return 0.0 if all(n.step == 1 for n in numbers) else sum(n.step for n in numbers) / 2


def _parts(total: str, numeric: Sequence[str], by_name: Sequence[tuple[str, int]], sheet: Sheet) -> list[str]:
    """Return the columns that a total adds up; by_name: their plain names, sorted, with their places."""
    name = plain(total)
    first, last = (bisect_left(by_name, (f"{name}_{end}", -1)) for end in ("", chr(0x10FFFF)))
    below = [numeric[p] for p in sorted(p for text, p in by_name[first:last] if text != f"{name}_")]
    if below or not _TOTAL.search(name):
        return below
    stem = _TOTAL.sub("_", name).strip("_")
    if stem:
        return [c for c in numeric if c != total and stem in plain(c) and not _TOTAL.search(plain(c))]
    return [c for c in numeric if c != total and sheet.roles[c] == "measured"]


@CHECKS.add(
    says="stated totals, or fractions of totals, that the layers of the same network do not add up to"
)
def layers_against_totals(sheet: Sheet) -> Iterator[Finding]:
    """Layer by layer sums of a report against the total that another of its tables states."""
    layers = [e for e in sheet.entries_of("macs", "params") if e.layer]
    sums = {_whole(g[0]): (math.fsum(e.value for e in g), g) for g in grouped(layers, _whole)}
    dense = {_network(g[0]): total for total, g in sums.values() if g[0].dense}
    for entry in sheet.entries_of("macs", "params", "macs_fraction"):
        kind = "macs" if entry.kind == "macs_fraction" else entry.kind
        key = (*_network(entry)[:-1], kind, entry.method, entry.sparsity)
        if entry.layer or key not in sums:
            continue
        total, parts = sums[key]
        unit = dense.get((*_network(entry)[:-1], kind), 0.0) if entry.kind == "macs_fraction" else 1.0
        if unit and not agree(total / unit, entry.value, entry.number.step / 2 + 0.005 * total / unit):
            lines = f"lines {min(e.line for e in parts)}-{max(e.line for e in parts)}"
            computed = f"{total / unit:.4f}" if entry.kind == "macs_fraction" else f"{total:.10g}"
            message = f"{entry.printed} is stated, its {len(parts)} layers ({lines}) give {computed}"
            nearest = mended(entry.printed, total / unit / (entry.metric.factor or 1), 0.002 * total / unit)
            message += f"; {nearest} is one digit away" if nearest else ""
            yield finding("layers_against_totals", [entry], message)


def _network(entry: Entry) -> tuple[object, ...]:
    return (entry.row.report, entry.data_name, entry.model, entry.kind)


def _whole(entry: Entry) -> tuple[object, ...]:
    return (*_network(entry), entry.method, entry.sparsity)
