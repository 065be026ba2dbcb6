"""The table of costs: what it takes to reach one cell, with a column of seconds for each device."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from prunery.report.results.facts import UNKNOWN
from prunery.report.results.groups import Group, arms
from prunery.report.text import formats
from prunery.report.text.texttable import ROLES, TextTable

Row = Mapping[str, Any]

_COLUMNS: dict[str, tuple[str, Callable[[float], float]]] = {
    "epochs_before": ("epochs before", float),
    "epochs_after": ("after", float),
    "samples": ("M samples", lambda v: v / 1e6),
    "training_macs": ("training GMACs", lambda v: v / 1e9),
    "scoring_macs": ("scoring GMACs", lambda v: v / 1e9),
}


def costs(groups: Sequence[Group]) -> TextTable:
    """What it takes to reach one cell from the initial weights, as a range over sparsities and seeds.

    Seconds of different devices, or of different numbers of threads, stand in columns of their own.
    """
    all_rows = [r.row for g in groups for r in g.runs]
    places = list(dict.fromkeys(map(_place, all_rows)))
    timed = [
        p for p in places if any(_place(row) == p and row.get("seconds") is not None for row in all_rows)
    ]
    header = ("method", *(name for name, _ in _COLUMNS.values()), *_names(timed))
    rows = []
    for role in ROLES:
        for method in arms(groups, role):
            runs = [r.row for g in groups if (g.method, g.role) == (method, role) for r in g.runs]
            counted = [_range(runs, column, scale) for column, (_, scale) in _COLUMNS.items()]
            seconds = [_range((r for r in runs if _place(r) == p), "seconds", _three) for p in timed]
            rows.append((method, *counted, *seconds))
    return TextTable("Cost", header, tuple(rows), _caption(timed), (), fixed=len(header))


def _place(row: Row) -> str:
    """Where a cell's seconds were spent; a path over several devices is a place of its own."""
    threads = int(row.get("threads") or 1)
    return f"{row.get('device') or UNKNOWN}, {threads} thread{'s' if threads > 1 else ''}"


def _names(places: Sequence[str]) -> list[str]:
    """Names of the columns of seconds: several are numbered as the caption lists them."""
    return ["seconds"] if len(places) == 1 else [f"seconds ({i})" for i in range(1, len(places) + 1)]


def _caption(places: Sequence[str]) -> tuple[str, ...]:
    shared = "What one cell costs from its initial weights on, measuring aside; shared work counts in each."
    if not places:
        return (shared,)
    if len(places) == 1:
        return (shared, f"Seconds: {places[0]}.")
    listed = "; ".join(f"({i}) {place}" for i, place in enumerate(places, 1))
    return (shared, f"Seconds of different devices are not comparable and stand apart: {listed}.")


def _range(rows: Iterable[Row], column: str, scale: Callable[[float], float]) -> str:
    return formats.ranged(scale(float(row[column])) for row in rows if row.get(column) is not None)


def _three(value: float) -> float:
    return float(f"{value:.3g}")
