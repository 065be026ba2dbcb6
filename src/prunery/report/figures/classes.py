"""Accuracy of several studies: against their number of classes, or side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from prunery.report.figures.chart import GREY, Figure, coloured, colours, data
from prunery.report.figures.points import rounded
from prunery.report.results.groups import Group

Points = Mapping[str, Sequence[tuple[float | str, Group | None]]]


def against_classes(lines: Points, chance: Mapping[float, float]) -> Figure:
    """Return accuracy against the number of classes, a line a method, and what guessing gives."""
    legend = colours(lines)
    about = "Means over seeds with 95 % intervals. Grey, broken: what guessing gives."
    draw = partial(_lines, _rows(lines), chance, legend)
    return Figure("classes", "Accuracy against the number of classes", about, (draw,), legend, False, 330)


def side_by_side(lines: Points) -> Figure:
    """Return the accuracy of each method in each study, one row a study."""
    legend = colours(lines)
    about = "Means over seeds with 95 % intervals, at one sparsity of each study."
    draw = partial(_dots, _rows(lines), legend)
    studies = {str(at) for points in lines.values() for at, _ in points}
    return Figure("studies", "Accuracy in each study", about, (draw,), legend, False, 44 * len(studies) + 40)


def _rows(lines: Points) -> list[dict[str, Any]]:
    rows = []
    for label, points in lines.items():
        for at, group in points:
            if group is not None and group.sound and group.summary is not None:
                ends = {"low": rounded(group.summary.low), "high": rounded(group.summary.high)}
                rows.append({"series": label, "at": at, "y": rounded(group.summary.mean), **ends})
    return rows


def _lines(
    rows: Sequence[Mapping[str, Any]], chance: Mapping[float, float], legend: Mapping[str, str], show: bool
) -> Any:
    import altair as alt

    ticks = alt.Axis(values=sorted(chance), format="d")
    x = alt.X("at:Q", title="classes", scale=alt.Scale(type="log", nice=False, padding=14), axis=ticks)
    y = alt.Y("y:Q", title="top-1 accuracy, %", scale=alt.Scale(zero=True))
    base, colour = alt.Chart(data(rows)), coloured(legend, show)
    tips = [alt.Tooltip(f"{name}:N") for name in ("series", "at", "y")]
    line = base.mark_line(point={"size": 42, "filled": True}).encode(x=x, y=y, color=colour, tooltip=tips)
    bars = base.mark_rule().encode(
        x=x, y=alt.Y("low:Q", title="top-1 accuracy, %"), y2="high:Q", color=colour
    )
    guess = alt.Chart(data([{"at": n, "y": rounded(v)} for n, v in chance.items()]))
    return alt.layer(guess.mark_line(color=GREY, strokeDash=[3, 4]).encode(x=x, y=y), bars, line)


def _dots(rows: Sequence[Mapping[str, Any]], legend: Mapping[str, str], show: bool) -> Any:
    import altair as alt

    y = alt.Y("at:N", title=None, sort=None, axis=alt.Axis(labelLimit=190))
    base, colour = alt.Chart(data(rows)), coloured(legend, show)
    offset = alt.YOffset("series:N", sort=list(legend))
    x = alt.X("y:Q", title="top-1 accuracy, %", scale=alt.Scale(zero=False))
    dots = base.mark_point(filled=True, size=50)
    tips = [alt.Tooltip(f"{name}:N") for name in ("series", "at", "y")]
    bars = base.mark_rule().encode(
        x=alt.X("low:Q", title="top-1 accuracy, %"), x2="high:Q", y=y, yOffset=offset, color=colour
    )
    return alt.layer(bars, dots.encode(x=x, y=y, yOffset=offset, color=colour, tooltip=tips))
