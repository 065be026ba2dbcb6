"""Several studies side by side: an index, every mean in one CSV, accuracy against the number of classes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from html import escape
from itertools import groupby
from typing import TYPE_CHECKING, Any

from prunery.lab.record import canonical
from prunery.report.figures.plots import Look, looks_of
from prunery.report.figures.style import FAINT, GREY, INK, png_and_svg
from prunery.report.results.groups import Group
from prunery.report.results.study import Loaded
from prunery.report.text import csv_rows, formats
from prunery.report.text.captions import task, whole_task
from prunery.report.text.sentences import answers
from prunery.report.text.texttable import TextTable, markdown

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LEFT, _WIDE, _HIGH = 0.85, 8.6, 4.6  # inches


def files(studies: Sequence[Loaded]) -> dict[str, bytes]:
    """Return index.html and studies.csv; classes.md, .png and .svg where studies differ in classes."""
    contents = {"index.html": _index(studies), "studies.csv": _csv(studies)}
    if series := _by_classes(studies):
        contents["classes.md"] = markdown(_table(series))[1:].encode()
        contents |= {
            f"classes.{kind}": content for kind, content in png_and_svg(partial(_figure, series)).items()
        }
    return contents


def classes(study: Loaded) -> int:
    """Return how many classes the study's networks tell apart, by its chance level."""
    chance = next((g.first("chance_top1") for g in study.groups if g.first("chance_top1")), None)
    return round(100 / chance) if chance else 0


def _csv(studies: Sequence[Loaded]) -> bytes:
    rows = [
        {"classes": str(classes(study)), **row}
        for study in studies
        for row in csv_rows.summary_rows(study.frame, study.groups, study.published, study.columns)
    ]
    return csv_rows.csv_text(rows).encode()


def _by_classes(studies: Sequence[Loaded]) -> list[Loaded]:
    """Return the first studies that differ in their number of classes alone, with as many images of each."""

    def same(study: Loaded) -> str:
        task = {k: v for k, v in study.spec["task"].items() if k not in ("classes", "images")}
        images = study.spec["task"].get("images")
        each = images / classes(study) if images and classes(study) else None
        return canonical({**study.spec, "name": "", "task": task, "images of a class": each})

    for _, alike in groupby(sorted(studies, key=same), key=same):
        sized = {classes(s): s for s in alike if classes(s)}
        if len(sized) > 1:
            return [sized[n] for n in sorted(sized)]
    return []


def _lines(series: Sequence[Loaded]) -> dict[str, list[Group | None]]:
    """Return, by dense network and method, its group in each study."""
    names = list(
        dict.fromkeys(formats.label(g) for s in series for g in s.groups if g.role in ("dense", "pruned"))
    )
    by_name = [{formats.label(g): g for g in s.groups if g.role in ("dense", "pruned")} for s in series]
    return {name: [groups.get(name) for groups in by_name] for name in names}


def _table(series: Sequence[Loaded]) -> TextTable:
    header = ("method", *(f"{classes(s)} classes" for s in series))
    rows = [
        (name, *(formats.values(g) if g and g.sound else "-" for g in groups))
        for name, groups in _lines(series).items()
    ]
    chance = ("guessing", *(f"{100 / classes(s):.2f}" for s in series))
    caption = (
        "Top-1 accuracy (k = 1) on the test images of these classes, in %, mean ± half-width of the 95 % "
        "t-interval. The classes are drawn anew for each seed; fewer classes have fewer training images.",
    )
    title = f"Accuracy against the number of classes: {whole_task(series[0].frame)}"
    return TextTable(title, header, (*rows, chance), caption, (), fixed=1)


def _figure(series: Sequence[Loaded]) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_WIDE, _HIGH))
    axes = figure.add_axes((_LEFT / _WIDE, 0.14, 5.1 / _WIDE, 0.7))
    counts = [classes(s) for s in series]
    looks = looks_of(series[0].groups)
    for name, groups in _lines(series).items():
        first = next(g for g in groups if g)
        _line(axes, counts, groups, name, looks.get(first.method, Look(INK, "_")))
    axes.plot(counts, [100 / n for n in counts], color=GREY, linestyle=(0, (2, 3)), linewidth=1)
    axes.annotate("guessing", (counts[-1], 100 / counts[-1]), (6, 0), textcoords="offset points", color=GREY)
    axes.set_xscale("log")
    axes.set_xticks(counts, [str(n) for n in counts])
    axes.minorticks_off()
    axes.set_ylim(0, 100)
    axes.grid(True, color=FAINT, linewidth=0.8)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set_xlabel("classes (log axis)")
    axes.set_ylabel("top-1 accuracy on test, %")
    figure.text(_LEFT / _WIDE, 0.92, _table(series).title, fontsize=12.5, fontweight="bold")
    return figure


def _line(axes: Axes, counts: Sequence[int], groups: Sequence[Group | None], name: str, look: Look) -> None:
    """Draw one line with intervals through the groups that ended well, and name it at its end."""
    points = [(n, g.summary) for n, g in zip(counts, groups, strict=True) if g and g.sound and g.summary]
    if not points:
        return
    across, means = [n for n, _ in points], [s.mean for _, s in points]
    halves = [s.half or 0 for _, s in points]
    drawn: dict[str, Any] = {"color": look.colour, "marker": look.marker, **look.marks()}
    axes.errorbar(across, means, halves, linewidth=1.6, **drawn)
    beside: dict[str, Any] = {"textcoords": "offset points", "color": look.colour, "fontsize": 9}
    axes.annotate(name, (across[-1], means[-1]), (8, -3), **beside)


def _index(studies: Sequence[Loaded]) -> bytes:
    """Return a page that links the studies' pages, each with its first answers."""
    parts = []
    for study in studies:
        sentences = "".join(f"<li>{escape(s)}</li>" for s in answers(study.groups)[:2])
        link = f'<a href="{escape(study.name)}/report.html">{escape(study.name)}</a>'
        parts.append(f"<h2>{link}</h2><p>{escape(task(study.frame))}</p><ul>{sentences}</ul>")
    style = (
        ":root{color-scheme:light dark}body{font:16px/1.5 system-ui,sans-serif;max-width:46rem;"
        "margin:2rem auto;padding:0 1rem}h2{margin:2rem 0 0;font-size:1.15rem}p{margin:0;opacity:.75}"
    )
    head = f"<meta charset=utf-8><meta name=viewport content='width=device-width'><style>{style}</style>"
    body = f"<main><h1>Pruning studies</h1>{''.join(parts)}</main>"
    head += "<title>Pruning studies</title>"
    return f"<!doctype html>\n<html lang=en><head>{head}</head><body>{body}</body></html>\n".encode()
