"""Checks of numbers that bound or complete each other within a row."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import product

from prunery.audit.checks.derived import Case, exceptions
from prunery.audit.findings import CHECKS, Finding
from prunery.audit.table.numbers import Number, agree
from prunery.audit.table.sheet import Row, Sheet
from prunery.audit.table.words import plain

_END = re.compile(r"(^|_)(min|max)(_|$)")


@CHECKS.add(says="a mean outside of its own lowest and highest value")
def outside_bounds(sheet: Sheet) -> Iterator[Finding]:
    """`acc_mean` between `acc_min` and `acc_max`, where most rows keep it."""
    bounds = {c: _of_what(c) for c in sheet.columns if _END.search(plain(c))}
    for column in sheet.columns_of("measured"):
        ends = [c for c, what in bounds.items() if what == _of_what(column) and column not in bounds]
        low = [c for c in ends if re.search(r"(^|_)min(_|$)", plain(c))]
        high = [c for c in ends if re.search(r"(^|_)max(_|$)", plain(c))]
        if len(low) == len(high) == 1:
            rows = [r for r in sheet.rows if {column, low[0], high[0]} <= set(r.numbers)]
            cases = [_inside(r, *(r.numbers[c] for c in (low[0], column, high[0]))) for r in rows]
            yield from exceptions("outside_bounds", [column, low[0], high[0]], cases)


def _of_what(column: str) -> str:
    words = plain(column).split("_")
    return "_".join(w for w in words if w not in ("min", "max", "mean", "avg", "average", "value"))


def _inside(row: Row, low: Number, middle: Number, high: Number) -> Case:
    slack = (low.step + middle.step + high.step) / 2
    ok = low.value - slack <= middle.value <= high.value + slack
    return Case(row, ok, True, f"{middle.text} is outside of its own {low.text} to {high.text}")


@CHECKS.add(says="an accuracy and an error rate of one row that do not add up to 100 %")
def complements(sheet: Sheet) -> Iterator[Finding]:
    """Where a table prints both, of the same images, most rows keep it."""
    cases_of: dict[tuple[str, str], list[Case]] = {}
    for row in sheet.by_line.values():
        mine = [e for e in row if e.kind == "accuracy" and not e.of_seeds]
        errors = [e for e in mine if e.metric.error]
        for a, b in product(mine if errors else (), errors):
            if a.metric.error or (a.metric.k, a.arm[:5]) != (b.metric.k, b.arm[:5]):
                continue
            ok = agree(a.value, b.value, (a.number.step + b.number.step) / 2)
            together = a.value + 100 - b.value
            message = f"accuracy {a.printed} and error {b.printed} are {together:.6g} % together"
            cases_of.setdefault((a.column, b.column), []).append(Case(a.row, ok, True, message))
    for columns, cases in cases_of.items():
        yield from exceptions("complements", columns, cases)
