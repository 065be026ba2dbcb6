"""Axes that can be linear or logarithmic: sparsity across, accuracy up, and counts across."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

from prunery.report.text import formats

_ERRORS: tuple[float, ...] = (99, 95, 90, 80, 70, 60, 50, 40, 30, 20, 15, 10, 7, 5, 4, 3, 2, 1.5, 1)
_ERRORS += (0.7, 0.5, 0.3, 0.2, 0.1, 0.05)
_FAR = 0.97  # the sparsity from which on a logarithmic axis is the usual one


def switch(levels: Sequence[float]) -> Any:
    """Return the parameter that tells whether axes are logarithmic."""
    import altair as alt

    return alt.param(name="logarithmic", value=bool(levels and max(levels) > _FAR))


def moved(chart: Any, *fields: str) -> Any:
    """Return the chart with `x` from sparsity `s`, and `fields` of accuracies, on the chosen axes."""
    made = chart.transform_calculate(x="logarithmic ? -log(1 - datum.s) / LN10 : datum.s")
    return made.transform_calculate(**{f"{name}_up": up(f"datum.{name}") for name in fields})


def up(value: str) -> str:
    """Return the expression that places an accuracy: itself, or the logarithm of the error."""
    return f"{value} == null ? null : logarithmic ? -log(max(100.02 - {value}, 0.02)) / LN10 : {value}"


def sparsity(levels: Sequence[float]) -> Any:
    """Return the axis of weights removed, with a tick for every level."""
    import altair as alt

    shown = sorted(levels)
    spots = {"true": [-math.log10(1 - s) for s in shown], "false": list(shown)}
    values = f"logarithmic ? {json.dumps(spots['true'])} : {json.dumps(spots['false'])}"
    names = json.dumps([formats.percent(s) for s in shown])
    label = f"{names}[indexof(({values}), datum.value)] || ''"
    axis = alt.Axis(
        values=alt.ExprRef(values), labelExpr=label, labelOverlap="greedy", labelSeparation=4, grid=True
    )
    ends = {way: [spot[0], spot[-1]] for way, spot in spots.items()}
    domain = alt.ExprRef(f"logarithmic ? {json.dumps(ends['true'])} : {json.dumps(ends['false'])}")
    return alt.X("x:Q", title="removed", axis=axis, scale=alt.Scale(domain=domain, nice=False, padding=12))


def accuracy(values: Sequence[float], field: str = "y") -> Any:
    """Return the axis of accuracies up, which shows all of these values."""
    import altair as alt

    low, high = min(values, default=0.0), max(values, default=100.0)
    errors = [e for e in _ERRORS if low - 1 <= 100 - e <= high + 0.5 * (100 - high)]
    spots = [-math.log10(e + 0.02) for e in errors]
    line = _round(low, high)
    names = json.dumps([formats.plain(100 - e, 2) for e in errors])
    expression = f"logarithmic ? {json.dumps(spots)} : {json.dumps(line)}"
    label = f"logarithmic ? {names}[indexof({json.dumps(spots)}, datum.value)] : datum.label"
    axis = alt.Axis(values=alt.ExprRef(expression), labelExpr=label, labelOverlap="greedy")
    steep = [-math.log10(max(100.02 - v, 0.02)) for v in (low, high)]
    domain = alt.ExprRef(f"logarithmic ? {json.dumps(steep)} : {json.dumps([low, high])}")
    scale = alt.Scale(domain=domain, nice=False, padding=8)
    return alt.Y(f"{field}_up:Q", title="top-1 accuracy, %", axis=axis, scale=scale)


def count(field: str, title: str) -> Any:
    """Return a logarithmic axis of counts across."""
    import altair as alt

    axis = alt.Axis(format="~s", tickCount=5, labelOverlap=True)
    return alt.X(f"{field}:Q", title=title, axis=axis, scale=alt.Scale(type="log", nice=False, padding=12))


def _round(low: float, high: float) -> list[float]:
    """Return four to eight round values between two accuracies."""
    span = max(high - low, 0.05)
    step = next(s for s in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 25) if span / s <= 7 or s == 25)
    first = math.ceil(low / step - 1e-9)
    return [round(i * step, 4) for i in range(first, math.floor(high / step + 1e-9) + 1)]
