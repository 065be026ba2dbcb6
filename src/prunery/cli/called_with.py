"""What a model is called with: images of a shape, or what a function of the user's gives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from prunery.errors import ModelError

if TYPE_CHECKING:
    from prunery.models.names import Shape

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


def shape_of(model: str, given: str | None, *, needed: bool, what: str) -> Shape | None:
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
        raise ModelError(f"{what} of {model!r}", "what it is called with is not known", do)
    return None


def example_of(shape: Shape | None, name: str | None) -> Any:
    """Return what the model is called with: two images, or what a function of the user's gives."""
    import torch

    from prunery.factories import resolve, working_folder

    if name is None:
        return torch.zeros(2, *(shape or ()))
    with working_folder():
        return resolve(f"--example {name}", name, ModelError)()
