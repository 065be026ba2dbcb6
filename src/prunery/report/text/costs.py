"""The table of costs: what it takes to reach one cell, with a column of seconds for each device."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from prunery.report.results.cell_records import UNKNOWN
from prunery.report.results.columns import COLUMNS, Column, shown
from prunery.report.results.groups import Group, arms
from prunery.report.text import formats
from prunery.report.text.texttable import ROLES, TextTable

Row = Mapping[str, Any]


def costs(groups: Sequence[Group], columns: Sequence[Column] = COLUMNS) -> TextTable:
    """Return what it takes to reach one cell from the initial weights, as a range over sparsities and seeds.

    Seconds of different devices, or of different numbers of threads, stand in columns of their own.
    """
    all_rows = [r.row for g in groups for r in g.runs]
    places = list(dict.fromkeys(map(_place, all_rows)))
    timed = [
        p for p in places if any(_place(row) == p and row.get("seconds") is not None for row in all_rows)
    ]
    counts = shown(columns, table="cost")
    header = ("method", *(c.head or c.label for c in counts), *_names(timed))
    rows = []
    for role in ROLES:
        for method in arms(groups, role):
            runs = [r.row for g in groups if (g.method, g.role) == (method, role) for r in g.runs]
            counted = [formats.ranged(v / c.scale for v in _values(runs, c.name)) for c in counts]
            seconds = [_seconds([r for r in runs if _place(r) == p]) for p in timed]
            rows.append((method, *counted, *seconds))
    return TextTable("Cost", header, tuple(rows), _caption(timed), (), fixed=len(header))


def _place(row: Row) -> str:
    """Return where a cell's seconds were spent; a path over several devices is a place of its own."""
    threads = int(row.get("threads") or 1)
    return f"{row.get('device') or UNKNOWN}, {threads} thread{'s' if threads > 1 else ''}"


def _names(places: Sequence[str]) -> list[str]:
    """Return names of the columns of seconds: several are numbered as the caption lists them."""
    return ["seconds"] if len(places) == 1 else [f"seconds ({i})" for i in range(1, len(places) + 1)]


def _caption(places: Sequence[str]) -> tuple[str, ...]:
    shared = "What one cell costs from its initial weights on, measuring aside; shared work counts in each."
    if not places:
        return (shared,)
    if len(places) == 1:
        return (shared, f"Seconds: {places[0]}.")
    listed = "; ".join(f"({i}) {place}" for i, place in enumerate(places, 1))
    return (shared, f"Seconds of different devices are not comparable and stand apart: {listed}.")


def _values(rows: Iterable[Row], name: str) -> list[float]:
    return [float(row[name]) for row in rows if row.get(name) is not None]


def _seconds(rows: Iterable[Row]) -> str:
    """Return the range of the rows' seconds, to three digits."""
    return formats.ranged(float(f"{value:.3g}") for value in _values(rows, "seconds"))
