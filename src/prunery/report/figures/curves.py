"""Training curves: validation accuracy and training loss after each epoch, before and after each cut."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from prunery.report.figures.chart import Figure, choice, coloured, data
from prunery.report.figures.panels import Panel, panels_of
from prunery.report.figures.points import rounded
from prunery.report.results.study import Loaded
from prunery.report.text import formats

if TYPE_CHECKING:
    from prunery.lab.plan import Cell

MOST = 24_000  # rows of curves in one page
_UP = {"top1": "validation top-1, %", "loss": "training loss, nats"}


def figure(study: Loaded) -> Figure | None:
    """Return the curves of the first seed, a line a method; None where no training has its epochs."""
    made: list[dict[str, Any]] = []
    first = min((cell.seed for cell in study.plan.cells), default=0)
    for cell in study.plan.cells:
        if cell.role == "pruned" and cell.seed == first and len(made) < MOST:
            made += rows(study, cell)
    if not made:
        return None
    levels = list(dict.fromkeys(row["level"] for row in sorted(made, key=lambda r: float(r["s"]))))
    layout = panels_of(study)
    ups = _UP if len(layout.panels) == 1 else ("top1",)
    draw = [partial(_chart, made, levels, layout.legend, panel, up) for panel in layout.panels for up in ups]
    about = (
        "After each epoch, along the whole path of a network from its initial weights, of one seed. Small "
        "triangles: epochs after which it was cut."
    )
    return Figure("curves", "Training curves", about, tuple(draw), layout.shown, False, 240)


def rows(study: Loaded, cell: Cell) -> Iterator[dict[str, Any]]:
    """Return a row for each epoch of a cell's path: its accuracy and loss, and whether a cut follows."""
    about = {"series": cell.method, "s": cell.sparsity, "level": formats.percent(cell.sparsity)}
    epoch, last = 0, None
    for key in cell.path:
        step = study.plan.steps[key]
        if step.kind == "prune" and last is not None:
            last["cut"] = True
        record = study.store.record(key) if study.store.has(key) else None
        for entry in record.tables.get("epochs", []) if record else []:
            epoch += 1
            last = {
                **about,
                "epoch": epoch,
                "top1": _share(entry),
                "loss": rounded(entry.get("train_loss"), 4),
            }
            yield last


def _share(entry: Mapping[str, Any]) -> float | None:
    correct, total = entry.get("validation_correct"), entry.get("validation_total")
    return round(100 * correct / total, 2) if total and correct is not None else None


def _chart(
    rows: list[dict[str, Any]],
    levels: list[str],
    legend: Mapping[str, str],
    panel: Panel,
    up: str,
    show: bool,
) -> Any:
    import altair as alt

    x = alt.X("epoch:Q", title="epoch", axis=alt.Axis(format="d", tickMinStep=1))
    y = alt.Y(f"{up}:Q", title=_UP[up], scale=alt.Scale(zero=False))
    kept = [
        {k: v for k, v in row.items() if k not in _UP or k == up} | {"series": panel.labels[row["series"]]}
        for row in rows
        if row["series"] in panel.labels
    ]
    base = alt.Chart(data(kept)).transform_filter("datum.level == level").encode(x=x, y=y)
    colour = coloured(legend, show)
    tips = [alt.Tooltip(f"{name}:N") for name in ("series", "level", "epoch", up)]
    line = base.mark_line(strokeWidth=1.5).encode(color=colour, tooltip=tips)
    cuts = base.transform_filter("datum.cut").mark_point(shape="triangle-down", size=36, filled=True)
    asked = choice("level", "removed", levels, levels[-1])
    return alt.layer(line, cuts.encode(color=colour)).add_params(asked).properties(title=panel.title)
