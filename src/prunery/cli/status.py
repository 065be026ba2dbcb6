"""The command `status`: what a store holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prunery.cli.options import (
    STORE,
    StoreOption,
    console,
    print_text,
)

if TYPE_CHECKING:
    from prunery.report.results.study import Source


def status(store: StoreOption = STORE) -> int:
    """Show what a store holds, what is running and what failed."""
    from prunery.lab import archive

    opened = archive.opened(store)
    out = console()
    failures = opened.failures()
    for name in opened.studies():
        print_text(out, _study_line(name, opened))
    print_text(
        out, f"{sum(1 for _ in opened.finished())} steps in {store}, {len(opened.running())} running now"
    )
    for failure in failures:
        print_text(out, f"failed: {failure.kind} {failure.key} (tries: {failure.tries}): {failure.reason}")
    return int(bool(failures))


def _study_line(name: str, store: Source) -> str:
    from prunery.lab.archive import plan_of

    steps = plan_of(store, name).steps
    done = sum(store.has(key) for key in steps)
    failed = sum(store.failed(key) is not None for key in steps)
    return f"study {name}: {done} of {len(steps)} steps done" + (f", {failed} failed" if failed else "")
