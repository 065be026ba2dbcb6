"""Validation accuracy while the last training ran, in a panel for each of some sparsities."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from prunery.report.figures.data import Data, Part, parts, pruned, seeds
from prunery.report.figures.heights import accuracies, set_accuracy
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
)
from prunery.report.figures.style import GREY
from prunery.report.results.groups import BROKEN
from prunery.report.text import formats

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from prunery.report.figures.scale import Scale

MOST_PANELS = 6
_LEFT, _GAP, _FOOT = 0.78, 0.22, 0.55
Curve = list[float | None]
Curves = dict[int, dict[int, Curve]]
"""By the group's place and by seed."""


def figures(data: Data) -> Iterator[Callable[[], Figure]]:
    """Return the figures; none where no method was trained after its last cut."""
    by_place = last(data)
    for part in parts(data, pruned(data, lambda place: place in by_place)):
        levels = part.levels(lambda place: place in by_place, MOST_PANELS)
        yield partial(_figure, part, by_place, levels)


def last(data: Data) -> Curves:
    """Return each group's validation accuracies in its last training, seed by seed."""
    steps = data.curves["steps"]
    by_place: Curves = {}
    for place, seed, path in data.curves["paths"]:
        curve = _last(steps, path)
        if any(value is not None for value in curve):
            by_place.setdefault(place, {})[seed] = curve
    return by_place


def _last(steps: Sequence[dict[str, Any]], path: Sequence[Any]) -> Curve:
    for part in reversed(path):
        if isinstance(part, dict):
            return []
        if steps[part]["top1"]:
            curve: Curve = steps[part]["top1"]
            return curve
    return []


def band(curves: Sequence[Curve]) -> list[tuple[float, float, float, float]]:
    """Return (epoch, lowest, mean, highest) over seeds, at the epochs for which every seed has a value."""
    bands = []
    for epoch, values in enumerate(zip(*curves, strict=False), 1):
        known = [v for v in values if v is not None]
        if len(known) == len(curves):
            bands.append((float(epoch), min(known), sum(known) / len(known), max(known)))
    return bands


def _figure(part: Part, by_place: Curves, levels: Sequence[float]) -> Figure:
    shown = {s: _at(part, by_place, s) for s in levels}
    columns = 1 if len(levels) == 1 else 3 if len(levels) > 4 or len(levels) == 3 else 2
    rows = -(-len(levels) // columns)
    tall = {1: 3.6, 2: 3.0, 3: 2.6}[columns]
    dense = _dense(part.data, by_place)
    values = [v for by_method in shown.values() for b in by_method.values() for _, *vs in b for v in vs]
    axis = accuracies(values + ([] if dense is None else [dense]))
    epochs = max(b[-1][0] for by_method in shown.values() for b in by_method.values() if b)
    made = _sheet(part, by_place, shown, rows * (tall + 0.42) + _FOOT, dense)
    width = (WIDTH - _LEFT - MARGIN - _GAP * (columns - 1)) / columns
    for i, level in enumerate(levels):
        row, column = divmod(i, columns)
        name = formats.percent(level)
        left, down = _LEFT + column * (width + _GAP), 0.34 + row * (tall + 0.42)
        axes = made.panel(left, down, width, tall, name)
        axes.set_title(name, fontsize=10, loc="left", pad=5, fontweight="bold")
        axes.set_title(_broken(part, level), fontsize=SMALL, loc="right", pad=5, color=GREY)
        _axes(axes, axis, epochs, width, labels=column == 0)
        if dense is not None:
            axes.axhline(axis.y(dense), zorder=2, label="dense", **reference(line="dashed"))
        for method, bands in shown[level].items():
            _draw(axes, axis, bands, part, method)
        if column == 0:
            axes.set_ylabel("validation top-1, %", labelpad=6, fontsize=PLAIN)
        if i + columns >= len(levels):
            axes.set_xlabel("epoch of the last training", labelpad=4, fontsize=PLAIN)
    return made.figure


def _at(part: Part, by_place: Curves, level: float) -> dict[str, list[tuple[float, float, float, float]]]:
    return {
        method: band(list(by_seed.values())) for method, by_seed in part.at_sparsity(by_place, level).items()
    }


def _broken(part: Part, level: float) -> str:
    """Return how many of a panel's methods have bad seeds: their curves may lie on each other."""
    groups = [g for g in part.groups if g.sparsity == level]
    bad = sum(any(g.having(status) for status in BROKEN) for g in groups)
    return f"{bad} of {len(groups)} collapsed or diverged" if bad else ""


def _dense(data: Data, by_place: Curves) -> float | None:
    """Return where dense was after its last epoch: the mean over seeds."""
    bands = band(list(by_place[data.dense].values())) if data.dense in by_place else []
    return bands[-1][2] if bands else None


def _sheet(part: Part, by_place: Curves, shown: dict[float, Any], body: float, dense: float | None) -> Sheet:
    counts = [len(by_seed) for level in shown for by_seed in part.at_sparsity(by_place, level).values()]
    over = "line: mean, band: lowest to highest seed" if max(counts) > 1 else "single runs"
    drawn = part.shown(by_place, list(shown))
    left = part.data.curves["left_out"]
    fewer = [f"seeds left out: {', '.join(map(str, left))}"] if left else []
    notes = [
        seeds(counts),
        over,
        *part.budget(),
        *part.some(list(shown)),
        *part.note(),
        *fewer,
        *part.elsewhere(drawn),
    ]
    more = "Training after the last cut only; log axis of the error; sparsity above each panel; equal curves "
    more += "hide each other"
    looks = part.data.looks
    entries = [entry(method, looks[method]) for method in drawn]
    if dense is not None:
        entries.append(Entry("dense, after its last epoch", reference(line="dashed")))
    title = part.title("the last training after pruning")
    return sheet(body + 0.2, title=title, notes=["; ".join(notes), more], entries=entries)


def _axes(axes: Axes, axis: Scale, epochs: float, width: float, *, labels: bool) -> None:
    from matplotlib.ticker import MaxNLocator

    set_accuracy(axes, axis, labels=labels, most=9)
    pad = 0.03 * max(epochs - 1, 1)
    axes.set_xlim(1 - pad, epochs + pad)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=max(3, int(width / 0.5)), integer=True, min_n_ticks=1))


def _draw(
    axes: Axes, axis: Scale, bands: Sequence[tuple[float, float, float, float]], part: Part, method: str
) -> None:
    look = part.data.looks[method]
    at = [epoch for epoch, *_ in bands]
    low, mean, high = ([axis.y(b[k]) for b in bands] for k in (1, 2, 3))
    axes.fill_between(at, low, high, color=look.colour, alpha=0.16, linewidth=0, zorder=3)
    marks = {"markeredgewidth": 0.55, "markevery": 1 if len(at) < 13 else len(at) // 6}
    axes.plot(at, mean, zorder=4, label=method, **(style(look, 4.5) | marks))
