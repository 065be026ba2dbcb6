"""`prunery compress`: a trained network in, a pruned one out that was repaired without retraining."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from prunery.cli.called_with import ClassesOption, ShapeOption, example_of, shape_of
from prunery.cli.options import ExcludeOption, ModelArgument, say_plain
from prunery.cli.prune import (
    ScopeOption,
    SeedOption,
    SparsityOption,
    ValuesOption,
    WeightsOption,
    check_given,
)
from prunery.errors import ChoiceError, DataError, ModelError

if TYPE_CHECKING:
    from torch import nn

    from prunery.data.splits import Split
    from prunery.models.names import Shape
    from prunery.train.ladder import Progress

OutOption = Annotated[
    Path | None,
    typer.Option(
        "-o", "--out", metavar="FILE", help="Where it goes; by default WEIGHTS-pruned.prunery here."
    ),
]
ImagesOption = Annotated[
    str | None,
    typer.Option(
        "--data", metavar="NAME|FOLDER", help="Images to repair it with: a set, or a folder of files."
    ),
]
CountOption = Annotated[int, typer.Option("--images", min=16, help="How many of them are looked at.")]
LabelsOption = Annotated[
    bool, typer.Option("--labels/--no-labels", help="Whether labels are used, where there are some.")
]
StepsOption = Annotated[int, typer.Option("--steps", min=0, help="Gradient steps; 0 for none.")]
AugmentationOption = Annotated[
    str, typer.Option("--augmentation", help="Of these steps: none, flip, crop_flip.")
]
MeanOption = Annotated[
    str | None,
    typer.Option("--mean", metavar="A,B,C", help="That images are normalised by; by default their own."),
]
StdOption = Annotated[str | None, typer.Option("--std", metavar="A,B,C", help="As --mean.")]


def compress(
    model: ModelArgument,
    weights: WeightsOption,
    sparsity: SparsityOption,
    data: ImagesOption = None,
    out: OutOption = None,
    exclude: ExcludeOption = None,
    scope: ScopeOption = None,
    images: CountOption = 4096,
    labels: LabelsOption = True,
    steps: StepsOption = 300,
    augmentation: AugmentationOption = "none",
    mean: MeanOption = None,
    std: StdOption = None,
    shape: ShapeOption = None,
    classes: ClassesOption = None,
    values: ValuesOption = "float32",
    seed: SeedOption = 0,
) -> int:
    """Prune a trained network and repair it without retraining, as far as the data allow."""
    check_given(model, weights, None if data is None or Path(data).is_dir() else data)
    size = shape_of(model, shape, needed=True, what="the compression")
    assert size is not None
    statistics = _numbers("--mean", mean), _numbers("--std", std)
    target = out or Path(f"{weights.stem}-pruned.prunery")
    if not target.parent.is_dir():
        raise ModelError(f"to write {target}", f"there is no folder {target.parent}", "make it first")
    from prunery.export.container import save
    from prunery.export.weights import load_weights_
    from prunery.models.build import build
    from prunery.train.compress import compress as compressed

    network = build(model, shape=size, classes=classes)
    load_weights_(network, weights, of=model)
    network.eval()
    used, test = (None, None) if data is None else _images(data, size, images, seed)
    used, test = (None if part is None else _normalised(part, *statistics) for part in (used, test))
    if used is not None and not labels:
        used = replace(used, y=used.y.new_full((len(used),), -1))
    small, masks, report = compressed(
        network,
        sparsity,
        data=used,
        example=example_of(size, None),
        exclude=exclude,
        scope=scope,
        images=images,
        steps=steps,
        augmentation=augmentation,
        seed=seed,
        progress=_progress(),
    )
    say_plain(str(report))
    say_plain(f"{masks.kept:,} of {masks.total:,} prunable weights stay: sparsity {masks.sparsity:.4%}")
    if test is not None:
        say_plain(f"top-1 on {data} test, {len(test):,} images: {_both(network, small, test)}")
    say_plain(str(save(small, target, masks=masks, values=values)))
    return 0


def _numbers(option: str, text: str | None) -> tuple[float, ...] | None:
    if text is None:
        return None
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise ChoiceError(f"{option} {text}", "these are no numbers", "write, say, 0.5,0.5,0.5") from None


def _images(data: str, size: Shape, count: int, seed: int) -> tuple[Split, Split | None]:
    """Return the images of a folder (`count` at most) or of a set, and the test images of a set."""
    from prunery.data.folder import read_folder
    from prunery.data.images import statistics
    from prunery.data.sets import load
    from prunery.data.splits import Split

    if not Path(data).is_dir():
        images = load(data)
        about = (images.mean, images.std, images.classes)
        train, test = (
            Split(n, p.x, p.y, *about) for n, p in (("train", images.train), ("test", images.test))
        )
        return train, test
    found = read_folder(data, size, most=count, seed=seed)
    kinds = f", in {len(found.class_names)} classes" if found.class_names else ""
    scaled = f"; {found.resized:,} were scaled to {size[1]}x{size[2]}" if found.resized else ""
    say_plain(f"{len(found.x):,} images of {data}{kinds}{scaled}")
    return Split("train", found.x, found.y, *statistics(found.x), len(found.class_names)), None


def _normalised(images: Split, mean: tuple[float, ...] | None, std: tuple[float, ...] | None) -> Split:
    """Return images that these statistics normalise, where they are given; DataError if they do not fit."""
    made, channels = replace(images, mean=mean or images.mean, std=std or images.std), images.x.shape[1]
    for name, given in (("--mean", made.mean), ("--std", made.std)):
        if len(given) not in (1, channels):
            found = f"{len(given)} numbers for {channels} channels"
            raise DataError(f"{name} {given}", found, "give one for each channel, or one for all")
    if min(made.std) <= 0:
        raise DataError(f"--std {made.std}", "images are divided by it", "give numbers above 0")
    return made


def _both(dense: nn.Module, small: nn.Module, test: Split) -> str:
    from prunery.measure.accuracy import evaluate

    return f"{evaluate(dense, test).top1:.2f} % dense, {evaluate(small, test).top1:.2f} % pruned"


def _progress() -> Progress:
    """Return a function that says on standard error which rung is on its way, and how far its steps are."""
    last = ("", 0)

    def show(rung: str, part: float) -> None:
        nonlocal last
        now = (rung, int(4 * part))
        if now != last and now[1] < 4:
            print(f"{rung} ..." if not now[1] else f"{rung}: {25 * now[1]} %", file=sys.stderr, flush=True)
        last = now

    return show
