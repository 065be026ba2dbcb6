"""A sensitivity scan as files: CSV, Markdown and a heat map, layers down and sparsities across."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prunery import atomic
from prunery.report.figures.chart import Figure, data
from prunery.report.text import csv_rows, formats
from prunery.report.text.texttable import TextTable, markdown

if TYPE_CHECKING:
    from prunery.measure.sensitivity import Scanned, Sensitivity

COLUMNS = ("layer", "sparsity", "correct", "total", "top1", "loss", "kept", "weights", "share", "note")
UNPRUNED, ABSENT, COLLAPSED = "unpruned", "-", "†"
_SHADES = ["#f3f3f1", "#fbe0cc", "#f0a868", "#d55e00", "#7a3300"]  # one hue: light to dark is more lost
_ROW, _TOP = 24, 40  # pixels


@dataclass(frozen=True)
class About:
    """What was scanned and how, in words."""

    model: str
    data: str
    weights: str  # where they are from: a file, a step, "untrained"
    criterion: str = "magnitude"
    granularity: str = "weight"

    @property
    def title(self) -> str:
        """Return one line over the table and the plot."""
        return f"{self.model} on {self.data}: each layer pruned alone"


def write(scan: Sensitivity, about: About, out: str | Path) -> list[Path]:
    """Return the paths of the files written to the folder `out`; each is whole or not there."""
    contents = files(scan, about)  # all are made before the first is written
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    return [atomic.atomic_write(folder / name, content) for name, content in contents.items()]


def files(scan: Sensitivity, about: About) -> dict[str, bytes]:
    """Return sensitivity.csv, .md, .png and .svg; the same bytes for the same scan."""
    texts = {"sensitivity.csv": csv_text(scan), "sensitivity.md": _markdown(scan, about)}
    return {name: content.encode() for name, content in texts.items()} | images(scan, about)


def csv_text(scan: Sensitivity) -> str:
    """Return a line per measurement, the model as it was given first."""
    rows = []
    for row in (scan.unpruned, *scan.rows):
        values = [row.layer or UNPRUNED, formats.plain(row.sparsity), str(row.correct), str(row.total)]
        values += [formats.plain(row.top1), f"{row.loss:.9g}", str(row.kept), str(row.weights)]
        rows.append(dict(zip(COLUMNS, (*values, formats.plain(row.share, 9), row.note), strict=True)))
    return csv_rows.csv_text(rows)


def table(scan: Sensitivity, about: About, *, loss: bool = False) -> TextTable:
    """Return accuracy (or loss) by layer and sparsity, under that of the model as it was given."""
    header = ("layer", "weights", "share", *map(formats.percent, scan.sparsities))
    first = _line(UNPRUNED, scan.unpruned, [scan.unpruned] * len(scan.sparsities), loss)
    rows = [_line(name, rows_of[0], _across(scan, rows_of), loss) for name, rows_of in _layers(scan).items()]
    title = f"{about.title}, {'loss' if loss else 'accuracy'}"
    return TextTable(title, header, (first, *rows), _caption(scan, about, loss), _footnotes(scan), fixed=3)


def images(scan: Sensitivity, about: About) -> dict[str, bytes]:
    """Return the files of the heat map by name; none where no layer has a row."""
    return figure(scan, about).files() if scan.rows else {}


def _markdown(scan: Sensitivity, about: About) -> str:
    accuracy, loss = (markdown(table(scan, about, loss=loss)) for loss in (False, True))
    return f"{accuracy[1:]}\n{loss}"


def _layers(scan: Sensitivity) -> dict[str, list[Scanned]]:
    return {name: [row for row in scan.rows if row.layer == name] for name in scan.layers}


def _across(scan: Sensitivity, rows: list[Scanned]) -> list[Scanned | None]:
    """Return the layer's row for each sparsity, None where it has none."""
    by_sparsity = {row.sparsity: row for row in rows}
    return [by_sparsity.get(sparsity) for sparsity in scan.sparsities]


def _line(
    name: str, any_row: Scanned, across: list[Scanned | None] | list[Scanned], loss: bool
) -> tuple[str, ...]:
    cells = (ABSENT if row is None else _cell(row, loss) for row in across)
    return name, formats.thousands(any_row.weights), f"{100 * any_row.share:.1f} %", *cells


def _cell(row: Scanned, loss: bool) -> str:
    value = f"{row.loss:.3f}" if loss else f"{row.top1:.{formats.DECIMALS}f}"
    return value + (COLLAPSED if row.note else "")


def _caption(scan: Sensitivity, about: About, loss: bool) -> tuple[str, ...]:
    what = "Mean cross-entropy in nats" if loss else "Top-1 accuracy in %"
    first = (
        f"{what} on {formats.thousands(scan.unpruned.total)} validation images, weights: {about.weights}.",
        f"One layer at a time is pruned by {about.criterion}, granularity {about.granularity}, "
        "the others stay as they are, and nothing is retrained.",
        "Share: of all prunable weights.",
    )
    return first if loss else (*first, _precision(scan.unpruned.total))


def _precision(images: int) -> str:
    return f"The standard error of an accuracy is at most {50 / math.sqrt(images):.2f} points."


def _footnotes(scan: Sensitivity) -> tuple[str, ...]:
    rows = (scan.unpruned, *scan.rows)
    notes = [f"{COLLAPSED} collapsed; sensitivity.csv says how"] if any(row.note for row in rows) else []
    missing = any(row is None for rows_of in _layers(scan).values() for row in _across(scan, rows_of))
    return (*notes, *([f"{ABSENT} the layer was sparser before"] if missing else []))


def figure(scan: Sensitivity, about: About) -> Figure:
    """Return the heat map: layers down, sparsities across, shaded by the points lost."""
    height = _ROW * len(scan.layers) + _TOP
    title = f"{formats.shortened(about.title, 60)} ({about.criterion}, granularity {about.granularity})"
    return Figure(
        "sensitivity",
        title,
        " ".join(_caption(scan, about, False)),
        (partial(_heat, scan),),
        {},
        height=height,
    )


def _heat(scan: Sensitivity, _: bool) -> Any:
    import altair as alt

    rows = [
        _heat_cell(scan, name, row, s)
        for name, of_layer in _layers(scan).items()
        for s, row in zip(scan.sparsities, _across(scan, of_layer), strict=True)
    ]
    x = alt.X("at:N", title=None, sort=None, axis=alt.Axis(orient="top", labelAngle=0))
    layers = _layers(scan).items()
    labels = {name: f"{_short(name)}, {100 * own[0].share:.1f} % of weights" for name, own in layers}
    label = f"{json.dumps(labels)}[datum.value]"
    y = alt.Y("layer:N", title=None, sort=None, axis=alt.Axis(labelExpr=label, labelLimit=220))
    most = max([1.0, *(float(row["lost"]) for row in rows if row["lost"] is not None)])
    scale = alt.Scale(type="sqrt", domain=[most * i * i / 16 for i in range(5)], range=_SHADES)
    base = alt.Chart(data(rows)).encode(x=x, y=y)
    cells = base.mark_rect().encode(color=alt.Color("lost:Q", scale=scale, legend=None))
    ink = alt.condition(f"datum.lost > {0.4 * most}", alt.value("white"), alt.value("#222222"))
    return alt.layer(cells, base.mark_text(fontSize=11).encode(text="text:N", color=ink))


def _heat_cell(scan: Sensitivity, name: str, row: Scanned | None, sparsity: float) -> dict[str, Any]:
    lost = None if row is None else max(0.0, scan.unpruned.top1 - row.top1)
    text = ABSENT if row is None else f"{row.top1:.1f}{COLLAPSED if row.note else ''}"
    return {"layer": name, "at": formats.percent(sparsity), "lost": lost, "text": text}


def _short(name: str) -> str:
    return formats.shortened(name.removesuffix(".weight"))
