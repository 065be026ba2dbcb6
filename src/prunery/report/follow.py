"""A report that follows a run: shown and written again whenever a cell's status changes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from prunery.report.results.study import Loaded, Source, Wanted, load, names
from prunery.report.write import WIDTH, shown, written

if TYPE_CHECKING:
    from rich.console import Console

SECONDS = 2.0  # between two looks
Show = Callable[[Sequence[Loaded]], None]


def follow(
    store: Source,
    out: str | Path,
    study: Wanted,
    console: Console,
    *,
    texts: Sequence[str | Path] = (),
    figures: bool = False,
    columns: Sequence[str] = (),
    wait: Callable[[float], None] = time.sleep,
) -> list[Loaded]:
    """Return the studies as they were when no cell was missing any more, or at Ctrl-C; write their files.

    On a terminal the tables stay in place; elsewhere a line says what changed. `texts` and `figures`
    are written at the end, when what they show is there.
    """

    def read() -> list[Loaded]:
        return [load(store, name, columns) for name in names(store, study)]

    studies: list[Loaded] = []
    with _showing(console) as show:
        try:
            while not (studies and _over(store, studies)):
                if studies:
                    wait(SECONDS)
                studies = _look(read, studies, out, show)
        except KeyboardInterrupt:
            pass
    if studies and (texts or figures):
        written(studies, out, texts=texts, figures=figures)
    return studies


def _look(
    read: Callable[[], list[Loaded]], before: Sequence[Loaded], out: str | Path, show: Show
) -> list[Loaded]:
    """Return the studies as they are now; shown and written if they changed."""
    studies = read()
    if [s.statuses for s in studies] != [s.statuses for s in before]:
        show(studies)
        written(studies, out)
    return studies


def _over(store: Source, studies: Sequence[Loaded]) -> bool:
    """Return whether every cell is there or has failed, and nobody works on one that may yet succeed."""
    if all(study.complete for study in studies):
        return True
    missing = any("missing" in study.statuses for study in studies)
    return not missing and not store.running()


@contextmanager
def _showing(console: Console) -> Iterator[Show]:
    if not console.is_terminal:
        yield lambda studies: _line(studies, console)
        return
    from rich.console import Group
    from rich.live import Live

    width = min(console.width, WIDTH)
    with Live(console=console, auto_refresh=False, vertical_overflow="visible") as live:
        yield lambda studies: live.update(
            Group(*(part for study in studies for part in shown(study, width=width))), refresh=True
        )


def _line(studies: Sequence[Loaded], console: Console) -> None:
    for study in studies:
        counts = {s: study.statuses.count(s) for s in dict.fromkeys(study.statuses)}
        text = ", ".join(f"{n} {status}" for status, n in sorted(counts.items()))
        console.print(f"{study.name}: {len(study.statuses)} cells, {text}", markup=False, highlight=False)
