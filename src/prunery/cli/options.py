"""Arguments and options that several commands have, and the console they write to."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from prunery.inert import inert

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from prunery.lab.spec import Spec

STORE = "runs/store"

SpecArgument = Annotated[
    str, typer.Argument(metavar="SPEC", help="A YAML file, study:NAME, or file.py:function.")
]
ModelArgument = Annotated[
    str, typer.Argument(metavar="MODEL", help="A model's name, or package.module:factory.")
]
CriterionOption = Annotated[str, typer.Option("--criterion", metavar="NAME", help="What says which to cut.")]
GranularityOption = Annotated[str, typer.Option("--granularity", metavar="NAME", help="weight, filter, ...")]
ExcludeOption = Annotated[
    list[str] | None, typer.Option("--exclude", metavar="PATTERN", help="Layers to leave out; repeatable.")
]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="A.B=VALUE", help="Change one value of the spec.")
]
ScaleOption = Annotated[
    str | None,
    typer.Option("--scale", metavar="smoke|cpu|full|gpu", help="Of a named study; cpu by default."),
]
SanityOption = Annotated[
    bool,
    typer.Option("--sanity", help="Add sanity arms: shuffled, re-initialised, inverted."),
]
StoreOption = Annotated[str, typer.Option("--store", metavar="DIR", help="Where finished steps are kept.")]
WorkersOption = Annotated[
    int | None, typer.Option("--workers", min=1, help="Steps done at once; by default one per core.")
]
EngineOption = Annotated[
    str, typer.Option("--engine", metavar="local|ray|MODULE:RUN", help="What does the steps.")
]
AddressOption = Annotated[
    str | None, typer.Option("--address", help="Of a Ray cluster (auto: this machine's); with --engine ray.")
]
TimeoutOption = Annotated[
    float | None,
    typer.Option(
        "--step-timeout", metavar="SECONDS", help="End a step that takes longer; no limit if left out."
    ),
]
DataOption = Annotated[
    str | None, typer.Option("--data-dir", metavar="DIR", help="A local mirror of the data sets.")
]


def console() -> Console:
    """Return the console for results."""
    from prunery.cli.terminal import Terminal

    return Terminal()


def say_plain(text: str, *, end: str = "\n") -> None:
    """Print a text that programs read too: line by line as it is, but for what a terminal would obey."""
    print(inert(text), end=end)


def say_error(text: str) -> None:
    """Print a text to the error output."""
    print(inert(text), file=sys.stderr)


def cores() -> int:
    """Return the processor cores that this process may use."""
    from prunery.lab.engines import local

    return local.cores()


def print_text(out: Console, text: str) -> None:
    """Print the text as it is: no markup, no colours, no line breaks of rich's own."""
    out.print(text, markup=False, highlight=False, soft_wrap=True)


def load_specs(source: str, overrides: Sequence[str] = (), *, scale: str | None = None) -> tuple[Spec, ...]:
    """Return the specs of a source after a look at the user's factories that they name; none of them runs."""
    from prunery.data.names import check_there as check_data
    from prunery.lab.spec import load_all
    from prunery.models.names import check_there as check_model

    specs = load_all(source, overrides, scale=scale)
    for spec in specs:
        check_model(spec.task.model)
        check_data(spec.task.data)
    return specs
