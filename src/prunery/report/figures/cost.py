"""Test accuracy against the MACs of training, with the Pareto front of what is drawn."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from prunery.report.figures.data import Data, Part, parts, pruned, seeds
from prunery.report.figures.heights import accuracies, compact, log_limits, log_ticks, set_accuracy
from prunery.report.figures.sheet import (
    MARGIN,
    PLAIN,
    WIDTH,
    Entry,
    Sheet,
    entry,
    reference,
    sheet,
    style,
    wrapped,
)
from prunery.report.figures.style import GREY
from prunery.report.results.groups import Group, arms
from prunery.report.text import formats

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from prunery.report.figures.scale import Scale

_LEFT, _HEIGHT, _FOOT = 0.85, 4.5, 0.62
_EQUAL, _STEP = 0.006, 0.015  # shares of the axis: costs that count as equal, and a step aside
_FRONT: dict[str, Any] = {"color": GREY, "linewidth": 0.9}
_BESIDE = {
    "dense": ("dense", reference("o")),
    "dense_extra": ("dense, trained longer", reference("s", hollow=True)),
}


@dataclass(frozen=True)
class Point:
    """A group where it is drawn."""

    group: Group
    cost: float
    mean: float
    low: float | None
    high: float | None
    n: int


def figures(data: Data) -> Iterator[Callable[[], Figure]]:
    """Return the figures; none where no sound group has both an accuracy and a cost."""
    drawn = points(data)
    methods = pruned(data, lambda place: any(p.group is data.groups[place] for p in drawn))
    for part in parts(data, methods):
        yield partial(_figure, part, drawn)


def points(data: Data) -> list[Point]:
    """Return the groups that have a sound mean and a cost, as on the page."""
    drawn = []
    for group, point, cost in zip(data.groups, data.top1, data.training_macs, strict=False):
        if (
            group.role != "sanity"
            and point["sound"]
            and point.get("mean") is not None
            and cost is not None
            and cost > 0
        ):
            ends = point.get("low"), point.get("high")
            drawn.append(Point(group, cost, point["mean"], *ends, point["n"]))
    return drawn


def front(drawn: Sequence[Point]) -> list[Point]:
    """Return the points that no other is as cheap and as accurate as, from the cheapest."""
    kept: list[Point] = []
    for point in sorted(drawn, key=lambda p: (p.cost, -p.mean)):
        if not kept or point.mean > kept[-1].mean:
            kept.append(point)
    return kept


def shifts(drawn: Sequence[Point], span: float) -> list[float]:
    """Return how far each point is moved along an axis `span` long, so that equal costs can be seen.

    The dense network and its controls stay where they are; methods go to both sides of them.
    """
    at = [math.log10(p.cost) for p in drawn]
    order = sorted(range(len(drawn)), key=at.__getitem__)
    alike: list[list[int]] = []
    for i in order:
        if alike and at[i] - at[alike[-1][-1]] <= _EQUAL * span:
            alike[-1].append(i)
        else:
            alike.append([i])
    placed = [0.0] * len(drawn)
    for places in alike:
        for i, step in _aside(drawn, places).items():
            placed[i] = step * _STEP * span
    return placed


def _aside(drawn: Sequence[Point], places: Sequence[int]) -> dict[int, float]:
    """Return steps to the side for points of equal cost: a place a method, none for what stands beside."""
    methods = arms([drawn[i].group for i in sorted(places)], "pruned")
    centre = (len(methods) - 1) / 2
    steps = {method: k - centre for k, method in enumerate(methods)}
    if any(drawn[i].group.role != "pruned" for i in places):  # the place in the middle is taken
        half = len(methods) // 2
        steps = {method: k - half + (k >= half) for k, method in enumerate(methods)}
    return {i: steps[drawn[i].group.method] for i in places if drawn[i].group.role == "pruned"}


def _figure(part: Part, every: Sequence[Point]) -> Figure:
    shown = [p for p in every if p.group.role != "pruned" or p.group.method in part.methods]
    best = front(shown)
    made = _sheet(part, shown, best)
    axes = made.panel(_LEFT, 0.1, WIDTH - _LEFT - MARGIN, _HEIGHT, "cost")
    axis = accuracies(_heights(every))
    left, right = log_limits([p.cost for p in every], pad=0.1)
    axes.set_xlim(left, right)
    ticks = log_ticks(left, right, most=10)
    axes.set_xticks([math.log10(t) for t in ticks], [compact(t) for t in ticks])
    set_accuracy(axes, axis)
    axes.set_xlabel("MACs of all training (log axis)", labelpad=6)
    axes.set_ylabel("test top-1, % (log axis of the error)", labelpad=6)
    _front(axes, axis, best, right)
    aside = shifts(shown, right - left)
    for name, look in _looks(part).items():
        marked = [(p, dx) for p, dx in zip(shown, aside, strict=True) if name == _name(p)]
        marked = sorted(marked, key=lambda each: each[0].group.sparsity)
        _marks(axes, axis, marked, look, name)
        costs = [math.log10(p.cost) for p, _ in marked]
        if name in part.methods and max(costs) - min(costs) > _EQUAL * (right - left):
            _line(axes, axis, marked, look, name)
    return made.figure


def _looks(part: Part) -> dict[str, dict[str, Any]]:
    """Return how the part's methods are drawn, and what stands beside them, by role."""
    beside = {role: look | {"linestyle": "none"} for role, (_, look) in _BESIDE.items()}
    return beside | {method: style(part.data.looks[method]) for method in part.methods}


def _name(point: Point) -> str:
    return point.group.method if point.group.role == "pruned" else point.group.role


def _sheet(part: Part, shown: Sequence[Point], best: Sequence[Point]) -> Sheet:
    counts = [p.n for p in shown if p.group.role == "pruned"]
    bars = "bars: 95 % t-intervals of the mean" if max(counts) > 1 else "single runs"
    notes = [seeds(counts), bars, *part.budget(), *part.note()]
    more = (
        "Smaller marks: sparser; equal costs: side by side; front: of what is drawn; groups with collapsed "
    )
    more += "or diverged seeds left out"
    looks = part.data.looks
    entries = [entry(method, looks[method]) for method in part.methods]
    roles = {p.group.role for p in shown}
    entries += [Entry(text, s | {"linestyle": "none"}) for r, (text, s) in _BESIDE.items() if r in roles]
    entries.append(Entry("Pareto front", _FRONT))
    sentence = "On the front, from the cheapest: " + ", ".join(_named(best)) + "."
    lines = wrapped(sentence.split(), WIDTH - 2 * MARGIN, PLAIN)
    body = 0.1 + _HEIGHT + _FOOT + 0.19 * len(lines) + MARGIN
    title = part.title("accuracy against the cost of training")
    made = sheet(body, title=title, notes=["; ".join(notes), more], entries=entries)
    for i, line in enumerate(lines):
        made.words(line, MARGIN, 0.1 + _HEIGHT + _FOOT + 0.19 * i, fontsize=PLAIN, color=GREY, va="top")
    return made


def _named(best: Sequence[Point]) -> list[str]:
    """Return `snip at 90 %`; neighbours of one method share its name: `snip at 90 % and 50 %`."""
    runs: list[list[Point]] = []
    for point in best:
        if runs and runs[-1][0].group.method == point.group.method:
            runs[-1].append(point)
        else:
            runs.append([point])
    return [_run(run) for run in runs]


def _run(run: Sequence[Point]) -> str:
    first = run[0].group
    if first.role != "pruned":
        return first.method
    return f"{first.method} at {formats.listed([formats.percent(p.group.sparsity) for p in run])}"


def _heights(drawn: Sequence[Point]) -> list[float]:
    """Return the means, and the ends of their intervals as far as they reach little beyond the means."""
    means = [p.mean for p in drawn]
    low, high = min(means), max(means)
    reach = 0.5 * max(high - low, 0.5)
    ends = [e for p in drawn for e in (p.low, p.high) if e is not None]
    return [*means, *(min(max(e, low - reach, 0), high + (100 - high) / 2) for e in ends)]


def _front(axes: Axes, axis: Scale, best: Sequence[Point], right: float) -> None:
    """Draw the front as stairs: from a point to the right until a dearer one is better."""
    at = [math.log10(p.cost) for p in best]
    heights = [axis.y(p.mean) for p in best]
    stairs = [*at, right], [*heights, heights[-1]]
    axes.step(*stairs, where="post", zorder=2, label="front", **_FRONT)


def _line(
    axes: Axes, axis: Scale, marked: Sequence[tuple[Point, float]], look: dict[str, Any], label: str
) -> None:
    """Draw a thin line through a method's points, in the order of their sparsity."""
    at = [math.log10(p.cost) + dx for p, dx in marked]
    thin = look | {"marker": "", "linewidth": 0.9, "alpha": 0.45}
    axes.plot(at, [axis.y(p.mean) for p, _ in marked], zorder=3, label=f"{label}: line", **thin)


def _marks(
    axes: Axes, axis: Scale, marked: Sequence[tuple[Point, float]], look: dict[str, Any], label: str
) -> None:
    """Draw points with their intervals; the sparser, the smaller."""
    at = [math.log10(p.cost) + dx for p, dx in marked]
    up = [axis.y(p.mean) for p, _ in marked]
    for i, (x, y, (point, _)) in enumerate(zip(at, up, marked, strict=True)):
        size = 8.5 - 4.0 * i / max(1, len(marked) - 1) if point.group.role == "pruned" else 7.0
        thin = {
            "linestyle": "none",
            "markersize": size,
            "markeredgewidth": look["markeredgewidth"] * size / 9,
        }
        axes.plot([x], [y], zorder=5, label=label, **(look | thin))
        if point.low is not None and point.high is not None:
            ends = axis.y(point.low), axis.y(point.high)
            axes.vlines(x, *ends, color=look["color"], linewidth=1.3, alpha=0.5, zorder=3, label=label)
