"""`prunery couplings`: which channels of a network go together, and which must stay."""

from __future__ import annotations

from prunery.cli.called_with import (
    ClassesOption,
    ExampleOption,
    ShapeOption,
    example_of,
    shape_of,
)
from prunery.cli.options import ModelArgument, say_plain


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
    size = shape_of(model, shape, needed=example is None, what="the couplings")
    from prunery.graph.couplings import couplings
    from prunery.models.build import build

    rows = couplings(build(model, shape=size, classes=classes), example_of(size, example))
    for row in rows:
        say_plain(str(row))
    free = sum(not row.kept for row in rows)
    print(f"{len(rows)} groups; the channels of {free} of them may be removed")
    return 0
