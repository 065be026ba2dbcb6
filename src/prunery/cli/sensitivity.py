"""The command that scans one network: `sensitivity`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from prunery.cli.network import Network, network
from prunery.cli.options import (
    STORE,
    CriterionOption,
    DataOption,
    ExcludeOption,
    GranularityOption,
    ModelArgument,
    StoreOption,
    console,
)
from prunery.errors import INTERRUPTED, DataError, ModelError, PruneryError

if TYPE_CHECKING:
    from rich.console import Console

    from prunery.data.splits import Split, Splits
    from prunery.measure.sensitivity import Sensitivity

_LINE_SECONDS = 15.0

SetName = Annotated[str, typer.Option("--data", metavar="NAME", help="The image set that it classifies.")]
OutOption = Annotated[str, typer.Option("-o", "--out", metavar="DIR", help="Where the files go.")]
WeightsOption = Annotated[
    str | None,
    typer.Option("--weights", metavar="FILE", help="Its weights: safetensors, .pt or prunery's."),
]
KeyOption = Annotated[
    str | None, typer.Option("--key", metavar="KEY", help="A finished train, prune or recover step.")
]
UntrainedOption = Annotated[bool, typer.Option("--untrained", help="Fresh weights, from the seed.")]
SparsitiesOption = Annotated[
    str, typer.Option("--sparsities", metavar="LIST", help="Sparsities of the layer, with commas between.")
]
ImagesOption = Annotated[
    int | None, typer.Option("--images", min=1, help="Use so many validation images; by default all.")
]
SeedOption = Annotated[
    int | None, typer.Option("--seed", help="Of the validation split and of what is drawn; by default 0.")
]
ValidationOption = Annotated[
    float, typer.Option("--validation", help="The share of the training images that is set aside.")
]


@dataclass(frozen=True)
class Asked:
    """What to scan and how."""

    network: Network
    sparsities: tuple[float, ...]
    criterion: str
    granularity: str
    exclude: tuple[str, ...]
    images: int | None


def sensitivity(
    model: ModelArgument,
    data: SetName,
    out: OutOption,
    weights: WeightsOption = None,
    store: StoreOption = STORE,
    key: KeyOption = None,
    untrained: UntrainedOption = False,
    sparsities: SparsitiesOption = "50%,75%,90%,95%,99%",
    criterion: CriterionOption = "magnitude",
    granularity: GranularityOption = "weight",
    exclude: ExcludeOption = None,
    images: ImagesOption = None,
    seed: SeedOption = None,
    validation: ValidationOption = 0.1,
    data_dir: DataOption = None,
) -> int:
    """Prune each layer of a network alone, and show what accuracy is left on validation images."""
    from prunery.core.sparsity import parse

    levels = tuple(parse(text) for text in sparsities.split(","))
    _check_method(criterion, granularity)
    chosen = network(
        model,
        data,
        weights=weights,
        key=key,
        store=store,
        untrained=untrained,
        seed=seed,
        validation=validation,
        data_dir=data_dir,
    )
    return _scan(Asked(chosen, levels, criterion, granularity, tuple(exclude or ()), images), out)


def _check_method(criterion: str, granularity: str) -> None:
    from prunery.core.criteria import criterion as criteria
    from prunery.core.granularity import granularity as granularities
    from prunery.registry import Choice

    named = Choice.parse(criterion)
    criteria.bind(Choice(named.name, {k: v for k, v in named.options.items() if k != "invert"}))
    granularities.bind(granularity)


def _scan(asked: Asked, folder: str) -> int:
    """Scan, show and write."""
    from prunery.report import sensitivity as report
    from prunery.report.text.texttable import terminal

    out, chosen = console(), asked.network
    about = report.About(chosen.model, chosen.data, chosen.source, asked.criterion, asked.granularity)
    if Path(folder).exists() and not Path(folder).is_dir():  # said before anything is computed
        raise NotADirectoryError(f"{folder} is no folder: name another with -o")
    try:
        measured = _measured(asked, out)
    except KeyboardInterrupt:
        _print(out, "stopped; nothing is written")
        return INTERRUPTED
    table = report.table(measured, about)
    for piece in terminal(table, width=out.width):
        out.print(piece)
    _print(out, "\n".join([" ".join(table.caption), *table.footnotes]))
    _print(out, "written: " + ", ".join(map(str, report.write(measured, about, folder))), whole=True)
    return 0


def _measured(asked: Asked, out: Console) -> Sensitivity:
    import torch

    from prunery.data.batches import Batches
    from prunery.measure.sensitivity import sensitivity as scan

    model, splits = asked.network.load()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    splits = splits.to(device)
    part = _some(splits, asked.images, asked.network.seed)
    example, _ = next(iter(Batches(splits.train, batch=1, seed=0)))
    with _shown(out) as on_row, _as_ours(asked.network.model):
        return scan(
            model.to(device),
            part,
            sparsities=asked.sparsities,
            criterion=asked.criterion,
            granularity=asked.granularity,
            exclude=asked.exclude,
            batches=_scored_on(asked, splits.train),
            example=example,
            seed=asked.network.seed,
            on_row=on_row,
        )


@contextmanager
def _as_ours(model: str) -> Iterator[None]:
    """Turn what a user's model raises into an error of one sentence."""
    try:
        yield
    except (PruneryError, MemoryError):
        raise
    except Exception as error:
        problem = f"it raised {type(error).__name__}: {' '.join(str(error).split())}".rstrip(".")
        raise ModelError(f"a scan of {model}", problem, "make the model work by itself first") from error


def _some(splits: Splits, count: int | None, seed: int) -> Split:
    """Return the validation images, or `count` of them, each class in proportion."""
    from dataclasses import replace

    from prunery.data.subset import fewer

    part = splits.validation
    if count is None:
        return part
    if not part.classes <= count <= len(part):
        problem = f"there are {len(part)} of {part.classes} classes"
        raise DataError(f"{count} validation images", problem, f"ask for {part.classes} to {len(part)}")
    return fewer(replace(splits, train=part), count, seed).train


def _scored_on(asked: Asked, train: Split) -> list[Any] | None:
    """Return the balanced batch of training images that the criterion is scored on, if it is on any."""
    from prunery.core.criteria import criterion as criteria
    from prunery.data.batches import balanced
    from prunery.registry import Choice

    per_class = criteria[Choice.parse(asked.criterion).name].facts.get("examples_per_class")
    return None if per_class is None else [balanced(train, per_class=per_class, seed=asked.network.seed)]


@contextmanager
def _shown(out: Console) -> Iterator[Callable[[int, int], None]]:
    """Yield what to call after each measurement: a bar on a terminal, a line now and then elsewhere."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    if not out.is_terminal:
        yield _lines(out)
        return
    columns = (
        TextColumn("scanning"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("left"),
    )
    with Progress(*columns, console=out, transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _lines(out: Console) -> Callable[[int, int], None]:
    from prunery.lab.progress import duration

    began = last = time.monotonic()

    def show(done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= _LINE_SECONDS:
            last = now
            left = duration((now - began) / done * (total - done))
            _print(out, f"{done} of {total} measured, about {left} left")

    return show


def _print(out: Console, text: str, *, whole: bool = False) -> None:
    out.print(text, markup=False, highlight=False, soft_wrap=whole)
