"""The MACs that are left in each layer, for each of some sparsities, beside those of the dense network."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from prunery.report.figures.data import Data, Part, layer_name, parts, pruned, seeds
from prunery.report.figures.heights import compact, log_limits, log_ticks
from prunery.report.figures.sheet import (
    MARGIN,
    PLAIN,
    SMALL,
    WIDTH,
    Entry,
    Sheet,
    entry,
    reference,
    sheet,
    style,
    widest,
)
from prunery.report.figures.style import INK
from prunery.report.text import formats

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_PANELS = 3
_ROOM = 0.06  # inches that a mark needs beside another
_LEFT, _GAP = 0.85, 0.42
Row = list[float | None]


def figures(data: Data) -> Iterator[Callable[[], Figure]]:
    """Return the figures; none where no layer has a count of MACs."""
    by_place = kept(data)
    for part in parts(data, pruned(data, lambda place: place in by_place)):
        yield partial(_figure, part, by_place, part.levels(lambda place: place in by_place, MOST_PANELS))


def kept(data: Data) -> dict[int, Row]:
    """Return the kept MACs of all layers and of each, means over seeds, by the group's place."""
    groups = data.layers["groups"].items()
    rows = {place: _with_sum(measured["macs_kept"]) for place, measured in groups}
    known = any(v for v in dense(data))
    return {p: row for p, row in rows.items() if known and any(v is not None for v in row)}


def dense(data: Data) -> Row:
    """Return the MACs of all layers and of each in the dense network."""
    return _with_sum(data.layers["dense"].get("macs_dense", []))


def _with_sum(values: Sequence[float | None]) -> Row:
    known = [v for v in values if v is not None]
    return [sum(known) if known else None, *values]


def _figure(part: Part, by_place: Mapping[int, Row], levels: Sequence[float]) -> Figure:
    names = ["all layers", *map(layer_name, part.data.layers["names"])]
    width = WIDTH - _LEFT - MARGIN
    slanted = widest(names, SMALL) > width / len(names) - 0.06
    below = 0.25 + (0.72 * widest(names, SMALL) if slanted else 0.15)
    tall = 1.9 if len(levels) > 1 else 3.0
    body = len(levels) * (tall + _GAP) + below + MARGIN
    made = _sheet(part, levels, body, lines=not _beside(part, width / len(names)))
    rows = [row for level in levels for row in part.at_sparsity(by_place, level).values()]
    values = [v for row in (dense(part.data), *rows) for v in row]
    low, high = log_limits([v for v in values if v])
    floor = low - 0.09 * (high - low)
    for i, level in enumerate(levels):
        axes = made.panel(_LEFT, 0.34 + i * (tall + _GAP), width, tall, formats.percent(level))
        axes.set_title(formats.percent(level), fontsize=10, loc="left", pad=4, fontweight="bold")
        _axes(axes, (low, high), floor if 0 in values else None, len(names))
        _outline(axes, dense(part.data))
        _draw(axes, part, by_place, level, floor, width / len(names))
        if i == len(levels) - 1:
            _names(axes, names, slanted=slanted)
    middle = 0.34 + (len(levels) * (tall + _GAP) - _GAP) / 2
    made.words("MACs per example (log axis)", 0.16, middle, rotation=90, va="center", fontsize=PLAIN)
    return made.figure


def _sheet(part: Part, levels: Sequence[float], body: float, *, lines: bool) -> Sheet:
    measures = part.data.layers["groups"]
    counts = [measured["n"] for level in levels for measured in part.at_sparsity(measures, level).values()]
    drawn = part.shown(measures, levels)
    mean = f"means over {seeds(counts)}, collapsed ones included" if max(counts) > 1 else seeds(counts)
    notes = [mean, *part.budget(), *part.some(levels), *part.note(), *part.elsewhere(drawn)]
    more = "MACs of the weights that the masks keep; sparsity above each panel"
    entries = [entry(m, part.data.looks[m], line=lines) for m in drawn]
    entries.append(Entry("dense", reference()))
    title = part.title("MACs that are left in each layer")
    return sheet(body, title=title, notes=["; ".join(notes), more], entries=entries)


def _axes(axes: Axes, limits: tuple[float, float], floor: float | None, count: int) -> None:
    """Set a log axis up, with a place for 0 below it where something is 0."""
    low, high = limits
    ticks = {math.log10(t): compact(t) for t in log_ticks(low, high, most=6)}
    if floor is not None:
        ticks = {floor: "0"} | {at: text for at, text in ticks.items() if at > low}
    axes.set_ylim(low if floor is None else floor - 0.07 * (high - low), high)
    axes.set_yticks(list(ticks), list(ticks.values()))
    axes.set_xlim(-0.5, count - 0.5)
    axes.set_xticks([])
    axes.grid(False, axis="x")


def _outline(axes: Axes, values: Row) -> None:
    """Draw the dense network as a box for each layer, from its MACs to the axis below."""
    bottom = axes.get_ylim()[0]
    for x, value in enumerate(values):
        if value:
            top = math.log10(value)
            box = [x - 0.46, x - 0.46, x + 0.46, x + 0.46], [bottom, top, top, bottom]
            axes.plot(*box, color=INK, linewidth=0.8, zorder=2, label="dense")
            axes.fill_between(box[0][1:3], bottom, top, color="#F4F4F4", linewidth=0, zorder=0)


def _draw(
    axes: Axes, part: Part, by_place: Mapping[int, Row], level: float, floor: float, slot: float
) -> None:
    """Draw a mark per method and layer, with a line up to the dense network's MACs."""
    beside = _beside(part, slot)
    step = 0.84 / len(part.methods) if beside else 0.0
    for method, row in part.at_sparsity(by_place, level).items():
        shift = step * (part.methods.index(method) - (len(part.methods) - 1) / 2)
        at = [x + shift for x in range(len(row))]
        up = [float("nan") if v is None else math.log10(v) if v else floor for v in row]
        look: dict[str, Any] = style(part.data.looks[method], 5.5 if slot > 0.9 and beside else 4.2)
        look |= {"markeredgewidth": 0.65 * look["markeredgewidth"]}
        axes.plot(at, up, zorder=4, label=method, **(look | {"linestyle": "none"}))
        if beside:
            tops = [math.log10(v) if v else float("nan") for v in dense(part.data)]
            axes.vlines(at, up, tops, color=look["color"], linewidth=1.0, alpha=0.35, zorder=3)
        else:  # the sum of all layers is no neighbour of the first
            line = {"color": look["color"], "linestyle": look["linestyle"], "linewidth": 0.8, "alpha": 0.8}
            axes.plot(at[1:], up[1:], zorder=3, label=f"{method}: line", **line)


def _beside(part: Part, slot: float) -> bool:
    """Return whether the marks of all methods fit side by side in the inches of a layer."""
    return slot * 0.86 / len(part.methods) >= _ROOM


def _names(axes: Axes, names: Sequence[str], *, slanted: bool) -> None:
    how: dict[str, Any] = {"rotation": 45, "rotation_mode": "anchor", "ha": "right"} if slanted else {}
    axes.set_xticks(range(len(names)), list(names), fontsize=SMALL, **how)
    axes.get_xticklabels()[0].set_fontweight("bold")
