"""A study's report: files that are the same bytes for the same records, and what the terminal shows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from prunery import atomic
from prunery.report import across, page
from prunery.report.figures import all as figures_of
from prunery.report.figures.chart import ALL
from prunery.report.results.columns import recorded
from prunery.report.results.groups import REFERENCES
from prunery.report.results.study import Loaded, Source, Wanted, load, names
from prunery.report.text import (
    csv_rows,
    effects,
    latex,
    layers,
    paper_tables,
    published_tables,
    quote,
    sentences,
    tables,
)
from prunery.report.text.cautions import cautions_of
from prunery.report.text.forms import forms
from prunery.report.text.texttable import TextTable
from prunery.report.text.texttable import shown as html_free

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

WIDTH = 100


def write(
    store: Source,
    out: str | Path,
    study: Wanted = None,
    *,
    texts: Sequence[str | Path] = (),
    figures: bool = False,
    columns: Sequence[str] = (),
    paper: bool = False,
) -> list[Path]:
    """Return the paths of the files written: tables, CSV, plots, a page, `texts` with their quotes filled.

    table.md, table.tex, cells.csv, summary.csv, layers.csv, accuracy.png, accuracy.svg, report.html; texts
    are Markdown.
    With `figures`, the page's other figures too, as PNG, SVG and PDF in a folder `figures`. `columns`: rows
    of the user's own, each written `module:row`; each stands in cells.csv and summary.csv and has a table.
    `paper`: only the tables and figures that a paper needs: paper.md, paper.tex, a CSV a table.
    Without `study`, all studies of the store; several go to a folder each, with an index. Each file is whole
    or not there, and nothing is written if a text asks for what is not there. The plot needs one pruned cell
    that is done.
    """
    studies = [load(store, name, columns) for name in names(store, study)]
    return written(studies, out, texts=texts, figures=figures, paper=paper)


def written(
    studies: Sequence[Loaded],
    out: str | Path,
    *,
    texts: Sequence[str | Path] = (),
    figures: bool = False,
    paper: bool = False,
) -> list[Path]:
    """Return the paths of the files written for studies that were loaded."""
    folder = Path(out)
    contents: dict[Path, bytes] = {}
    for study in studies:
        place = folder / study.name if len(studies) > 1 else folder
        made = paper_tables.files(study) if paper else files(study)
        contents |= {place / file: content for file, content in made.items()}
        more = _drawn(study) if figures or paper else {}
        contents |= {place / "figures" / file: content for file, content in more.items()}
    if len(studies) > 1 and not paper:
        contents |= {folder / file: content for file, content in across.files(studies).items()}
    contents |= quote.copies(texts, folder, studies, taken=contents)
    for path, content in contents.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic.atomic_write(path, content)
    return list(contents)


def print_shown(studies: Sequence[Loaded], console: Console) -> None:
    """Print what a terminal shows of studies that were loaded."""
    width = min(console.width, WIDTH)
    for study in studies:
        for part in shown(study, width=width):
            console.print(part, width=width, markup=False, highlight=False)


def shown(study: Loaded, *, width: int) -> list[RenderableType]:
    """Return what a terminal shows of a study: tables, and paragraphs with an empty line after each."""
    pairs = published_tables.pairs(study.frame, study.published)
    parts: list[RenderableType] = []
    for table in (*_accuracies(study), *published_tables.tables(pairs)):
        parts += tables.terminal(table, width=width)
        parts += _paragraphs(table.footnotes, table.caption)
    warned = [f"Caution: {sentence}" for sentence in cautions_of(study.frame, study.groups)]
    return parts + _paragraphs(
        [*sentences.answers(study.groups, study.effects), *published_tables.below(pairs)], warned
    )


def files(study: Loaded) -> dict[str, bytes]:
    """Return the contents of a study's files by name."""
    cells, groups, every = study.frame, study.groups, _tables(study)
    texts = {
        "table.md": _markdown(study, every),
        "table.tex": latex.document(every),
        "cells.csv": csv_rows.csv_text(csv_rows.cell_rows(cells, study.columns)),
        "summary.csv": csv_rows.csv_text(
            csv_rows.summary_rows(cells, groups, study.published, study.columns)
        ),
        "layers.csv": csv_rows.csv_text(layers.rows(groups, study.store)),
    }
    made = {name: text.encode() for name, text in texts.items()}
    first = figures_of.first(study)
    return made | (first.files() if first else {}) | {"report.html": page.html(study)}


def _drawn(study: Loaded) -> dict[str, bytes]:
    """Return the files of all figures."""
    first = figures_of.first(study)
    drawn = [figure for found in figures_of.others(study).values() for figure in found]
    drawn = [*([first] if first else []), *drawn]
    return {name: content for figure in drawn for name, content in figure.files(ALL).items()}


def _accuracies(study: Loaded) -> list[TextTable]:
    """Return top-1 on test, and the controls that are too many to stand in that table."""
    groups = study.groups
    accuracy_tables = (
        tables.accuracy(study.frame, groups),
        tables.dense_controls(groups),
        tables.arm_controls(groups),
    )
    return [table for table in accuracy_tables if table is not None]


def _tables(study: Loaded) -> list[TextTable]:
    """Return all tables: accuracy, controls, differences, published values, other metrics, costs, forms."""
    cells, groups = study.frame, study.groups
    compared = [effects.table(study.effects), *(tables.differences(groups, r) for r in REFERENCES)]
    listed = recorded(cells, study.columns)
    others = [tables.accuracy(cells, study.groups_by(m), metric=m) for m in listed]
    published = published_tables.tables(published_tables.pairs(cells, study.published))
    made = [*_accuracies(study), *(t for t in compared if t is not None), *published, *others]
    shipped = forms(study)
    return [*made, tables.costs(groups, study.columns), *([shipped] if shipped else [])]


def _markdown(study: Loaded, every: Sequence[TextTable]) -> str:
    first, *others = [tables.markdown(table) for table in every]
    pairs = published_tables.pairs(study.frame, study.published)
    answers = [*sentences.answers(study.groups, study.effects), *published_tables.below(pairs)]
    lists = {
        "Answers": answers,
        "Cautions": cautions_of(study.frame, study.groups),
        "Runs that failed, diverged or collapsed": sentences.bad_runs(study.groups),
    }
    listed = [f"## {title}\n\n{_bullets(entries)}\n" for title, entries in lists.items() if entries]
    return "\n".join([first[1:], *listed, *others])


def _bullets(lines: Sequence[str]) -> str:
    return "\n".join(f"- {html_free(sentence)}" for sentence in lines)


def _paragraphs(*blocks: Sequence[str]) -> list[RenderableType]:
    return [part for block in blocks if block for part in (*block, "")]
