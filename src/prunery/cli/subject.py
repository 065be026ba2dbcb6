"""The pruned network that a command ships: a model with its weights, a finished run, or what `best` wrote."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from prunery.cli.called_with import example_of, shape_of
from prunery.cli.network import context_of, record_of
from prunery.errors import ChoiceError, ModelError, StoreError

if TYPE_CHECKING:
    from torch import nn

    from prunery.core.masks import Masks
    from prunery.data.splits import Split, Splits
    from prunery.lab.record import Record
    from prunery.lab.work.context import StepContext
    from prunery.measure.accuracy import Counts

SubjectArgument = Annotated[
    str,
    typer.Argument(
        metavar="MODEL|RUN",
        help="A model's name or package.module:factory, with --weights; the key of a finished step of a "
        "store; or a folder that `prunery best` wrote.",
    ),
]
WeightsOption = Annotated[
    Path | None, typer.Option("--weights", metavar="FILE", help="Of a MODEL: safetensors, .pt, or prunery's.")
]
SetOption = Annotated[
    str | None,
    typer.Option(
        "--data", metavar="NAME", help="Images to check on and to count accuracy on; a RUN has its own."
    ),
]
SplitOption = Annotated[str, typer.Option("--split", help="Of these images: test or validation.")]

SPLITS = ("test", "validation")
RECORD = "record.json"


@dataclass(frozen=True)
class Subject:
    """A pruned network, with what is known of it. Everything is on the CPU and in eval mode."""

    title: str
    model: nn.Module  # removed weights are 0
    masks: Masks | None  # None: the zeros of the model say it
    fresh: Callable[[], nn.Module]  # what its factory makes
    dense: nn.Module | None  # before it was pruned, if that is there
    example: Any
    removable: bool  # it was pruned by units that can be cut out
    data: str | None
    split: Split | None

    @property
    def images(self) -> str:
        """The images that accuracy is counted on, in words."""
        return "" if self.split is None else f"{self.data} {self.split.name}, {len(self.split):,} images"

    def accuracy(self, call: Callable[..., Any], *, batch: int | None = None) -> Counts | None:
        """Return how a form of the network does on the images; None where there are none.

        batch: the only number of examples that it takes at once.
        """
        from prunery.export.program import padded
        from prunery.measure.accuracy import evaluate

        if self.split is None:
            return None
        return evaluate(call if batch is None else padded(call, batch), self.split, batch=batch or 250)

    def inputs(self, count: int) -> list[Any]:
        """Return up to `count` of the images in batches, normalised."""
        from prunery.data.batches import Batches

        if self.split is None:
            return []
        batches = Batches(self.split, batch=min(count, 64), seed=0)
        return [x for (x, _), _ in zip(batches, range(-(-count // 64)), strict=False)]


@dataclass(frozen=True)
class Asked:
    """What a command was given, checked as far as that goes without torch."""

    name: str
    weights: Path | None
    store: str
    shape: str | None
    classes: int | None
    example: str | None
    data: str | None
    split: str
    data_dir: str | None

    def checked(self) -> Asked:
        """Return it; raise where something cannot be: an unknown model, set or split, no weights, no run."""
        from prunery.data import names as sets

        if self.split not in SPLITS:
            raise ChoiceError(
                f"--split {self.split}", "there is none of that name", f"choose {', '.join(SPLITS)}"
            )
        if self.data is not None:
            sets.check(self.data)
            sets.check_there(self.data)
        if not self.is_model:
            self._check_run(self.record)
            return self
        if self.weights is None:
            do = "give --weights FILE, or the key of a finished step of --store instead of a model"
            raise ModelError(f"the network {self.name!r}", "no weights are given", do)
        if not self.weights.is_file():
            raise ModelError(f"the weights {self.weights}", "there is no such file", "name one")
        if self.data is None and self.example is None:
            shape_of(self.name, self.shape, needed=True, what="the inputs")
        return self

    @property
    def is_model(self) -> bool:
        """Return whether a model is named, not a run; ChoiceError where it is neither."""
        from prunery.factories import is_factory
        from prunery.models import names

        if self.name in names.MODELS or is_factory(self.name):
            names.check_there(self.name)
            return True
        looks_like_a_key = set(self.name) <= set("0123456789abcdef")
        if not looks_like_a_key and not Path(self.name).is_dir():
            names.check(self.name)
        return False

    @cached_property
    def record(self) -> Record:
        """Return the record of the run; StoreError where there is none, or it holds no network."""
        from prunery.lab.record import from_json

        folder = Path(self.name)
        if not folder.is_dir():
            return record_of(self.store, self.name)
        if not (folder / RECORD).is_file():
            do = "give a folder that `prunery best` wrote, a key, or a model with --weights"
            raise StoreError(f"the network in {folder}", f"it has no {RECORD}", do)
        return from_json((folder / RECORD).read_text(encoding="utf-8"), source=str(folder / RECORD))

    def _check_run(self, record: Record) -> None:
        own = record.args["data"]
        if self.data not in (None, own):
            raise ChoiceError(f"--data {self.data}", f"the run is on {own}", "leave it out")
        for option in ("weights", "shape", "classes", "example"):
            if getattr(self, option) is not None:
                raise ChoiceError(f"--{option} for a run", "a run has its own", "leave it out")

    def load(self) -> Subject:
        """Return the network."""
        return _of_model(self) if self.is_model else _of_run(self, self.record)


def _of_model(asked: Asked) -> Subject:
    from prunery.data.sets import load
    from prunery.data.splits import split
    from prunery.export.weights import load_weights_
    from prunery.models.build import build

    shape, classes, splits = shape_of(asked.name, asked.shape, needed=False, what=""), asked.classes, None
    if asked.data is not None:
        images = load(asked.data, data_dir=asked.data_dir)
        splits = split(images, seed=0)
        shape, classes = (shape if asked.shape else images.shape), classes or images.classes

    def fresh() -> nn.Module:
        return build(asked.name, shape=shape, classes=classes).eval()

    assert asked.weights is not None
    model = fresh()
    load_weights_(model, asked.weights, of=asked.name)
    part = None if splits is None else getattr(splits, asked.split)
    example = (
        _two(splits) if splits is not None and asked.example is None else example_of(shape, asked.example)
    )
    title = f"{asked.name} ({asked.weights.name})"
    return Subject(title, model.eval(), None, fresh, None, example, False, asked.data, part)


def _of_run(asked: Asked, record: Record) -> Subject:
    from prunery.lab.store import Store

    folder = Path(asked.name)
    kept = folder.is_dir()
    store: Any = None if kept else Store(asked.store, create=False)
    context = context_of(record, store, folder, asked.data_dir)
    dense, removable = None, False
    if kept:
        model, masks = _of_folder(context, folder)
    else:
        model, masks = context.parent() if record.kind == "measure" else context.model_of(record.key)
        dense, removable = _dense(context, record), context.removes(record.key)
    models = [None if net is None else net.cpu().eval() for net in (model, dense)]
    assert models[0] is not None

    def fresh() -> nn.Module:
        return context.built(context.seed).cpu().eval()

    title = f"{record.args['model']} on {record.args['data']} ({folder if kept else record.key[:12]})"
    masks = None if masks is None else masks.to("cpu")
    part = getattr(context.splits, asked.split)
    about = (_two(context.splits), removable, record.args["data"], part)
    return Subject(title, models[0], masks, fresh, models[1], *about)


def _of_folder(context: StepContext, folder: Path) -> tuple[nn.Module, Masks | None]:
    """Return the network that `prunery best` wrote, and its masks."""
    from prunery.core.masks import Masks
    from prunery.export.weights import load_weights_
    from prunery.lab.work.context import MASKS, WEIGHTS

    model = context.built(context.seed)
    load_weights_(model, folder / WEIGHTS, of=context.args["model"])
    return model, Masks.load(folder / MASKS) if (folder / MASKS).is_file() else None


def _dense(context: StepContext, record: Record) -> nn.Module | None:
    """Return the network before its first cut; None for one that was never pruned."""
    chain = [record]
    while chain[-1].parents:
        chain.append(context.store.record(chain[-1].parents[0]))
    cuts = [step for step in chain if step.kind == "prune"]
    return context.model_of(cuts[-1].parents[0])[0] if cuts else None


def _two(splits: Splits) -> Any:
    """Return two training images, normalised."""
    from prunery.data.batches import Batches

    return next(iter(Batches(splits.train, batch=2, seed=0)))[0]
