"""Several studies side by side: an index, every mean in one CSV, accuracy against the number of classes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from prunery.lab.record import canonical
from prunery.report.figures import classes as drawn
from prunery.report.figures.chart import Figure
from prunery.report.page.render import page
from prunery.report.page.words import own_question
from prunery.report.results.groups import Group, sparsities
from prunery.report.results.study import Loaded
from prunery.report.text import csv_rows, effects, formats
from prunery.report.text.captions import task, whole_task
from prunery.report.text.texttable import TextTable, markdown
from prunery.report.text.winners import winners


def files(studies: Sequence[Loaded]) -> dict[str, bytes]:
    """Return index.html and studies.csv; classes.md and a figure where classes differ."""
    figure = _figure(studies)
    contents = {"index.html": _index(studies, figure), "studies.csv": _csv(studies)}
    if series := _by_classes(studies):
        contents["classes.md"] = markdown(_table(series))[1:].encode()
    return contents | (figure.files() if figure and figure.name == "classes" else {})


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
        "t-interval. Each seed draws its own classes; fewer classes have fewer training images.",
    )
    title = f"Accuracy against the number of classes: {whole_task(series[0].frame)}"
    return TextTable(title, header, (*rows, chance), caption, (), fixed=1)


def _figure(studies: Sequence[Loaded]) -> Figure | None:
    """Return accuracy against the number of classes; of studies that differ otherwise, side by side."""
    if series := _by_classes(studies):
        counts = [classes(study) for study in series]
        lines = {name: list(zip(counts, groups, strict=True)) for name, groups in _lines(series).items()}
        return drawn.against_classes(lines, {n: 100 / n for n in counts})
    levels = {study.name: sparsities(study.groups) for study in studies}
    shared = set.intersection(*(set(level) for level in levels.values()))
    if not shared:
        return None
    at = sorted(shared)[len(shared) // 2]
    found: dict[str, list[tuple[str, Group | None]]] = {}
    for study, name in zip(studies, _brief([study.name for study in studies]), strict=True):
        for group in study.groups:
            if group.role == "dense" or (group.role == "pruned" and group.sparsity == at):
                found.setdefault(formats.label(group), []).append((name, group))
    return (
        drawn.side_by_side(found)
        if any(g and g.sound for points in found.values() for _, g in points)
        else None
    )


def _brief(names: Sequence[str]) -> list[str]:
    """Return the names without the words that all begin with: `lenet5-cpu` of `no-retraining-lenet5-cpu`."""
    words = [name.split("-") for name in names]
    same = 0
    while all(len(w) > same + 1 and w[same] == words[0][same] for w in words):
        same += 1
    return ["-".join(w[same:]) for w in words]


def _index(studies: Sequence[Loaded], figure: Figure | None) -> bytes:
    """Return a page that links the studies' pages, each with its answer."""
    answers = {
        s.name: effects.answer(s.effects, winners(s.groups)) or "Nothing is done yet." for s in studies
    }
    questions = list(dict.fromkeys(asked for s in studies if (asked := own_question(s))))
    drawn_ones = [figure] if figure else []
    parts = {
        "title": questions[0] if len(questions) == 1 else "Pruning studies",
        "answer": f"{studies[0].name}: {answers[studies[0].name]}",
        "figures": drawn_ones,
        "studies": [(s.name, task(s.frame), answers[s.name]) for s in studies],
    }
    return page("index.html.j2", parts, drawn_ones)
