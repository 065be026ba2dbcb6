"""What an action of a recovery works on: the pruned network, its masks, the data; and a book of what it did.

A study makes the context (`prunery.lab.work.recovering`); a script can make one by hand.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from prunery.core.layers import all_layers
from prunery.core.masks import Masks
from prunery.data.batches import Batches
from prunery.data.splits import Split, Splits
from prunery.errors import EvidenceError, ModelError
from prunery.forward import placed
from prunery.seeds import number
from prunery.train.batchnorm import estimate_
from prunery.train.history import History
from prunery.train.layer_inputs import captured
from prunery.train.loop import fit
from prunery.train.settings import Training, merged


@dataclass
class Book:
    """What an action did, as its record tells it."""

    histories: list[History] = field(default_factory=list)
    """One for each training phase, in order."""
    asked: int = 0
    """Epochs of these phases, as they were asked for."""
    counted: float = 0
    """Epochs that were trained outside of `train`."""
    samples: int = 0
    """Examples that were trained on outside of `train`."""
    read: int = 0
    """Examples that went through the network once, forward."""
    notes: list[str] = field(default_factory=list)
    apart: float = 0.0
    """Seconds in training phases, which keep their own time, and in loading networks."""

    @property
    def epochs(self) -> float:
        """Return all epochs of training, as they were asked for."""
        return self.asked + self.counted


@dataclass(frozen=True)
class RecoveryContext:
    """A pruned network and what an action may use to recover it. The masks stay in force throughout."""

    model: nn.Module
    """The pruned network; an action changes it in place."""
    masks: Masks | None
    """Its masks, which no action changes: removed weights stay exactly 0. None for a dense network."""
    data: Splits = field(repr=False)
    """The data; actions read `splits` and `images`, which check what was declared."""
    training: Training | None = None
    """The settings of the action's training; None for an action that does not train."""
    seed: int = 0
    """Where everything random of the action comes from (see `prunery.seeds.stream`)."""
    order_seed: int | None = None
    """The seed of the first training phase's orders; `seed` by default."""
    needs: frozenset[str] = frozenset({"labels", "dense", "init", "inputs"})
    """What the action declared that it reads."""
    networks: Mapping[str, Callable[[], nn.Module]] = field(default_factory=dict, repr=False)
    """How to load or build `dense`, `init` and `reinit`: each call gives a new network."""
    checkpoint: Path | None = None
    """The file that a training phase resumes from."""
    test_curves: bool = False
    """Whether the test split is read after each epoch (nothing is chosen by it)."""
    report_progress: Callable[[float], None] = field(default=lambda epochs: None, repr=False)
    """Called with the epochs done."""
    on_step: Callable[[int, int], None] = field(default=lambda done, of: None, repr=False)
    """Called with the steps done, and of how many, by an action that counts steps."""
    book: Book = field(default_factory=Book)

    @property
    def device(self) -> torch.device:
        """Return the device of the model."""
        return next(self.model.parameters()).device

    @property
    def splits(self) -> Splits:
        """Return the data with their labels; EvidenceError unless the action needs "labels"."""
        self._declared("labels")
        return self.data

    @cached_property
    def dense(self) -> nn.Module:
        """Return the trained network that was never pruned: a copy, loaded when first read."""
        self._declared("dense")
        return self._network("dense")

    def images(self, count: int = 1024, *, batch: int = 128) -> Iterator[Tensor]:
        """Yield `count` random training images without labels, normalised, in batches on the device."""
        left = count
        for x, _ in self._batches(self.data.train, batch):
            if left <= 0:
                return
            yield x[:left]
            left -= len(x)

    def train(self, training: Training | Mapping[str, Any] | None = None) -> History:
        """Train the model under its masks; return the epochs.

        training: other settings than the context's, or those that differ from them. What the step of a plan
        trains in all must be what its settings say.
        """
        self._declared("labels")
        settings = self._settings(training)
        count, before = len(self.book.histories), self.book.epochs
        order = self.seed if self.order_seed is None else self.order_seed
        path = self.checkpoint
        if count:
            order = number(order, "training", count)
            path = None if path is None else path.with_stem(f"{path.stem}-{count}")
        with self._apart():
            history = fit(
                self.model,
                self.data,
                settings,
                seed=order,
                masks=self.masks,
                checkpoint=path,
                test_curves=self.test_curves,
                on_step=lambda epochs: self.report_progress(before + epochs),
            )
        self.book.histories.append(history)
        self.book.asked += settings.epochs
        if settings.stop_at is not None and history.rows and not history.rows[-1].reaches(settings.stop_at):
            self.note(f"{settings.stop_at:g} % on validation was not reached in {len(history.rows)} epochs")
        return history

    def reset_(self, to: Literal["init", "reinit"]) -> None:
        """Set all values of the model back to those at initialisation, or to fresh ones; the masks stay."""
        if to == "init":
            self._declared("init")
        with torch.no_grad(), self._apart():
            self.model.load_state_dict(self._network(to).state_dict())
            if self.masks is not None:
                self.masks.apply_(self.model)

    def scale_to_inputs_(self) -> None:
        """Scale fresh weights as if they had been drawn for the inputs that are left: by root(all / left)."""
        with torch.no_grad():
            masks = {} if self.masks is None else dict(self.masks)
            for layer in all_layers(self.model)[0]:
                mask = masks.get(layer.name)
                if mask is not None and mask.any():
                    left = mask.flatten(1).sum(1)
                    layer.parameter.mul_((mask[0].numel() / left[left > 0].float().mean()).sqrt())

    def estimate_norms_(self) -> int:
        """Estimate batch norm's means and variances on training images; return how many images were read."""
        seen = estimate_(self.model, self.data.train, seed=self.seed)
        self.count(read=seen)
        return seen

    def layer_inputs(
        self, names: Sequence[str], *, images: int = 1024, batch: int = 128, model: nn.Module | None = None
    ) -> Iterator[dict[str, Tensor]]:
        """Return an iterator over what enters each named layer, {name: tensor}, a batch of images at a time.

        names: of modules ("fc1") or of their weights ("fc1.weight"). model: by default the pruned one; the
        layers of `dense` can be read too. No trace is left on it, and it may be changed between two batches:
        the next one goes through what it is then. A layer that is called several times in a batch gives the
        inputs of all calls, joined along the first axis.
        Raises EvidenceError unless the action needs "inputs"; ModelError for a layer that is not there, or
        that the model does not call.
        """
        self._declared("inputs")
        return self._captured(self.model if model is None else model, names, self.images(images, batch=batch))

    def count(self, *, epochs: float = 0, samples: int = 0, read: int = 0) -> None:
        """Count what a loop of the action's own did: epochs and examples trained on, examples only read."""
        self.book.counted += epochs
        self.book.samples += samples
        self.book.read += read

    def note(self, text: str) -> None:
        """Add a note to the record."""
        self.book.notes.append(text)

    def _captured(
        self, model: nn.Module, names: Sequence[str], images: Iterator[Tensor]
    ) -> Iterator[dict[str, Tensor]]:
        for x in images:
            self.count(read=len(x))
            yield captured(model, names, x)

    def _settings(self, training: Training | Mapping[str, Any] | None) -> Training:
        if isinstance(training, Training):
            return training
        if self.training is None:
            raise EvidenceError(
                "training in a recovery action", "its facts say that it does not train", "declare trains=True"
            )
        return self.training if training is None else merged(self.training, training)

    def _batches(self, split: Split, batch: int) -> Iterator[tuple[Tensor, Tensor]]:
        for x, y in Batches(split.to(self.device), batch=batch, seed=self.seed, shuffle=True):
            yield placed(x, self.model), y

    def _network(self, name: str) -> nn.Module:
        if name not in self.networks:
            raise ModelError(
                f"the network {name!r} of a recovery action",
                "this context knows no such network",
                f"give networks={{{name!r}: function}} to the RecoveryContext",
            )
        with self._apart():
            return self.networks[name]()

    def _declared(self, what: str) -> None:
        if what not in self.needs:
            raise EvidenceError(
                f"{what!r} in a recovery action",
                f"the action declares that it needs {' '.join(sorted(self.needs)) or 'nothing'}",
                "add it to the row's `needs`",
            )

    @contextmanager
    def _apart(self) -> Iterator[None]:
        """Seconds inside are kept out of the action's own."""
        began, nested = time.perf_counter(), self.book.apart
        try:
            yield
        finally:
            self.book.apart = nested + time.perf_counter() - began
