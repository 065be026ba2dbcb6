"""Histograms of the weights that are left: a ridge per layer, a panel per method at one sparsity."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from prunery.report.figures.data import MOST_METHODS, Data, Part, layer_name, parts, pruned
from prunery.report.figures.sheet import (
    MARGIN,
    PLAIN,
    SMALL,
    WIDTH,
    Entry,
    Sheet,
    reference,
    sheet,
    widest,
    wrapped,
)
from prunery.report.figures.style import FAINT, GREY
from prunery.report.page.records import ALPHABET
from prunery.report.text import formats

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TALL = 1.12  # a ridge's height in steps from layer to layer
_DEEP = 20  # layers from which on a figure has half as many panels
_COLUMNS = {1: 1, 2: 2, 3: 3, 5: 3, 6: 3}
_BETWEEN, _FOOT = 0.2, 0.36  # inches between panels, and below one
_UNLIKE = 4  # where weights reach this much further than others, they do not share an axis
_AXES = {
    "all": "one axis of weights for all panels",
    "panel": "each panel has its own axis of weights",
    "layer": "weights relative to the largest of their layer",
}


@dataclass(frozen=True)
class Ridge:
    """A layer's histogram: heights relative to its highest bin, between its lowest and highest weight."""

    name: str
    low: float
    high: float
    heights: tuple[float, ...]
    kept: int
    total: int

    @property
    def reach(self) -> float:
        """Return the largest absolute weight."""
        return max(abs(self.low), abs(self.high))

    def outline(self, base: float, unit: float = 1.0) -> tuple[list[float], list[float]]:
        """Return the bins as stairs above `base`, with weights in units of `unit`."""
        step = (self.high - self.low) / len(self.heights)
        at, up = [self.low], [base]
        for i, height in enumerate(self.heights):
            at += [self.low + i * step, self.low + (i + 1) * step]
            up += [base + TALL * height] * 2
        return [x / unit for x in (*at, self.high)], [*up, base]


def figures(data: Data) -> Iterator[Callable[[], Figure]]:
    """Return the figures; none where no histogram was recorded."""
    by_place = {place: ridges(layers) for place, layers in data.histograms.items()}
    deep = any(len(layers) > _DEEP for layers in by_place.values())
    methods = pruned(data, lambda place: place in by_place)
    for part in parts(data, methods, MOST_METHODS // 2 if deep else MOST_METHODS):
        yield partial(_figure, part, by_place)


def ridges(histogram: Mapping[str, Any]) -> list[Ridge]:
    """Return the layers' ridges as the page draws them; what a layer without any weight lacks is 0."""
    most = len(ALPHABET) - 1
    return [
        Ridge(name, low or 0.0, high or 0.0, tuple(ALPHABET.index(c) / most for c in code), kept, total)
        for name, low, high, code, kept, total, _ in histogram["layers"]
    ]


def _places(part: Part, by_place: Mapping[int, Any]) -> dict[str, int]:
    """Return each method's place at the middle sparsity, or at the nearest one with a histogram."""
    levels = sorted({g.sparsity for g in part.groups})
    middle = levels[len(levels) // 2]
    near = {}
    for method in part.methods:
        places = [
            i
            for i, g in enumerate(part.data.groups)
            if i in by_place and (g.method, g.role) == (method, "pruned")
        ]
        near[method] = min(places, key=lambda i: abs(part.data.groups[i].sparsity - middle))
    return near


def _figure(part: Part, by_place: Mapping[int, list[Ridge]]) -> Figure:
    places = _places(part, by_place)
    names = [layer_name(r.name) for r in max((by_place[p] for p in places.values()), key=len)]
    columns = _COLUMNS.get(len(places), 4)
    rows = -(-len(places) // columns)
    gap = min(0.7, 2.6 / len(names)) if len(names) <= 8 else 0.3 if len(names) <= _DEEP else 0.16
    left = MARGIN + 0.1 + widest(names, SMALL)
    width = min(4.6, (WIDTH - left - MARGIN) / columns - _BETWEEN)
    titles = {m: _title(m, by_place[p], width) for m, p in places.items()}
    head, tall = 0.19 * max(map(len, titles.values())) + 0.08, gap * (len(names) + 0.25)
    reaches = [max([1e-9, *(r.reach for r in by_place[p])]) for p in places.values()]
    axis = _axis([[r.reach for r in by_place[p] if r.reach] for p in places.values()])
    body = rows * (head + tall + _FOOT) + 0.2 + MARGIN
    made = _sheet(part, places, body, max(6.4, left + columns * (width + _BETWEEN) + MARGIN), axis=axis)
    for i, (method, place) in enumerate(places.items()):
        row, column = divmod(i, columns)
        at = left + column * (width + _BETWEEN), head + row * (head + tall + _FOOT)
        axes = made.panel(*at, width, tall, method)
        reach = {"all": max(reaches), "panel": reaches[i], "layer": 1.0}[axis]
        _axes(axes, names, reach, labels=column == 0)
        if i + columns >= len(places):
            axes.set_xlabel(
                "weight / largest" if axis == "layer" else "weight", labelpad=3, fontsize=PLAIN - 0.5
            )
        behind = {} if part.data.dense is None else {r.name: r for r in by_place.get(part.data.dense, [])}
        _draw(axes, by_place[place], behind, part.data.looks[method].colour, relative=axis == "layer")
        _head(made, titles[method], at[0], at[1] - 0.05)
    return made.figure


def _title(method: str, layers: Sequence[Ridge], width: float) -> list[str]:
    """Return the method's name, in as many lines as it needs, and how much was removed."""
    kept, total = sum(r.kept for r in layers), sum(r.total for r in layers)
    removed = f"{formats.percent(1 - kept / total)} of weights removed" if total else "nothing was counted"
    name = wrapped(formats.shortened(method).split(), width, PLAIN, bold=True)
    return [*name, removed]


def _axis(reaches: Sequence[Sequence[float]]) -> str:
    """Return which weights share an axis, by their reaches: all panels', a panel's or a layer's."""
    known = [panel for panel in reaches if panel]
    unlike = [max(panel) > _UNLIKE * statistics.median(panel) for panel in known]
    if 2 * sum(unlike) > len(known):
        return "layer"
    largest = [max(panel) for panel in known]
    return "all" if not largest or max(largest) <= _UNLIKE * min(largest) else "panel"


def _sheet(part: Part, places: Mapping[str, int], body: float, width: float, *, axis: str) -> Sheet:
    shown = sorted({part.data.histograms[p]["seed"] for p in places.values()})
    levels = sorted({part.data.groups[p].sparsity for p in places.values()})
    which = formats.listed([formats.percent(s) for s in levels])
    whose = _unit_names(part, places)
    notes = [
        f"n = 1: seed {formats.listed(list(map(str, shown)))}",
        f"{which} of {whose} asked for",
        *part.budget(),
        *part.note(),
    ]
    more = "Weights that are kept: removed ones, which are zero, are counted above each panel and not drawn"
    scales = f"each ridge relative to its highest bin; {_AXES[axis]}"
    entries = []
    if part.data.dense in part.data.histograms:
        entries = [Entry("dense", reference() | {"color": GREY, "linewidth": 0.9})]
    title = part.title("weights that are left in each layer")
    return sheet(
        body, title=title, notes=["; ".join(notes), f"{more}; {scales}"], entries=entries, width=width
    )


def _unit_names(part: Part, places: Mapping[str, int]) -> str:
    """Return `weights`, `filters or weights`: what the sparsities are shares of."""
    kinds = [part.data.groups[p].first("granularity") or "weight" for p in places.values()]
    return " or ".join(f"{kind}s" for kind in dict.fromkeys(kinds))


def _axes(axes: Axes, names: Sequence[str], reach: float, *, labels: bool) -> None:
    """Set weights across; up, a step for each layer, the first one on top, its name above its line."""
    axes.set_xlim(-1.04 * reach, 1.04 * reach)
    axes.set_ylim(-0.06, len(names) + 0.19)
    tick = 10.0 ** math.floor(math.log10(0.8 * reach))
    tick = max(t for t in (tick, 2 * tick, 5 * tick) if t <= 0.8 * reach or t == tick)
    axes.set_xticks([-tick, 0, tick], [f"{t:g}".replace("-", "−") for t in (-tick, 0, tick)])
    axes.grid(False, axis="y")
    at = [len(names) - 0.85 - k for k in range(len(names))]
    axes.set_yticks(at if labels else [], names if labels else [], fontsize=SMALL)


def _draw(
    axes: Axes, layers: Sequence[Ridge], behind: Mapping[str, Ridge], colour: str, *, relative: bool
) -> None:
    """Draw the ridges from the first layer to the last, each before the one above it; dense as an outline."""
    for i, ridge in enumerate(layers):
        base, order = float(len(layers) - 1 - i), 3 + 4 * i
        unit = ridge.reach if relative and ridge.reach else 1.0
        axes.axhline(base, color=FAINT, linewidth=0.7, zorder=order)
        if ridge.kept and ridge.heights:
            at, up = ridge.outline(base, unit)
            axes.fill(at, up, facecolor="white", linewidth=0, zorder=order)
            edge: dict[str, Any] = {"facecolor": (colour, 0.38), "edgecolor": colour, "linewidth": 0.9}
            axes.fill(at, up, zorder=order + 1, label=ridge.name, **edge)
        else:
            axes.text(0, base + 0.08, "empty", fontsize=SMALL, color=GREY, ha="center", zorder=order + 3)
        if ridge.name in behind and behind[ridge.name].heights:
            outline = behind[ridge.name].outline(base, unit)
            axes.plot(*outline, color=GREY, linewidth=0.8, zorder=order + 2, label="dense")


def _head(made: Sheet, lines: Sequence[str], left: float, down: float) -> None:
    """Write a panel's title, whose last line ends above the panel."""
    for i, line in enumerate(reversed(lines)):
        how: dict[str, Any] = (
            {"color": GREY, "fontsize": SMALL} if i == 0 else {"fontweight": "bold", "fontsize": PLAIN}
        )
        made.words(line, left, down - 0.18 * i, va="bottom", **how)
