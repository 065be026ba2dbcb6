"""The command `report`: tables, figures and pages of studies."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from prunery.cli.options import (
    STORE,
    ScaleOption,
    StoreOption,
    console,
    print_text,
    say_error,
)
from prunery.errors import ChoiceError

if TYPE_CHECKING:
    from prunery.report.results.study import Loaded


def report(
    source: Annotated[
        str,
        typer.Argument(
            metavar="STORE|study:NAME|SPEC",
            help="A store, an archive of one, or a study that ran in --store.",
        ),
    ],
    out: Annotated[str, typer.Option("-o", "--out", metavar="DIR", help="Where the files go.")],
    store: StoreOption = STORE,
    scale: ScaleOption = None,
    study: Annotated[str | None, typer.Option("--study", help="One study; by default all.")] = None,
    texts: Annotated[
        list[str] | None,
        typer.Option(
            "--text", metavar="FILE", help="Markdown whose {{cell ...}} become numbers; repeatable."
        ),
    ] = None,
    figures: Annotated[
        bool, typer.Option("--figures", help="Write all figures of the page, as PNG, SVG and PDF.")
    ] = False,
    columns: Annotated[
        list[str] | None,
        typer.Option(
            "--column", metavar="MODULE:ROW", help="A column of your own, of this module; repeatable."
        ),
    ] = None,
    purpose: Annotated[
        Literal["paper"] | None,
        typer.Option("--for", help="paper: only its tables (Markdown, LaTeX, CSV) and figures (PDF)."),
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Follow a run until it is complete.")] = False,
) -> int:
    """Show and write the tables and the plot of a store's studies, or of one study."""
    from prunery.lab import archive
    from prunery.report import follow, write
    from prunery.report.results import study as results

    if watch and purpose:
        do = "follow the run first, then write them"
        raise ChoiceError(f"--watch with --for {purpose}", "tables of a paper are of a whole study", do)
    root, wanted = _named(source, store, study, scale)
    opened, shown = archive.opened(root), console()
    if watch:
        studies = follow.follow(
            opened, out, wanted, shown, texts=texts or (), figures=figures, columns=columns or ()
        )
        print_text(shown, f"written: {out}")
    else:
        studies = [results.load(opened, name, columns or ()) for name in results.names(opened, wanted)]
        paper = purpose == "paper"
        written = write.written(studies, out, texts=texts or (), figures=figures, paper=paper)
        write.print_shown(studies, shown)
        print_text(shown, "written: " + ", ".join(map(str, written)))
    return _end_of_report(studies)


def _named(
    source: str, store: str, study: str | None, scale: str | None
) -> tuple[str, str | list[str] | None]:
    """Return the store and the studies to report; a named study may have parts, and scales."""
    from prunery.lab import spec_source as sources
    from prunery.lab.spec import load_all

    name = source.removeprefix("study:")
    if Path(source).suffix in (".yaml", ".yml"):
        return store, [spec.name for spec in load_all(source)]
    if name == source:
        return source, study
    if name.partition("/")[0] not in sources.names():
        return store, name  # somebody's own, that ran in the store
    return store, [spec.name for spec in load_all(source, scale=scale)]


def _end_of_report(studies: Sequence[Loaded]) -> int:
    """Return the exit status; each run that did not end well is named on standard error."""
    from prunery.report.text import sentences

    for study in studies:
        for line in sentences.bad_runs(study.groups):
            say_error(line)
    return int(not all(study.complete for study in studies))
