"""A few training images of each class, as the records of a run keep them."""

from __future__ import annotations

from functools import partial
from typing import Any

from prunery.report.figures.chart import Figure, Rows, data
from prunery.report.results.study import Loaded

_HIGH, _WIDE = 34, 150  # pixels of a strip of images


def figure(study: Loaded) -> Figure | None:
    """Return images of each class, of the first seed; None where no record has them."""
    keys = dict.fromkeys(cell.path[0] for cell in study.plan.cells)
    first = next((key for key in keys if study.store.has(key)), None)
    rows = study.store.record(first).tables.get("samples", []) if first else []
    if not rows:
        return None
    about = "The first training images of each class, as the data set has them."
    draw = partial(_strips, [{**row, "jpeg": f"data:image/jpeg;base64,{row['jpeg']}"} for row in rows])
    return Figure("samples", "Images of each class", about, (draw,), {}, False, (_HIGH + 4) * len(rows))


def _strips(rows: Rows, show: bool) -> Any:
    import altair as alt

    y = alt.Y("class:N", title=None, sort=None, axis=alt.Axis(labelLimit=130, ticks=False))
    strips = alt.Chart(data(rows)).mark_image(width=_WIDE, height=_HIGH, align="left")
    return strips.encode(x=alt.value(0), y=y, url="jpeg:N", description="class:N")
