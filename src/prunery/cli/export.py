"""`prunery export`: a pruned network in another format, checked before it is kept."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from prunery.cli.called_with import ClassesOption, ExampleOption, ShapeOption
from prunery.cli.options import STORE, DataOption, StoreOption, say_plain
from prunery.cli.subject import Asked, SetOption, SplitOption, SubjectArgument, WeightsOption
from prunery.errors import ExportError

if TYPE_CHECKING:
    from prunery.cli.subject import Subject
    from prunery.measure.accuracy import Counts

ToOption = Annotated[str, typer.Option("--to", metavar="FORMAT", help="prunery, safetensors, onnx or pt2.")]
OutOption = Annotated[Path, typer.Option("-o", "--out", metavar="FILE", help="Where the file goes.")]
ValuesOption = Annotated[
    str, typer.Option("--values", help="Of prunery's own format: float32, float16, bfloat16 or int8.")
]
CompactOption = Annotated[
    bool | None,
    typer.Option(
        "--compact/--no-compact",
        help="Cut out what can be; by default in onnx and pt2, and in prunery where units were pruned.",
    ),
]
ToleranceOption = Annotated[
    float, typer.Option("--tolerance", help="How far outputs may differ, as a share of the largest.")
]
ImagesOption = Annotated[
    int, typer.Option("--images", min=1, help="Real images that outputs are compared on.")
]


def export(
    subject: SubjectArgument,
    to: ToOption,
    out: OutOption,
    weights: WeightsOption = None,
    store: StoreOption = STORE,
    data: SetOption = None,
    split: SplitOption = "test",
    shape: ShapeOption = None,
    classes: ClassesOption = None,
    example: ExampleOption = None,
    values: ValuesOption = "float32",
    compact: CompactOption = None,
    tolerance: ToleranceOption = 1e-4,
    images: ImagesOption = 256,
    data_dir: DataOption = None,
) -> int:
    """Write a pruned network in another format; it is kept if it computes what the masked network does."""
    asked = Asked(subject, weights, store, shape, classes, example, data, split, data_dir).checked()
    if not out.parent.is_dir():
        raise ExportError(f"to write {out}", f"there is no folder {out.parent}", "make it first")
    from prunery.export.formats import check_format
    from prunery.export.formats import export as exported

    check_format(to, values)
    found = asked.load()
    smaller = found.removable if compact is None and to == "prunery" else compact
    done = exported(
        found.model,
        out,
        to,
        found.example,
        masks=found.masks,
        inputs=found.inputs(images),
        smaller=smaller,
        values=values,
        tolerance=tolerance,
    )
    say_plain(f"{found.title}\n{done}")
    if found.split is not None:
        pair = found.accuracy(found.model), found.accuracy(done.call, batch=done.batch)
        say_plain(_accuracies(found, *pair))
    return 0


def _accuracies(found: Subject, before: Counts | None, after: Counts | None) -> str:
    """Return the accuracy of the masked network and that of the file, in a sentence."""
    assert before is not None
    assert after is not None
    more = after.correct1 - before.correct1
    change = "as many images right" if not more else f"{more:+,} images right"
    return f"top-1 on {found.images}: {before.top1:.2f} % masked, {after.top1:.2f} % in the file ({change})"
