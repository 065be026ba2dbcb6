"""A ladder of recoveries: each rung works on a copy of the best network so far, and is kept if it is better.

Better means a lower error on examples that no rung sees.
"""

from __future__ import annotations

import copy
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from prunery.core.context import first_tensor
from prunery.core.masks import Masks
from prunery.core.prune import prune
from prunery.core.sparsity import Wanted
from prunery.data.batches import Batches
from prunery.errors import ChoiceError, EvidenceError, ModelError
from prunery.forward import eval_mode, placed
from prunery.registry import Choice
from prunery.train.alignment import distance
from prunery.train.calibration import Calibration
from prunery.train.recovery import recovery
from prunery.train.recovery_context import RecoveryContext

Progress = Callable[[str, float], None]
_IMPOSSIBLE = (ChoiceError, EvidenceError, ModelError)


@dataclass(frozen=True)
class Rung:
    """What one rung gave and cost.

    error: on the held-out examples, None where the rung was not possible. agreement: percent of the held-out
    examples with the dense network's class, or with labels the accuracy; None where outputs are no classes.
    memory: the largest so far of the whole process, in MB, None where the system does not say. note: what the
    rung says of itself, or why it was not possible.
    """

    name: str
    error: float | None
    agreement: float | None
    kept: bool
    examples: int
    labels: bool
    steps: int
    seconds: float
    memory: float | None
    note: str = ""


@dataclass(frozen=True)
class Report:
    """The rungs in the order in which they were tried, and the dense network; printed, it is a table."""

    rungs: tuple[Rung, ...]
    dense: tuple[float, float | None] | None  # its error and agreement
    labelled: bool
    held: int

    @property
    def error(self) -> float | None:
        """Return the error of what was kept, on the held-out examples; None where there were none."""
        kept = [rung.error for rung in self.rungs if rung.kept]
        return kept[-1] if kept else None

    def __str__(self) -> str:
        """Return a table, a line for each rung."""
        if not self.rungs:
            return "no examples were given: nothing was repaired, and nothing is known of the outputs"
        error, share = ("cross entropy", "accuracy %") if self.labelled else ("error", "as dense %")
        head = ["rung", error, share, "kept", "examples", "labels", "steps", "seconds", "peak MB"]
        dense = [] if self.dense is None else [["dense", *_numbers(*self.dense), *[""] * 6]]
        cells = [head, *dense, *map(_cells, self.rungs)]
        widths = [max(len(row[i]) for row in cells) for i in range(len(head))]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in cells
        ]
        notes = [f"{rung.name}: {rung.note}" for rung in self.rungs if rung.error is None]
        return "\n".join([*lines, f"measured on {self.held} examples that no rung saw", *notes])


def _numbers(error: float | None, agreement: float | None) -> tuple[str, str]:
    share = "" if agreement is None else f"{agreement:.2f}"
    return "not possible" if error is None else f"{error:.4g}", share


def _cells(rung: Rung) -> list[str]:
    """Return a rung's line of the table, cell by cell."""
    return [
        rung.name,
        *_numbers(rung.error, rung.agreement),
        "yes" if rung.kept else "no",
        f"{rung.examples:,}",
        "yes" if rung.labels else "no",
        f"{rung.steps}",
        f"{rung.seconds:.1f}",
        "" if rung.memory is None else f"{rung.memory:,.0f}",
    ]


@dataclass(frozen=True)
class _Inputs:
    """Batches of what a model is called with; they can be read again."""

    examples: Calibration
    model: nn.Module

    def __iter__(self) -> Iterator[Tensor]:
        for x, _ in Batches(self.examples.used, batch=128, seed=0):
            yield placed(x, self.model)


class Ladder:
    """The best network so far, its masks, and the rungs that were tried. `dense` is never changed."""

    def __init__(self, dense: nn.Module, examples: Calibration, *, seed: int, progress: Progress) -> None:
        self.dense, self.examples, self._seed, self._progress = dense, examples, seed, progress
        self.model: nn.Module | None = None
        self.masks: Masks | None = None
        self.rungs: list[Rung] = []
        self._best = float("inf")
        self._targets = [self._output(dense, x) for x, _ in self._held()]

    def best(self) -> tuple[nn.Module, Masks]:
        """Return the best network so far and its masks."""
        assert self.model is not None
        assert self.masks is not None
        return self.model, self.masks

    def report(self) -> Report:
        """Return what was tried so far."""
        return Report(
            tuple(self.rungs), self._measured(self.dense), self.examples.labelled, len(self.examples.held)
        )

    def start(
        self, name: str, sparsity: Wanted, choices: Mapping[str, Any], actions: Sequence[str | Choice]
    ) -> None:
        """Prune a copy of the dense network as `choices` say, and repair it by these actions."""

        def work() -> tuple[nn.Module, Masks, list[str]]:
            model = copy.deepcopy(self.dense)
            masks = prune(model, sparsity, batches=_Inputs(self.examples, model), seed=self._seed, **choices)
            return model, masks, self._act(name, model, masks, actions)

        self._try(name, work, labels=False, steps=0)

    def climb(
        self, name: str, actions: Sequence[str | Choice], *, steps: int = 0, labels: bool = False
    ) -> None:
        """Repair a copy of the best network by these actions."""
        best, masks = self.best()

        def work() -> tuple[nn.Module, Masks, list[str]]:
            model = copy.deepcopy(best)
            return model, masks, self._act(name, model, masks, actions)

        self._try(name, work, labels=labels, steps=steps)

    def _act(self, name: str, model: nn.Module, masks: Masks, actions: Sequence[str | Choice]) -> list[str]:
        context = RecoveryContext(
            model,
            masks,
            self.examples.splits(),
            seed=self._seed,
            networks={"dense": lambda: copy.deepcopy(self.dense)},
            on_step=lambda done, of: self._progress(name, done / of),
        )
        for action in actions:
            recovery.bind(action)(context)
        return context.book.notes

    def _try(
        self, name: str, work: Callable[[], tuple[nn.Module, Masks, list[str]]], *, labels: bool, steps: int
    ) -> None:
        """Do a rung's work, measure it, and keep it if it is the best so far."""
        self._progress(name, 0.0)
        began = time.perf_counter()
        used = len(self.examples.used)
        try:
            model, masks, notes = work()
        except _IMPOSSIBLE as problem:
            if not self.rungs:  # the first must be possible
                raise
            seconds = time.perf_counter() - began
            self.rungs.append(Rung(name, None, None, False, used, labels, 0, seconds, peak(), str(problem)))
            return
        seconds = time.perf_counter() - began
        masks.verify(model)
        error, agreement = self._measured(model)
        kept = error < self._best
        if kept:
            self.model, self.masks, self._best = model, masks, error
        note = "; ".join(notes)
        self.rungs.append(Rung(name, error, agreement, kept, used, labels, steps, seconds, peak(), note))
        self._progress(name, 1.0)

    def _measured(self, model: nn.Module) -> tuple[float, float | None]:
        """Return the error on the held-out examples, and how many get the right class, in percent."""
        outputs = torch.cat([self._output(model, x) for x, _ in self._held()])
        targets, labels = torch.cat(self._targets), self.examples.held.y.to(outputs.device)
        if self.examples.labelled:
            error = functional.cross_entropy(outputs, labels)
        else:
            error = distance(outputs, targets)
        wanted = labels if self.examples.labelled else targets.argmax(1) if targets.ndim > 1 else None
        agreement = None
        if outputs.ndim == 2 and outputs.shape[1] > 1 and wanted is not None:
            agreement = 100 * float(outputs.argmax(1).eq(wanted).float().mean())
        return (float(error) if bool(error.isfinite()) else float("inf")), agreement

    def _held(self) -> Batches:
        return Batches(self.examples.held, batch=128, seed=0)

    def _output(self, model: nn.Module, x: Tensor) -> Tensor:
        with eval_mode(model), torch.no_grad():
            return first_tensor(model(placed(x, model))).float()


def peak() -> float | None:
    """Return the largest memory that this process has had, in MB; None where the system does not say."""
    if sys.platform == "win32":
        return None
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20
