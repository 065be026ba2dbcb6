"""The command `status`: what a store holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prunery.cli.options import (
    STORE,
    StoreOption,
    console,
    print_text,
)
from prunery.errors import PruneryError

if TYPE_CHECKING:
    from prunery.report.results.study import Source


def status(store: StoreOption = STORE) -> int:
    """Show what a store holds, what is running and what failed."""
    from prunery.lab import archive

    opened = archive.opened(store)
    out = console()
    failures, wrong = opened.failures(), False
    for name in opened.studies():
        try:
            print_text(out, _study_line(name, opened))
        except PruneryError as error:  # the other studies are shown all the same
            wrong = True
            print_text(out, str(error))
    print_text(
        out, f"{sum(1 for _ in opened.finished())} steps in {store}, {len(opened.running())} running now"
    )
    for failure in failures:
        print_text(out, f"failed: {failure.kind} {failure.key} (tries: {failure.tries}): {failure.reason}")
    return int(wrong or bool(failures))


def _study_line(name: str, store: Source) -> str:
    from prunery.lab.archive import plan_of

    steps = plan_of(store, name).steps
    done = sum(store.has(key) for key in steps)
    failed = sum(store.failed(key) is not None for key in steps)
    return f"study {name}: {done} of {len(steps)} steps done" + (f", {failed} failed" if failed else "")
