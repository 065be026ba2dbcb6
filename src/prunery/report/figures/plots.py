"""Accuracy against sparsity as PNG and SVG, the same bytes for the same records.

Sparsity runs along a log axis of density, accuracy up a log axis of error: from 98.3 to 97.9 % is as easy to
see as from 60 to 20 %, and a collapsed cell flattens nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from prunery.report.figures.scale import Scale, accuracy_ticks, scale, sparsity_ticks, spread
from prunery.report.figures.style import FAINT, GREY, INK, png_and_svg
from prunery.report.results.columns import TOP1
from prunery.report.results.groups import ABSENT, BROKEN, Group, arms, sparsities
from prunery.report.results.published import Published
from prunery.report.text import formats

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Line = str | tuple[float, tuple[float, ...]]

# Okabe and Ito's palette, which the common kinds of colour blindness keep apart; without its yellow.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7A4FBF", "#8C6D31")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "p")
_LEFT, _PLOT, _HEIGHT = 0.78, 6.3, 5.2  # inches
LINES: tuple[Line, ...] = ("solid", (0, (1, 1.2)), (0, (6, 1.5, 1, 1.5)))


@dataclass(frozen=True)
class Look:
    """How a method is drawn."""

    colour: str
    marker: str
    line: Line = "solid"
    hollow: bool = False

    def marks(self) -> dict[str, Any]:
        """Return Matplotlib's settings for its markers."""
        edge = (self.colour, 1.7) if self.hollow else ("white", 0.9)
        face = "white" if self.hollow else self.colour
        return {"markerfacecolor": face, "markeredgecolor": edge[0], "markeredgewidth": edge[1]}


RANDOM = Look(GREY, "o", (0, (5, 2)), hollow=True)


def images(groups: Sequence[Group], *, title: str, published: Sequence[Published] = ()) -> dict[str, bytes]:
    """Return the plot as `{"png": bytes, "svg": bytes}`; empty where no pruned cell is done."""
    if not any(g.values for g in groups if g.role == "pruned"):
        return {}
    return png_and_svg(lambda: accuracy(groups, title=title, published=published))


def accuracy(groups: Sequence[Group], *, title: str, published: Sequence[Published] = ()) -> Figure:
    """Return the figure: a line per method through its means, with 95 % t-intervals; dense as a band.

    Published top-1 accuracies are hollow markers in the colour of the method that they stand beside.
    """
    from matplotlib.figure import Figure

    beside = [p for p in published if p.metric == TOP1.name and p.sparsity > 0]
    axis, looks = scale(groups, beside=[p.value for p in beside]), looks_of(groups)
    entries = _entries(axis, groups, looks)
    width = _LEFT + _PLOT + 0.55 + 0.105 * max(12, *(len(label) for _, label, _ in entries))
    figure = Figure(figsize=(width, _HEIGHT))
    axes = figure.add_axes((_LEFT / width, 0.125, _PLOT / width, 0.725))
    _prepare(axes, axis, sparsities(groups), _removed(groups))
    _references(axes, axis, groups)
    for place, method in enumerate(looks):
        _method(axes, axis, _groups_of(groups, method), looks[method], shift=_shift(axis, place, len(looks)))
    _published(axes, axis, beside, looks)
    _end_labels(axes, axis, entries)
    axes.text(1.022, 1.012, _last(groups), transform=axes.transAxes, fontsize=9.5, color=GREY)
    figure.text(_LEFT / width, 0.945, title, fontsize=14, fontweight="bold")
    subtitle = _subtitle(groups, published=bool(beside))
    figure.text(_LEFT / width, 0.868 if "\n" in subtitle else 0.89, subtitle, fontsize=9.5, color=GREY)
    return figure


def _removed(groups: Sequence[Group]) -> str:
    """Return `weights`, `weights or filters`: what the sparsities are shares of."""
    pruned = [g for g in groups if g.role == "pruned"]
    return " or ".join(dict.fromkeys(f"{g.first('granularity') or 'weight'}s" for g in pruned))


def _prepare(axes: Axes, axis: Scale, all_sparsities: Sequence[float], what: str) -> None:
    axes.set_xlim(axis.left, axis.right)
    axes.set_ylim(axis.bottom, axis.top)
    across, up = sparsity_ticks(axis, all_sparsities), accuracy_ticks(axis)
    axes.set_xticks([axis.x(s) for s in across], [formats.percent(s) for s in across])
    axes.set_yticks([axis.y(a) for a in up], [formats.plain(a) for a in up])
    axes.set_xlabel(f"sparsity: share of {what} removed (log axis of the share kept)", labelpad=7)
    axes.set_ylabel("test accuracy, % (log axis of the error)", labelpad=7)
    axes.grid(True, color=FAINT, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, pad=6)
    for side in ("top", "right", "left", "bottom"):
        axes.spines[side].set_visible(False)


def _references(axes: Axes, axis: Scale, groups: Sequence[Group]) -> None:
    """Draw dense as a line with its interval, and the chance level where it lies within the limits."""
    dense = _dense(groups)
    if dense is not None and dense.summary is not None:
        axes.axhline(axis.y(dense.summary.mean), color=INK, linewidth=1.3, zorder=2)
        if dense.summary.low is not None and dense.summary.high is not None:
            low, high = axis.y(dense.summary.low), axis.y(dense.summary.high)
            axes.axhspan(low, high, color="#9A9A9A", alpha=0.28, linewidth=0, zorder=1)
    chance = next((g.first("chance_top1") for g in groups if g.first("chance_top1")), None)
    if chance is not None and axis.inside(chance):
        axes.axhline(axis.y(chance), color=GREY, linewidth=1, linestyle=(0, (2, 3)), zorder=2)
        axes.annotate(
            f"chance {formats.plain(chance, 2)}",
            (axis.left, axis.y(chance)),
            xytext=(4, 3),
            textcoords="offset points",
            fontsize=9,
            color=GREY,
        )


def _method(axes: Axes, axis: Scale, groups: Sequence[Group], look: Look, *, shift: float) -> None:
    """Draw a line through a method's sound cells with their intervals; a broken cell's seeds one by one."""
    at = [axis.x(g.sparsity) + shift for g in groups]
    means = [axis.y(g.summary.mean) if g.summary and g.sound else float("nan") for g in groups]
    axes.plot(at, means, color=look.colour, linewidth=1.8, linestyle=look.line, zorder=4)
    axes.plot(at, means, look.marker, markersize=7.5, zorder=6, **look.marks())
    for x, group in zip(at, groups, strict=True):
        summary = group.summary
        if not group.sound:
            heights = [axis.y(v) for v in group.values.values()]
            axes.plot(
                [x] * len(heights), heights, look.marker, markersize=5, alpha=0.6, zorder=5, **look.marks()
            )
            _broken(axes, axis, x, group, look.colour)
        elif summary and summary.low is not None and summary.high is not None:
            ends = axis.y(summary.low), axis.y(summary.high)
            axes.vlines(x, *ends, color=look.colour, linewidth=2.4, alpha=0.5, zorder=3)


def _published(axes: Axes, axis: Scale, beside: Sequence[Published], looks: Mapping[str, Look]) -> None:
    """Draw single published values as hollow diamonds, in the method's colour."""
    for value in beside:
        look = Look(looks[value.method].colour, "d", hollow=True)
        place = [axis.x(value.sparsity)], [axis.y(value.value)]
        axes.plot(*place, look.marker, markersize=9, zorder=5, **look.marks())


def _broken(axes: Axes, axis: Scale, x: float, group: Group, colour: str) -> None:
    runs = [r for status in BROKEN for r in group.having(status) if r.value is not None]
    heights = [axis.y(r.value) for r in runs if r.value is not None]
    axes.plot([x] * len(heights), heights, "x", color=colour, markersize=7, markeredgewidth=1.8, zorder=6)


def _entries(
    axis: Scale, groups: Sequence[Group], looks: Mapping[str, Look]
) -> list[tuple[float, str, Look]]:
    """Return the legend's entries: where each line ends, the method with its last value, and its look."""
    entries = [_end(axis, _groups_of(groups, method), look) for method, look in looks.items()]
    dense = _dense(groups)
    if dense is not None and dense.summary is not None:
        value = f"dense {dense.summary.mean:.{formats.DECIMALS}f}"
        entries.append((axis.y(dense.summary.mean), value, Look(INK, "_")))
    return entries


def _end_labels(axes: Axes, axis: Scale, entries: Sequence[tuple[float, str, Look]]) -> None:
    """Draw the legend's entries at the heights where the lines end, moved apart where they would touch."""
    gap = 0.062 * (axis.top - axis.bottom)
    placed = spread([e[0] for e in entries], gap=gap, low=axis.bottom, high=axis.top)
    for (wanted, label, look), y in zip(entries, placed, strict=True):
        _label(axes, axis, wanted, y, label, look)


def _last(groups: Sequence[Group]) -> str:
    return f"at {formats.percent(max(sparsities(groups)))}"


def _label(axes: Axes, axis: Scale, wanted: float, y: float, label: str, look: Look) -> None:
    span = axis.right - axis.left
    ends = [axis.right, axis.right + 0.022 * span]
    axes.plot(ends, [wanted, y], color=look.colour, linewidth=0.9, alpha=0.7, clip_on=False)
    style = look.marks() | ({"markeredgecolor": INK, "markeredgewidth": 1.4} if look.marker == "_" else {})
    axes.plot([axis.right + 0.042 * span], [y], look.marker, markersize=7.5, clip_on=False, **style)
    axes.text(axis.right + 0.066 * span, y, label, color=look.colour, va="center", fontweight="bold")


def _end(axis: Scale, groups: Sequence[Group], look: Look) -> tuple[float, str, Look]:
    last = groups[-1]
    if last.sound and last.summary:
        value = f"{formats.shortened(last.method)} {last.summary.mean:.{formats.DECIMALS}f}"
        return axis.y(last.summary.mean), value, look
    ending = next(formats.count(last, s) for s in (*BROKEN, *ABSENT) if last.having(s))
    heights = [axis.y(r.value) for r in last.runs if r.value is not None]
    return min(heights, default=axis.bottom), f"{formats.shortened(last.method)} {ending}", look


def looks_of(groups: Sequence[Group]) -> dict[str, Look]:
    """Return colour, marker and line of each method; the random control is grey and dashed."""
    looks: dict[str, Look] = {}
    taken = 0
    for method in arms(groups, "pruned"):
        if _groups_of(groups, method)[0].first("criterion") == "random" and RANDOM not in looks.values():
            looks[method] = RANDOM
            continue
        looks[method] = Look(
            COLOURS[taken % len(COLOURS)], MARKERS[taken % len(MARKERS)], LINES[taken // len(COLOURS) % 3]
        )
        taken += 1
    return looks


def _shift(axis: Scale, index: int, count: int) -> float:
    """Return a small step to the side, so that the bars of different methods do not hide each other."""
    return min(0.009, 0.06 / count) * (axis.right - axis.left) * (index - (count - 1) / 2)


def _subtitle(groups: Sequence[Group], *, published: bool = False) -> str:
    n = sorted({len(g.values) for g in groups if g.role == "pruned" and g.values})
    many = f"n = {formats.ranged(map(float, n))} seed" + ("" if n == [1] else "s")
    bars = "single runs" if n == [1] else "bars: 95 % t-intervals of the mean"
    crosses = any(g.having(s) for g in groups for s in BROKEN)
    budget = formats.ranged(float(sum(g.epochs)) for g in groups if g.role == "pruned" and g.epochs)
    trained = f"; {'UNEQUAL ' if '-' in budget else ''}total epochs {budget}"
    marks = ["crosses: collapsed or diverged seeds"] if crosses else []
    marks += ["hollow diamonds: published values, n = 1"] if published else []
    return "\n".join([f"{many}; {bars}{trained}", *(["; ".join(marks)] if marks else [])])


def _dense(groups: Sequence[Group]) -> Group | None:
    return next((g for g in groups if g.role == "dense" and g.values), None)


def _groups_of(groups: Sequence[Group], method: str) -> list[Group]:
    return sorted((g for g in groups if (g.method, g.role) == (method, "pruned")), key=lambda g: g.sparsity)
