"""What is left of each layer, as a heat map of layers and methods for each of some sparsities."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from prunery.report.figures.data import Data, Part, layer_name, parts, pruned, seeds, share
from prunery.report.figures.sheet import MARGIN, SMALL, WIDTH, Sheet, sheet, text_width, widest
from prunery.report.figures.style import FAINT, GREY, INK
from prunery.report.text import formats

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import QuadMesh
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

MOST_PANELS = 4
_DEEP = 24  # layers from which on cells are too low for numbers
_SHADES = ("#EEF4F9", "#9CC3E0", "#3A86BC", "#0B4A78", "#06243D")  # darker in equal steps: prints in grey
_GAP, _HEAD, _BAR, _LEAST = 0.3, 0.4, 0.4, 7.4  # inches
Row = list[float | None]


def figures(data: Data) -> Iterator[Callable[[], Figure]]:
    """Return the figures; none where no layer was measured."""
    by_place = densities(data)
    for part in parts(data, pruned(data, lambda place: place in by_place)):
        yield partial(_figure, part, by_place, part.levels(lambda place: place in by_place, MOST_PANELS))


def densities(data: Data) -> dict[int, Row]:
    """Return the share of each layer's weights that is kept, mean over seeds, by the group's place."""
    whole = data.layers["dense"].get("params_dense", [])
    return {
        place: [_ratio(kept, all_) for kept, all_ in zip(counts["params_kept"], whole, strict=True)]
        for place, counts in data.layers["groups"].items()
    }


def _ratio(kept: float | None, whole: float | None) -> float | None:
    return None if kept is None or not whole else kept / whole


def _figure(part: Part, by_place: Mapping[int, Row], levels: Sequence[float]) -> Figure:
    names = [layer_name(name) for name in part.data.layers["names"]]
    form = _form(names, [formats.shortened(m) for m in part.methods], len(levels))
    rows = -(-len(levels) // form.columns)
    panel_width, tall = form.cell[0] * len(part.methods), form.cell[1] * len(names)
    ragged = len(levels) % form.columns > 0  # names under the last panel of a column would meet the next row
    pitch = tall + _HEAD + (form.below if ragged else 0.0)
    down = rows * pitch + (0.0 if ragged else form.below)
    values = [_values(part, by_place, level) for level in levels]
    lacking = any(v is None for panel in values for each in panel for v in each)
    made = _sheet(part, levels, down + _BAR + MARGIN, max(form.width, _LEAST), lacking=lacking)
    low = min([0.5, *(v for place in by_place for v in by_place[place] if v)])
    for i, level in enumerate(levels):
        row, column = divmod(i, form.columns)
        at = form.left + column * (panel_width + _GAP), 0.3 + row * pitch
        axes = made.panel(*at, panel_width, tall, formats.percent(level))
        axes.set_title(formats.percent(level), fontsize=10, loc="left", pad=4, fontweight="bold")
        mesh = _cells(axes, values[i], low, None if form.deep else form.cell[0])
        _names(axes, names if column == 0 else [], form.size)
        _methods(axes, part.methods if ragged or row == rows - 1 else [])
    _ramp(made, mesh, low, down + 0.1, form.left)
    return made.figure


def _columns(levels: int, fit: float) -> int:
    """Return how many of up to four panels stand side by side, where so many fit; of four, 2 or 4."""
    columns = max(1, min(levels, int(fit + 0.2)))
    return 2 if (levels, columns) == (4, 3) else columns


@dataclass(frozen=True)
class _Form:
    """The sizes of a figure, in inches but for the number of columns of panels and the size of names."""

    columns: int
    deep: bool
    size: float
    cell: tuple[float, float]
    left: float
    below: float
    width: float


def _form(names: Sequence[str], methods: Sequence[str], levels: int) -> _Form:
    deep = len(names) > _DEEP
    size = SMALL - 1.5 if deep else SMALL
    left = MARGIN + 0.1 + widest(names, size)
    least = 0.26 if deep else 0.38 if len(names) > 10 else 0.5
    columns = _columns(levels, (WIDTH - left - MARGIN) / (least * len(methods) + _GAP))
    room = (_LEAST - left - MARGIN + _GAP) / columns - _GAP
    panel_width = least if deep else min(max(room / len(methods), least), 0.8)
    lengths = [0.72 * text_width(method, SMALL) for method in methods]
    left = max([left, *(MARGIN + long - (i + 0.6) * panel_width for i, long in enumerate(lengths))])
    width = left + columns * (panel_width * len(methods) + _GAP) - _GAP + MARGIN
    cell = (panel_width, 0.145 if deep else 0.28)
    return _Form(columns, deep, size, cell, left, 0.16 + max(lengths), width)


def _sheet(part: Part, levels: Sequence[float], body: float, width: float, *, lacking: bool) -> Sheet:
    measures = part.data.layers["groups"]
    counts = [measured["n"] for level in levels for measured in part.at_sparsity(measures, level).values()]
    mean = f"means over {seeds(counts)}, collapsed ones included" if max(counts) > 1 else seeds(counts)
    notes = ["% of each layer's weights that its masks keep", mean, *part.some(levels), *part.note()]
    dashes = ["–: not measured at this sparsity"] if lacking else []
    title = part.title("density of each layer")
    lines = ["; ".join(notes), "; ".join([*part.budget(), "sparsity above each panel", *dashes])]
    return sheet(body, title=title, notes=lines, width=width)


def _values(part: Part, by_place: Mapping[int, Row], level: float) -> list[Row]:
    """Return a row of values for each layer, a column for each method; None where none was measured."""
    none: Row = [None] * len(part.data.layers["names"])
    places = [part.data.place(method, level) for method in part.methods]
    columns = [none if p is None else by_place.get(p, none) for p in places]
    return [list(row) for row in zip(*columns, strict=True)]


def _shades() -> Colormap:
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("kept", _SHADES).with_extremes(bad="white")


def _cells(axes: Axes, values: Sequence[Row], low: float, room: float | None) -> QuadMesh:
    """Draw cells shaded by the logarithm of what is left, white for nothing, with numbers where they fit."""
    import numpy as np
    from matplotlib.colors import LogNorm

    array = np.ma.masked_less_equal([[0.0 if v is None else v for v in row] for row in values], 0)
    norm = LogNorm(low, 1.0)
    mesh = axes.pcolormesh(array, cmap=_shades(), norm=norm, edgecolors="white", linewidth=0.8)
    axes.invert_yaxis()
    axes.grid(False)
    for y, row in enumerate(values):
        for x, value in enumerate(row):
            text = "–" if value is None else share(value)
            if not value:
                _empty(axes, x, y)
            if room is None or text_width(text, SMALL) > room - 0.04:
                text = ""
            dark = value is not None and value > 0 and _dark(mesh.cmap(float(norm(value))))
            ink = "white" if dark else GREY if value is None else INK
            axes.text(x + 0.5, y + 0.52, text, fontsize=SMALL, color=ink, ha="center", va="center")
    return mesh


def _dark(shade: Sequence[float]) -> bool:
    """Return whether white reads better on it than ink."""
    linear: list[float] = [((v + 0.055) / 1.055) ** 2.4 for v in shade[:3]]
    shares = (0.2126, 0.7152, 0.0722)
    return sum(part * v for part, v in zip(shares, linear, strict=True)) < 0.2


def _empty(axes: Axes, x: int, y: int) -> None:
    from matplotlib.patches import Rectangle

    axes.add_patch(Rectangle((x + 0.03, y + 0.05), 0.94, 0.9, facecolor="white", edgecolor=FAINT))


def _names(axes: Axes, names: Sequence[str], size: float) -> None:
    axes.set_yticks([i + 0.5 for i in range(len(names))], list(names), fontsize=size)


def _methods(axes: Axes, methods: Sequence[str]) -> None:
    """Write the methods' names, slanted, below the lowest panel of each column."""
    axes.set_xticks([])
    for i, method in enumerate(methods):
        axes.annotate(
            formats.shortened(method),
            (i + 0.62, 0),
            xycoords=("data", "axes fraction"),
            xytext=(0, -5),
            textcoords="offset points",
            rotation=45,
            rotation_mode="anchor",
            ha="right",
            va="top",
            fontsize=SMALL,
        )


def _ramp(made: Sheet, mesh: Any, low: float, down: float, left: float) -> None:
    """Draw what the shades mean: a bar from the study's lowest density to all of a layer."""
    panel_width = min(3.2, made.width - left - 1.6)
    axes = made.panel(left, down, panel_width, 0.13, "shades")
    round_ones = (0.001, 0.01, 0.1, 1.0) if low < 0.02 else (0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
    ticks = [low, *(t for t in round_ones if t > low * (2 if low < 0.02 else 1.4))]
    bar = made.figure.colorbar(mesh, cax=axes, orientation="horizontal", ticks=ticks)
    bar.minorticks_off()
    bar.outline.set_visible(False)
    axes.grid(False)
    axes.set_xticks(ticks, [share(low), *(formats.plain(100 * t) for t in ticks[1:])])
    axes.tick_params(length=0, pad=2, labelsize=SMALL)
    made.words(
        "% kept (log)", left + panel_width + 0.14, down + 0.065, fontsize=SMALL, color=GREY, va="center"
    )
