"""`prunery compress`: a trained network in, a pruned one out that was repaired without retraining."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from prunery.cli.called_with import ClassesOption, ShapeOption, shape_of
from prunery.cli.options import ExcludeOption, ModelArgument, say_plain
from prunery.cli.prune import ScopeOption, SeedOption, SparsityOption, ValuesOption, WeightsOption
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
    size = _checked(model, weights, data, shape)
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
    used, test = _examples(data, size, images, labels, statistics, seed)
    small, masks, report = compressed(
        network,
        sparsity,
        data=used,
        example=_example(size),
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


def _checked(model: str, weights: Path, data: str | None, shape: str | None) -> Shape | None:
    """Check what can be without torch and return the shape of an image; else raise."""
    from prunery.data import names as sets
    from prunery.models import names

    names.check(model)
    names.check_there(model)
    if data is not None and not Path(data).is_dir():
        sets.check(data)
        sets.check_there(data)
    if not weights.is_file():
        raise ModelError(f"the weights {weights}", "there is no such file", "name one")
    return shape_of(model, shape, needed=True, what="the compression")


def _numbers(option: str, text: str | None) -> tuple[float, ...] | None:
    if text is None:
        return None
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise ChoiceError(f"{option} {text}", "these are no numbers", "write, say, 0.5,0.5,0.5") from None


def _example(size: Shape | None) -> Any:
    import torch

    return torch.zeros(2, *(size or ()))


def _examples(
    data: str | None,
    size: Shape | None,
    count: int,
    labelled: bool,
    statistics: tuple[tuple[float, ...] | None, tuple[float, ...] | None],
    seed: int,
) -> tuple[Any, Split | None]:
    """Return what the network is repaired with, and the test images where a set has some."""
    if data is None:
        return None, None
    from dataclasses import replace

    import torch

    from prunery.data.batches import normalised
    from prunery.data.folder import read_folder
    from prunery.data.images import statistics as statistics_of
    from prunery.data.sets import load
    from prunery.data.splits import Split

    test: Split | None = None
    if Path(data).is_dir():
        assert size is not None
        found = read_folder(data, size, most=count, seed=seed)
        x, y, own = found.x, found.y, statistics_of(found.x)
        kinds = f", in {len(found.class_names)} classes" if y is not None else ""
        scaled = f"; {found.resized:,} were scaled to {size[1]}x{size[2]}" if found.resized else ""
        say_plain(f"{len(x):,} images of {data}{kinds}{scaled}")
    else:
        images = load(data)
        x, y, own = images.train.x, images.train.y, (images.mean, images.std)
        test = Split("test", images.test.x, images.test.y, *own, images.classes)
    mean, std = statistics[0] or own[0], statistics[1] or own[1]
    for name, given in (("--mean", mean), ("--std", std)):
        if len(given) not in (1, x.shape[1]):
            found_ = f"{len(given)} numbers for {x.shape[1]} channels"
            raise DataError(f"{name} {given}", found_, "give one for each channel, or one for all")
    if min(std) <= 0:
        raise DataError(f"--std {std}", "images are divided by it", "give numbers above 0")
    keep = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))[:count]
    part = Split("train", x[keep], torch.zeros(len(keep), dtype=torch.long), mean, std, 0)
    inputs = normalised(part, part.x)
    test = None if test is None else replace(test, mean=mean, std=std)
    return ((inputs, y[keep]) if labelled and y is not None else inputs), test


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
