"""The command line: a file of this folder for each command.

Nothing heavy is imported before a command needs it: help, plans and errors in a spec answer without torch.
Exit status: 0 done, 1 something failed or is missing, 2 the input is wrong, 130 stopped by Ctrl-C.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import wraps
from typing import Annotated, Any

import typer

from prunery.cli import (
    archive,
    audit,
    bench,
    best,
    compress,
    couplings,
    demo,
    export,
    plan,
    prune,
    report,
    run,
    sensitivity,
    status,
    unpack,
    why,
)
from prunery.cli.options import say_error
from prunery.errors import INTERRUPTED, PruneryError
from prunery.inert import show_all

app = typer.Typer(
    name="prunery",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        from prunery.lab.environment import library_version

        print(f"prunery {library_version()}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Prune neural networks, compare ways of pruning under one honest protocol."""


def _ending(command: Callable[..., int | None]) -> Callable[..., None]:
    """Return the command, ending the process with the status that it returns."""

    @wraps(command)
    def ended(*args: Any, **options: Any) -> None:
        try:
            status = command(*args, **options) or 0
        except KeyboardInterrupt:  # typer would say nothing
            say_error("stopped by Ctrl-C")
            status = INTERRUPTED
        raise typer.Exit(status)

    return ended


for _command in (
    demo.demo,
    run.run,
    plan.plan,
    status.status,
    why.why,
    report.report,
    sensitivity.sensitivity,
    couplings.couplings,
    audit.audit,
    archive.archive,
    best.best,
    prune.prune,
    compress.compress,
    export.export,
    bench.bench,
    unpack.unpack,
):
    app.command()(_ending(_command))


def main() -> None:
    """Run the command line and end the process with its exit status."""
    for stream in (sys.stdout, sys.stderr):
        show_all(stream)
    sys.path.append(os.getcwd())  # for the user's own package.module:factory
    try:
        app()
    except PruneryError as error:
        say_error(f"error: {error}")
        sys.exit(2)
    except OSError as error:  # a folder that cannot be written is no defect either
        where = error.filename or "a file"
        do = "Check that the folder is there, can be written and has room."
        say_error(f"error: reading or writing {where}: {error.strerror or error}. {do}")
        sys.exit(2)
