"""Checks of standard deviations by themselves: below zero, or of a single run."""

from __future__ import annotations

import re
from collections.abc import Iterator

from prunery.audit.findings import CHECKS, Finding, in_row
from prunery.audit.table.numbers import Number, parse
from prunery.audit.table.sheet import Row, Sheet
from prunery.audit.table.words import plain

_RUNS = re.compile(r"n|(n_|num_)?(runs|seeds|trials|repeats)")


@CHECKS.add(says="a standard deviation below zero, or of a single run")
def impossible_spread(sheet: Sheet) -> Iterator[Finding]:
    """An SD is at least 0, and one run has none."""
    runs = [c for c in sheet.columns if _RUNS.fullmatch(plain(c)) and sheet.roles[c] in ("count", "seed")]
    for row in sheet.rows:
        count = next((row.numbers[c].value for c in runs if c in row.numbers), None)
        for column, spread in _spreads(sheet, row):
            if spread.value < 0:
                yield in_row("impossible_spread", row, [column], f"{spread.text} is below 0, no spread is")
            elif spread.value > 0 and count == 1:
                message = f"{spread.text} is stated as the spread of n = 1: a single run has none"
                yield in_row("impossible_spread", row, [column], message)


def _spreads(sheet: Sheet, row: Row) -> Iterator[tuple[str, Number]]:
    """Columns of standard deviations, and what stands behind ± in a cell."""
    for column, number in row.numbers.items():
        deviation = re.search(r"(^|_)(sd|std|stdev|stddev|sem)(_|$)", plain(column))
        if deviation and sheet.roles[column] == "spread":
            yield column, number
        elif (spread := behind(number)) is not None:
            yield column, spread


def behind(number: Number) -> Number | None:
    """Return the spread that a cell prints behind ±, with its rounding; brackets may hold anything."""
    parts = re.split(r"±|\+/-|\+-|\\pm", number.text)
    return parse(parts[1].strip(" )%$")) if len(parts) == 2 and number.spread is not None else None
