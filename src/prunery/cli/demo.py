"""The command `demo`: a comparison of five criteria."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from prunery.cli.options import (
    DataOption,
    StoreOption,
    WorkersOption,
    console,
)
from prunery.cli.run import execute
from prunery.errors import INTERRUPTED, DataError

if TYPE_CHECKING:
    from rich.console import Console


def demo(store: StoreOption = "runs/demo", workers: WorkersOption = None, data_dir: DataOption = None) -> int:
    """Compare five criteria at five sparsities on LeNet-300-100, three seeds; a few minutes on two cores."""
    out = console()
    try:
        name, done = "demo", _demo_on("study:demo", store, workers, data_dir, out)
    except DataError as error:
        out.print(f"{error}\nThe digits of the package serve instead.\n", markup=False, highlight=False)
        name, done = "demo-digits", _demo_on("study:demo-digits", store, workers, None, out)
    if done == INTERRUPTED:
        return done
    _show_demo(name, Path(store), out)
    return done


def _demo_on(study: str, store: str, workers: int | None, data_dir: str | None, out: Console) -> int:
    from prunery.cli.prepared import Where, prepared
    from prunery.lab.spec import load

    where = Where(store, workers, data_dir)
    return execute(prepared(load(study), where, out, timed=False), where, out)


def _show_demo(study: str, store: Path, out: Console) -> None:
    """Print the table, the files, and what to try next."""
    from prunery.lab.store import Store
    from prunery.report import write
    from prunery.report.results import study as results

    opened = Store(store)
    studies = [results.load(opened, study)]
    folder = store.with_name(f"{store.name}-report")
    out.print()
    write.print_shown(studies, out)
    written = write.written(studies, folder)
    key = next(iter(opened.finished()))
    lines = [
        "written: " + ", ".join(map(str, written)),
        "",
        "try next:",
        f"  prunery why {key} --store {store}        where a number comes from",
        "  prunery plan study:lenet300-iterative    what a study would run",
        "  prunery run examples/compare.yaml        your own comparison; docs/spec.md says what it may hold",
    ]
    out.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)
