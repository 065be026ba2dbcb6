"""Accuracy against sparsity, and against what is left or spent."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from prunery.report.figures import axes
from prunery.report.figures.chart import COLOURS, GREY, Figure, coloured, data
from prunery.report.figures.panels import Panel, panels_of
from prunery.report.figures.points import broken, point, rounded, rows_of
from prunery.report.results.columns import NAMED, TOP1, Column, shown
from prunery.report.results.groups import Group, mean_of, sparsities
from prunery.report.results.study import Loaded
from prunery.report.text.published_tables import ACCURACIES

_TIP = ("method", "at", "accuracy", "seeds")
_SPLITS = {
    "test, after": "test_top1",
    "train, after": "train_top1",
    "test, before": "before_test_top1",
}
Groups = Mapping[tuple[str, float], Group]


def sparsity_figure(study: Loaded) -> Figure | None:
    """Return accuracy against sparsity; None where no pruned cell is done."""
    groups = _pruned(study.groups)
    if not any(group.values for group in groups.values()):
        return None
    layout = panels_of(study)
    draw = [partial(_against_sparsity, study, panel, layout.legend) for panel in layout.panels]
    about = (
        "Lines join means over seeds; shades are 95 % intervals. Grey: the dense network with its interval. "
        "Crosses: single runs that collapsed or diverged, which enter no mean and interrupt their line."
    )
    if study.published:
        about += " Diamonds: published values."
    legend = layout.shown
    height = 330 if len(layout.panels) == 1 else 210
    return Figure("accuracy", "Accuracy against sparsity", about, tuple(draw), legend, True, height)


def trade_offs(study: Loaded) -> Iterator[Figure]:
    """Return accuracy against each thing that is left or spent, where it was measured."""
    groups, layout = _pruned(study.groups), panels_of(study)
    for column in shown(study.columns, figure="cost"):
        if column.unit == "s" and study.places() > 1:
            continue  # seconds of different devices are not comparable
        known = [mean_of(group, column.name) for group in groups.values() if group.sound]
        if len({rounded(value, 3) for value in known if value}) < 2:
            continue
        title = f"{column.words} ({column.unit})" if column.unit not in column.words else column.words
        draw = [
            partial(_against_count, study, panel, layout.legend, column, title) for panel in layout.panels
        ]
        about = f"Means over seeds; {title} on a logarithmic axis. The rule is the dense network."
        head = f"Accuracy against {column.words}"
        name = re.sub(r"\W+", "_", column.name)
        yield Figure(name, head, about, tuple(draw), layout.shown, False, 230)


def before_and_after(study: Loaded) -> Figure | None:
    """Return train and test accuracy after retraining and test before it, a chart a method; or None."""
    if not (study.has("before_test_top1") and study.has("train_top1")):
        return None
    by_split = {label: _pruned(study.groups_by(NAMED[c])) for label, c in _SPLITS.items()}
    methods = list(dict.fromkeys(method for method, _ in by_split["test, after"]))
    legend = dict(zip(_SPLITS, (COLOURS[0], COLOURS[2], COLOURS[1]), strict=True))
    draw = [partial(_by_split, by_split, method, legend) for method in methods]
    about = "Top-1 accuracy of the network as the last cut left it, and after its retraining."
    title = "Before and after retraining"
    return Figure("before_after", title, about, tuple(draw), legend, True, 200)


def _pruned(groups: Sequence[Group]) -> dict[tuple[str, float], Group]:
    ordered = sorted((g for g in groups if g.role == "pruned"), key=lambda g: g.sparsity)
    return {(g.method, g.sparsity): g for g in ordered}


def _values(study: Loaded) -> list[float]:
    """Return all accuracies that a figure has to show."""
    runs = [run.value for g in study.groups if g.role in ("dense", "pruned") for run in g.runs]
    ends = [g.summary.low for g in study.groups if g.role == "pruned" and g.sound and g.summary]
    known = [value.value for value in study.published if value.metric in ACCURACIES[:1]]
    return [value for value in (*runs, *ends, *known) if value is not None]


def _against_sparsity(study: Loaded, panel: Panel, legend: Mapping[str, str], show: bool) -> Any:
    import altair as alt

    groups, levels = _pruned(study.groups), sparsities(study.groups)
    x, y = axes.sparsity(levels), partial(axes.accuracy, _values(study))
    layers = [*_dense(study, y)]
    if panel.behind:
        rows = rows_of(groups, {m: m for m in panel.behind}, point)
        behind = axes.moved(alt.Chart(data(rows)), "y").mark_line(color=GREY, opacity=0.35, strokeWidth=1)
        layers.append(behind.encode(x=x, y=y(), detail="series:N"))
    layers += _lines(rows_of(groups, panel.labels, point), x, y, coloured(legend, show))
    crosses = [row for (m, _), g in groups.items() if m in panel.labels for row in broken(g, panel.labels[m])]
    layers += _marks(crosses, "cross", x, y, coloured(legend, False), angle=45)
    layers += _marks(_published(study, panel), "diamond", x, y, coloured(legend, False))
    return alt.layer(*layers).add_params(axes.switch(levels)).properties(title=panel.title)


def _lines(rows: Sequence[Mapping[str, Any]], x: Any, y: Any, colour: Any) -> list[Any]:
    """Return the layers of lines through means with their intervals."""
    import altair as alt

    base = axes.moved(alt.Chart(data(rows)), "y", "low", "high")
    band = base.transform_filter("isValid(datum.low)").mark_area(opacity=0.14)
    shade = band.encode(x=x, y=y("low"), y2="high_up:Q", color=colour)
    line = base.mark_line(point={"size": 42, "filled": True}, strokeWidth=2)
    return [shade, line.encode(x=x, y=y(), color=colour, tooltip=[alt.Tooltip(f"{name}:N") for name in _TIP])]


def _marks(
    rows: Sequence[Mapping[str, Any]], shape: str, x: Any, y: Any, colour: Any, angle: int = 0
) -> list[Any]:
    import altair as alt

    if not rows:
        return []
    base = axes.moved(alt.Chart(data(rows)), "y")
    mark = base.mark_point(
        shape=shape, size=60 if shape == "cross" else 120, filled=shape == "cross", angle=angle, opacity=0.9
    )
    names = [name for name in (*_TIP, "end", "note") if name in rows[0]]
    return [mark.encode(x=x, y=y(), color=colour, tooltip=[alt.Tooltip(f"{name}:N") for name in names])]


def _dense(study: Loaded, y: Any) -> list[Any]:
    """Return the dense network's mean as a rule, and its interval as a band."""
    import altair as alt

    dense = next((g for g in study.groups if g.role == "dense" and g.summary), None)
    if dense is None or dense.summary is None:
        return []
    row = {"s": 0.5, "y": rounded(dense.summary.mean), "name": f"dense: {dense.summary.mean:.2f} %"}
    layers = []
    if dense.summary.half is not None:
        ends = row | {"low": rounded(dense.summary.low), "high": rounded(dense.summary.high)}
        band = axes.moved(alt.Chart(data([ends])), "low", "high").mark_rect(color=GREY, opacity=0.2)
        layers.append(band.encode(y=y("low"), y2="high_up:Q"))
    rule = axes.moved(alt.Chart(data([row])), "y").mark_rule(color=GREY, strokeWidth=1.5)
    return [*layers, rule.encode(y=y(), tooltip=["name:N"])]


def _published(study: Loaded, panel: Panel) -> list[dict[str, Any]]:
    """Return the published accuracies of the panel's methods that are under the same metric as ours."""
    return [
        {
            "series": panel.labels[value.method],
            "s": value.sparsity,
            "y": value.value,
            "method": value.method,
            "accuracy": f"{value.value:.2f} %, published",
            "note": f"{value.report}, n = {value.n}",
        }
        for value in study.published
        if value.method in panel.labels and value.sparsity > 0 and value.metric in ACCURACIES[:1]
    ]


def _against_count(
    study: Loaded, panel: Panel, legend: Mapping[str, str], column: Column, title: str, show: bool
) -> Any:
    import altair as alt

    groups = _pruned(study.groups)

    def placed(group: Group, label: str) -> dict[str, Any] | None:
        row, value = point(group, label), mean_of(group, column.name)
        return {**row, "v": rounded(value)} if row and row["y"] is not None and value else None

    rows = rows_of(groups, panel.labels, placed)
    y = alt.Y("y:Q", title=f"{TOP1.words}, %", scale=alt.Scale(zero=False), axis=alt.Axis(tickCount=6))
    base = alt.Chart(data(rows)).mark_line(point={"size": 42, "filled": True}, strokeWidth=1.5)
    tips = [alt.Tooltip(f"{name}:N") for name in _TIP] + [alt.Tooltip("v:Q", title=title, format=".4s")]
    line = base.encode(x=axes.count("v", title), y=y, color=coloured(legend, show), order="s:Q", tooltip=tips)
    behind = rows_of(groups, {m: m for m in panel.behind}, placed)
    others = alt.Chart(data(behind)).mark_line(color=GREY, opacity=0.35, strokeWidth=1)
    backdrop = others.encode(x=axes.count("v", title), y=y, detail="series:N", order="s:Q")
    dense = next((g for g in study.groups if g.role == "dense" and g.summary), None)
    rules = [{"y": rounded(dense.summary.mean)}] if dense and dense.summary else []
    rule = alt.Chart(data(rules)).mark_rule(color=GREY, strokeWidth=1.5).encode(y=y)
    return alt.layer(rule, backdrop, line).properties(title=panel.title)


def _by_split(by_split: Mapping[str, Groups], method: str, legend: Mapping[str, str], show: bool) -> Any:
    import altair as alt

    rows = [row for label, groups in by_split.items() for row in rows_of(groups, {method: label}, point)]
    levels = sorted({s for groups in by_split.values() for _, s in groups})
    values = [v for groups in by_split.values() for g in groups.values() for v in g.values.values()]
    x, y = axes.sparsity(levels), partial(axes.accuracy, values)
    layers = _lines(rows, x, y, coloured(legend, show))
    return alt.layer(*layers).add_params(axes.switch(levels)).properties(title=method)
