"""A study's report: files that are the same bytes for the same records, and what the terminal shows."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from prunery.errors import StoreError
from prunery.lab import spec as specs
from prunery.lab.plan import plan
from prunery.lab.store import Store
from prunery.report import plots, sentences, tables
from prunery.report.captions import task
from prunery.report.compare import ABSENT, REFERENCES, Group, groups
from prunery.report.frame import frame

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

WIDTH = 100


def write(store: Store, out: str | Path, study: str | None = None) -> list[Path]:
    """The paths of the files written: table.md, cells.csv, summary.csv, accuracy.png, accuracy.svg.

    Without `study`, all studies of the store; several go to a folder each. Each file is whole or not there.
    The plot needs one pruned cell that is done.
    """
    names = _names(store, study)
    written = []
    for name in names:
        folder = Path(out) / name if len(names) > 1 else Path(out)
        folder.mkdir(parents=True, exist_ok=True)
        for file, content in _files(_frame(store, name)).items():
            written.append(_replace(folder / file, content))
    return written


def show(store: Store, study: str | None = None, console: Console | None = None) -> None:
    """Print each study's accuracy table, what its numbers are, and the answers in sentences."""
    from rich.console import Console

    console = console or Console()
    for name in _names(store, study):
        cells = _frame(store, name)
        found = groups(cells)
        table = tables.accuracy(cells, found)
        for piece in tables.terminal(table, width=min(console.width, WIDTH)):
            console.print(piece)
        for block in (table.footnotes, table.caption, sentences.answers(found)):
            for line in block:
                console.print(line, width=min(console.width, WIDTH), markup=False, highlight=False)
            if block:
                console.print()


def complete(store: Store, study: str | None = None) -> bool:
    """Whether every cell of the study (of all studies) has a record."""
    return not any(_frame(store, name)["status"].isin(ABSENT).any() for name in _names(store, study))


def _names(store: Store, study: str | None) -> list[str]:
    """The studies to report; StoreError if there is none."""
    names = [study] if study is not None else list(store.studies())
    if not names:
        raise StoreError(f"a report of {store.root}", "no study ran there yet", "run one: prunery run SPEC")
    return names


def _frame(store: Store, name: str) -> pd.DataFrame:
    return frame(plan(specs.of(store.study(name), source=f"study {name} in {store.root}")), store)


def _files(cells: pd.DataFrame) -> dict[str, bytes]:
    found = groups(cells)
    texts = {
        "table.md": _markdown(cells, found),
        "cells.csv": tables.csv_text(tables.cell_rows(cells)),
        "summary.csv": tables.csv_text(tables.summary_rows(cells, found)),
    }
    images = plots.images(found, title=f"{task(cells)}: accuracy after pruning")
    return {name: text.encode() for name, text in texts.items()} | {
        f"accuracy.{kind}": content for kind, content in images.items()
    }


def _markdown(cells: pd.DataFrame, found: list[Group]) -> str:
    compared = [tables.differences(found, reference) for reference in REFERENCES]
    shown = [tables.accuracy(cells, found), *(t for t in compared if t is not None), tables.costs(found)]
    first, *others = [tables.markdown(table) for table in shown]
    answers = "\n".join(f"- {sentence}" for sentence in sentences.answers(found))
    return "\n".join([first[1:], f"## Answers\n\n{answers}\n", *others])


def _replace(path: Path, content: bytes) -> Path:
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_bytes(content)
    os.replace(beside, path)
    return path
