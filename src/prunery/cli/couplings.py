"""`prunery couplings`: which channels of a network go together, and which must stay."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from prunery.cli.options import say_plain
from prunery.errors import ModelError

if TYPE_CHECKING:
    from prunery.models.names import Shape

ModelArgument = Annotated[
    str, typer.Argument(metavar="MODEL", help="A model's name, or package.module:factory.")
]
ShapeOption = Annotated[
    str | None,
    typer.Option("--shape", metavar="CxHxW", help="Of one image; by default that of the published form."),
]
ClassesOption = Annotated[int | None, typer.Option("--classes", min=1, help="Outputs of the model.")]
ExampleOption = Annotated[
    str | None,
    typer.Option(
        "--example", metavar="MODULE:FUNCTION", help="Gives what the model is called with, if not an image."
    ),
]


def couplings(
    model: ModelArgument,
    shape: ShapeOption = None,
    classes: ClassesOption = None,
    example: ExampleOption = None,
) -> int:
    """Show which channels of a network go together and why, one line for each group."""
    from prunery.models import names

    names.check(model)
    names.check_there(model)
    size = _shape(model, shape, needed=example is None)
    _show(model, size, classes, example)
    return 0


def _shape(model: str, given: str | None, *, needed: bool) -> Shape | None:
    """Return the shape of an image: the one that was given, or that of the model's published form."""
    from prunery.models.names import MODELS

    if given is not None:
        try:
            channels, height, width = map(int, given.lower().split("x"))
        except ValueError:
            do = "write channels x height x width, such as 3x32x32"
            raise ModelError(f"--shape {given}", "it is no image shape", do) from None
        return channels, height, width
    if model in MODELS:
        return MODELS[model].shape
    if needed:
        do = "say --shape 3x224x224, or --example module:function for anything but images"
        raise ModelError(f"the couplings of {model!r}", "what it is called with is not known", do)
    return None


def _show(model: str, shape: Shape | None, classes: int | None, example: str | None) -> None:
    from prunery.graph.couplings import couplings
    from prunery.models.build import build

    built = build(model, shape=shape, classes=classes)
    rows = couplings(built, _example(shape, example))
    for row in rows:
        say_plain(str(row))
    free = sum(not row.kept for row in rows)
    print(f"{len(rows)} groups; the channels of {free} of them may be removed")


def _example(shape: Shape | None, name: str | None) -> Any:
    """Return what the model is called with: two images, or what a function of the user's gives."""
    import torch

    from prunery.factories import resolve, working_folder

    if name is None:
        return torch.zeros(2, *(shape or ()))
    with working_folder():
        return resolve(f"--example {name}", name, ModelError)()
