"""The network that a command is about: built, with weights from a file or from a step of a store."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from prunery.cli.why import matched
from prunery.errors import ChoiceError, ModelError, PruneryError, StoreError

if TYPE_CHECKING:
    from torch import nn

    from prunery.data.splits import Splits
    from prunery.lab.record import Record
    from prunery.lab.store import Store
    from prunery.lab.work.context import StepContext

KINDS = ("train", "prune", "recover")


@dataclass(frozen=True)
class Network:
    """Where a network and its data come from, checked as far as that goes without torch."""

    model: str
    data: str
    weights: Path | None
    record: Record | None  # of the step that it is taken from
    store: str
    seed: int
    validation: float  # the share set aside; a step has its own
    data_dir: str | None

    @property
    def source(self) -> str:
        """Where the weights are from, in words."""
        if self.record is not None:
            return f"step {self.record.key}"
        return f"untrained, seed {self.seed}" if self.weights is None else self.weights.name

    def load(self) -> tuple[nn.Module, Splits]:
        """Return the network, pruned as it is, and its splits: for a step, those it was trained on."""
        return _of_file(self) if self.record is None else _of_step(self, self.record)


def network(
    model: str,
    data: str,
    *,
    weights: str | None,
    key: str | None,
    store: str,
    untrained: bool,
    seed: int | None,
    validation: float,
    data_dir: str | None,
) -> Network:
    """Return the network that these arguments of a command name; the seed is by default the step's, or 0.

    ChoiceError: an unknown model or set, or not those of the step. ModelError: no weights, or several.
    StoreError: no such step, or one that holds no trained network.
    """
    from prunery.data import names as sets
    from prunery.models import names as models

    for names, name in ((models, model), (sets, data)):
        names.check(name)
        names.check_there(name)
    _check_source(model, weights, key, untrained)
    record = None if key is None else _record(store, key, model, data)
    if seed is None:
        seed = int(record.args["seed"]) if record else 0
    path = None if weights is None else Path(weights)
    return Network(model, data, path, record, store, seed, validation, data_dir)


def _check_source(model: str, weights: str | None, key: str | None, untrained: bool) -> None:
    """Check that the weights come from one place that may be there; else raise."""
    given = [weights is not None, key is not None, untrained]
    if not any(given):
        raise ModelError(
            f"the network {model!r}",
            "no weights are given, so it would be an untrained one",
            "give --weights FILE, or --store DIR --key KEY; or say --untrained",
        )
    if sum(given) > 1:
        problem = "more than one of --weights, --key and --untrained is given"
        raise ModelError(f"the network {model!r}", problem, "give one of them")
    if weights is not None and not Path(weights).is_file():
        raise ModelError(f"the weights {weights}", "there is no such file", "name a safetensors file")


def _record(store: str, key: str, model: str, data: str) -> Record:
    """Return the record of the finished step whose key begins so; it must have that model and data."""
    record = record_of(store, key)
    if record.kind == "measure":  # tables name the measured networks by it
        from prunery.lab.store import Store

        record = Store(store, create=False).record(record.parents[0])
    if (record.args["model"], record.args["data"]) != (model, data):
        what = f"it is {record.args['model']} on {record.args['data']}"
        raise ChoiceError(
            f"step {record.key} as {model} on {data}", what, "name the model and data of the step"
        )
    return record


def record_of(store: str, key: str) -> Record:
    """Return the record of the finished step whose key begins so; StoreError unless it has a network."""
    from prunery.lab.store import Store

    opened = Store(store, create=False)
    record = opened.record(matched(key, opened.finished(), store))
    if record.kind not in (*KINDS, "measure"):
        what, do = f"it is a step of kind {record.kind}", f"name one of kind {', '.join(KINDS)}"
        raise StoreError(f"the network of step {record.key}", what, do)
    return record


def _of_file(asked: Network) -> tuple[nn.Module, Splits]:
    """Return the model with the weights of the file, or fresh ones, and the splits of the seed."""
    from prunery.data.sets import load
    from prunery.data.splits import split
    from prunery.export.weights import load_weights_
    from prunery.models.build import build

    images = load(asked.data, data_dir=asked.data_dir)
    splits = split(images, validation=asked.validation, seed=asked.seed)
    model = build(asked.model, shape=images.shape, classes=images.classes, seed=asked.seed)
    if asked.weights is not None:
        load_weights_(model, asked.weights, of=f"{asked.model} for {asked.data}")
    return model, splits


def _of_step(asked: Network, record: Record) -> tuple[nn.Module, Splits]:
    """Return the step's network, pruned as it is, and the splits that it was trained with."""
    from prunery.lab.store import Store

    context = context_of(record, Store(asked.store, create=False), Path(), asked.data_dir)
    try:
        return context.model_of(record.key)[0], context.splits
    except PruneryError:
        raise
    except RuntimeError as error:  # torch: shapes that differ
        problem = f"its weights do not fit the model as it is now: {' '.join(str(error).split())}"
        raise ModelError(f"the network of step {record.key}", problem, "put the model's code back") from error


def context_of(record: Record, store: Store, scratch: Path, data_dir: str | None) -> StepContext:
    """Return the context of a step that is done."""
    from prunery.lab.step import Step
    from prunery.lab.work.context import StepContext

    if data_dir is not None:
        os.environ["PRUNERY_DATA"] = str(Path(data_dir).resolve())
    step = Step(record.key, record.kind, record.args, record.parents)  # type: ignore[arg-type]
    return StepContext(step, store, scratch, lambda epochs: None)
