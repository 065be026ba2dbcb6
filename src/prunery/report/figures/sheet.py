"""A figure laid out in inches: a title, what it shows, a legend and panels, of which none meets another."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from prunery.report.figures.plots import Look
from prunery.report.figures.style import FAINT, GREY, INK
from prunery.report.text.formats import shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 9.6
MARGIN = 0.22
SMALL, PLAIN, LARGE = 8.0, 9.5, 12.5  # points
_PER_POINT = 1.42 / 72  # inches from one line of text to the next
_SAMPLE = 0.36  # inches of a legend's line


@dataclass(frozen=True)
class Entry:
    """A legend's entry: a text, and how its line and marker are drawn."""

    text: str
    style: dict[str, Any]


@dataclass(frozen=True)
class Sheet:
    """A figure with its head drawn; panels are placed by inches from the left and from the head's end."""

    figure: Figure
    width: float
    height: float
    body: float

    def panel(self, left: float, down: float, width: float, height: float, label: str = "") -> Axes:
        """Return axes without spines, with a faint grid behind what they show."""
        box = (left, self.body - down - height, width, height)
        sizes = (self.width, self.height, self.width, self.height)
        at = tuple(v / size for v, size in zip(box, sizes, strict=True))
        axes = self.figure.add_axes((at[0], at[1], at[2], at[3]), label=label)
        axes.tick_params(length=0, pad=4, labelsize=PLAIN - 1)
        axes.grid(True, color=FAINT, linewidth=0.7)
        axes.set_axisbelow(True)
        for side in ("top", "right", "left", "bottom"):
            axes.spines[side].set_visible(False)
        return axes

    def words(self, text: str, left: float, down: float, **style: Any) -> None:
        """Write a text at a place given as for panels."""
        self.figure.text(left / self.width, (self.body - down) / self.height, text, **style)


def sheet(
    body: float, *, title: str, notes: Sequence[str], entries: Sequence[Entry] = (), width: float = WIDTH
) -> Sheet:
    """Return a sheet with `body` inches below its head; each note begins a line, long ones are wrapped."""
    from matplotlib.figure import Figure

    room = width - 2 * MARGIN
    heads = wrapped(title.split(), room, LARGE, bold=True)
    note_lines = [line for note in notes for line in wrapped(note.split(), room, PLAIN)]
    rows = _rows(entries, room)
    head = MARGIN + _PER_POINT * (LARGE * len(heads) + PLAIN * len(note_lines)) + 0.26 * len(rows) + 0.1
    height = head + body
    figure = Figure(figsize=(width, height))
    top = height - MARGIN
    lines = [(line, LARGE, "bold", INK) for line in heads] + [
        (line, PLAIN, "normal", GREY) for line in note_lines
    ]
    for line, size, weight, ink in lines:
        at = MARGIN / width, top / height
        figure.text(*at, line, fontsize=size, fontweight=weight, color=ink, va="top")
        top -= _PER_POINT * size
    if rows:
        _legend(figure, rows, top - 0.08, (width, height))
    return Sheet(figure, width, height, body)


def wrapped(words: Iterable[str], room: float, size: float, *, bold: bool = False) -> list[str]:
    """Return the words in lines that are no wider than `room` inches; a word that is wider is broken."""
    lines: list[str] = []
    for word in (piece for whole in words for piece in _pieces(whole, room, size, bold)):
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and text_width(longer, size, bold=bold) <= room:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def _pieces(word: str, room: float, size: float, bold: bool) -> list[str]:
    """Return the word, or its pieces where it is wider than `room` inches."""
    if text_width(word, size, bold=bold) <= room:
        return [word]
    pieces = [""]
    for letter in word:
        if pieces[-1] and text_width(pieces[-1] + letter, size, bold=bold) > room:
            pieces.append("")
        pieces[-1] += letter
    return pieces


@cache
def text_width(text: str, size: float, *, bold: bool = False) -> float:
    """Return how many inches a text is wide."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    font = FontProperties(family="DejaVu Sans", size=size, weight="bold" if bold else "normal")
    return float(text_to_path.get_text_width_height_descent(text, font, ismath=False)[0]) / 72


def widest(texts: Iterable[str], size: float) -> float:
    """Return how many inches the widest of some texts is."""
    return max((text_width(text, size) for text in texts), default=0.0)


def entry(method: str, look: Look, *, line: bool = True) -> Entry:
    """Return a method's entry in a legend."""
    return Entry(shortened(method), style(look) | ({} if line else {"linestyle": "none"}))


def style(look: Look, size: float = 6.5) -> dict[str, Any]:
    """Return Matplotlib's settings for a method's line and markers."""
    line = {"color": look.colour, "linewidth": 1.6, "linestyle": look.line}
    return {**line, "marker": look.marker, "markersize": size, **look.marks()}


def reference(marker: str = "", *, hollow: bool = False, line: str = "solid") -> dict[str, Any]:
    """Return Matplotlib's settings for what stands beside the methods, in ink."""
    line_style = {"color": INK, "linewidth": 1.2, "linestyle": line, "marker": marker, "markersize": 6.5}
    return {
        **line_style,
        "markerfacecolor": "white" if hollow else INK,
        "markeredgecolor": INK,
        "markeredgewidth": 1.2,
    }


def _rows(entries: Sequence[Entry], room: float) -> list[list[tuple[float, Entry]]]:
    """Return the entries in rows, each with its place from the left; all columns are equally wide."""
    if not entries:
        return []
    column = _SAMPLE + 0.3 + widest((e.text for e in entries), PLAIN)
    most = max(1, int((room + 0.22) / column))
    rows = -(-len(entries) // most)
    most = -(-len(entries) // rows)
    chunks = [entries[i : i + most] for i in range(0, len(entries), most)]
    return [[(k * column, e) for k, e in enumerate(chunk)] for chunk in chunks]


def _legend(
    figure: Figure, rows: Sequence[Sequence[tuple[float, Entry]]], top: float, size: tuple[float, float]
) -> None:
    """Draw the rows of a legend below `top`, on axes in inches over the whole figure."""
    axes = figure.add_axes((0, 0, 1, 1), label="legend", zorder=-1)
    axes.set_axis_off()
    axes.set_xlim(0, size[0])
    axes.set_ylim(0, size[1])
    for i, row in enumerate(rows):
        y = top - 0.13 - 0.26 * i
        for left, each in row:
            x = MARGIN + left
            sample = [x, x + _SAMPLE / 2, x + _SAMPLE]
            axes.plot(sample, [y] * 3, markevery=[1], **each.style)
            axes.text(x + _SAMPLE + 0.08, y, each.text, fontsize=PLAIN, va="center_baseline")
