"""Points of figures: one for each pruned group, with what a reader sees when pointing at it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from prunery.report.results.groups import BROKEN, Group
from prunery.report.text import formats


def point(group: Group, label: str) -> dict[str, Any] | None:
    """Return a group as a row: sparsity, mean, ends of its interval, and words.

    Where runs collapsed or diverged the row has no value, which interrupts its line; None without any run.
    """
    if any(group.having(status) for status in BROKEN):
        return {"series": label, "s": group.sparsity, "y": None}
    if group.summary is None:
        return None
    summary = group.summary
    row = {"series": label, "s": group.sparsity, "y": rounded(summary.mean), **_about(group)}
    if summary.half is not None:
        row |= {"low": rounded(summary.low), "high": rounded(summary.high)}
    return row


def broken(group: Group, label: str) -> list[dict[str, Any]]:
    """Return a row for each run that collapsed or diverged."""
    return [
        {"series": label, "s": group.sparsity, "y": rounded(run.value), **_about(group), "end": status}
        for status in BROKEN
        for run in group.having(status)
        if run.value is not None
    ]


def rounded(value: float | None, digits: int = 6) -> float | None:
    """Return a number with so many significant digits."""
    return None if value is None else float(f"{value:.{digits}g}")


def rows_of(
    groups: Mapping[tuple[str, float], Group], labels: Mapping[str, str], made: Callable[[Group, str], Any]
) -> list[Any]:
    """Return what `made` gives for each group of the labelled methods, in order, without what is nothing."""
    rows = [(made(g, labels[method])) for (method, _), g in groups.items() if method in labels]
    return [row for row in rows if row]


def _about(group: Group) -> dict[str, str]:
    return {
        "method": group.method,
        "at": formats.percent(group.sparsity),
        "accuracy": f"{formats.values(group)} %",
        "seeds": ", ".join(str(run.seed) for run in group.runs),
    }
