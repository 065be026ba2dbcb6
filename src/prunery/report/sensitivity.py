"""A sensitivity scan as files: CSV, Markdown and a heat map, layers down and sparsities across."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from prunery import atomic
from prunery.report.figures.style import FAINT, GREY, INK, png_and_svg
from prunery.report.text import csv_rows, formats
from prunery.report.text.texttable import TextTable, markdown

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from prunery.measure.sensitivity import Scanned, Sensitivity

COLUMNS = ("layer", "sparsity", "correct", "total", "top1", "loss", "kept", "weights", "share", "note")
UNPRUNED, ABSENT, COLLAPSED = "unpruned", "-", "†"
_SHADES = ("#F3F3F1", "#FBE0CC", "#F0A868", "#D55E00", "#7A3300")  # one hue: light to dark is more lost
_CELL, _ROW, _SHARE = 0.78, 0.31, 1.0  # inches


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
    texts = {"csv": csv_text(scan), "md": _markdown(scan, about)}
    made = {kind: content.encode() for kind, content in texts.items()} | images(scan, about)
    return {f"sensitivity.{kind}": content for kind, content in made.items()}


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
    """Return the heat map as `{"png": bytes, "svg": bytes}`; empty where no layer has a row."""
    return png_and_svg(lambda: _figure(scan, about)) if scan.rows else {}


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


def _figure(scan: Sensitivity, about: About) -> Figure:
    from matplotlib.figure import Figure

    layers = _layers(scan)
    left = 0.35 + 0.085 * max(12, *(len(_short(name)) for name in layers))
    cells_width, high = _CELL * len(scan.sparsities), _ROW * len(layers)
    width, height = max(left + cells_width + _SHARE + 0.75, 6.6), high + 1.42
    figure = Figure(figsize=(width, height))
    bottom = 0.2 / height
    axes = figure.add_axes((left / width, bottom, cells_width / width, high / height))
    bars = figure.add_axes(((left + cells_width + 0.12) / width, bottom, _SHARE / width, high / height))
    _cells(axes, scan)
    _shares(bars, list(layers.values()))
    figure.text(
        0.12 / width, 1 - 0.34 / height, formats.shortened(about.title, 60), fontsize=13, weight="bold"
    )
    for line, text in enumerate(_subtitle(scan, about)):
        figure.text(0.12 / width, 1 - (0.59 + 0.19 * line) / height, text, fontsize=8.8, color=GREY)
    return figure


def _subtitle(scan: Sensitivity, about: About) -> tuple[str, str]:
    first = f"{about.criterion}, granularity {about.granularity}; nothing retrained"
    whole = scan.unpruned
    second = f"validation accuracy, % of {formats.thousands(whole.total)} images; unpruned {whole.top1:.1f}"
    return first, second + (f"; {COLLAPSED} collapsed" if any(row.note for row in scan.rows) else "")


def _cells(axes: Axes, scan: Sensitivity) -> None:
    """Draw a cell per layer and sparsity: its accuracy as text, the points lost as its shade."""
    from matplotlib.colors import LinearSegmentedColormap, PowerNorm

    layers = _layers(scan)
    lost = [[_lost(scan, row) for row in _across(scan, rows)] for rows in layers.values()]
    shades = LinearSegmentedColormap.from_list("lost", _SHADES)
    most = max(1.0, *(value for row in lost for value in row if not math.isnan(value)))
    norm = PowerNorm(0.5, 0, most)  # a root, so that the first points lost are seen
    axes.pcolormesh(lost, cmap=shades, norm=norm, edgecolors="white", linewidth=2)
    for y, rows in enumerate(layers.values()):
        for x, row in enumerate(_across(scan, rows)):
            text = ABSENT if row is None else f"{row.top1:.1f}{COLLAPSED if row.note else ''}"
            dark = row is not None and norm(lost[y][x]) > 0.62
            at = (x + 0.5, y + 0.5)
            axes.text(*at, text, ha="center", va="center", fontsize=9, color="white" if dark else INK)
    axes.set_xticks([x + 0.5 for x in range(len(scan.sparsities))], map(formats.percent, scan.sparsities))
    axes.set_yticks([y + 0.5 for y in range(len(layers))], map(_short, layers))
    axes.xaxis.tick_top()
    _bare(axes)


def _lost(scan: Sensitivity, row: Scanned | None) -> float:
    """Return points of accuracy lost; 0 where there is a gain, NaN where there is no row."""
    return math.nan if row is None else max(0.0, scan.unpruned.top1 - row.top1)


def _shares(axes: Axes, layers: list[list[Scanned]]) -> None:
    shares = [100 * rows[0].share for rows in layers]
    at = [y + 0.5 for y in range(len(shares))]
    axes.barh(at, shares, height=0.55, color=FAINT)
    for y, share in zip(at, shares, strict=True):
        axes.text(0.03 * max(shares), y, f"{share:.1f}", va="center", fontsize=8.5, color=GREY)
    axes.set_ylim(0, len(shares))
    axes.set_yticks([])
    axes.set_xticks([0], ["share of weights, %"], ha="left")
    axes.xaxis.tick_top()
    _bare(axes)


def _bare(axes: Axes) -> None:
    axes.invert_yaxis()
    axes.tick_params(length=0, labelsize=9, labelcolor=INK)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _short(name: str) -> str:
    return formats.shortened(name.removesuffix(".weight"))
