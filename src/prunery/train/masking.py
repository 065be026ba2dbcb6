"""The masks of a training: enforced throughout, changed by the updates that are due."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import partial

import torch
from torch import Tensor, nn

from prunery.core.bits import clear_
from prunery.core.masks import Masks
from prunery.core.schedule import is_update
from prunery.errors import MasksError, PruneryError, SpecError
from prunery.train.job import Job
from prunery.train.state import TrainState
from prunery.train.updates import MaskUpdate, UpdateContext
from prunery.wrappers import parameter_of


class Masking:
    """A context in which a training keeps to its masks; `update` exchanges these.

    `state.masks` are the masks in force once an update has made some, else those that the training was given.
    """

    def __init__(
        self, job: Job, state: TrainState, given: Masks | None, updates: Sequence[MaskUpdate]
    ) -> None:
        for update in updates:
            if not is_update(update):
                do = "give objects with due(step, total) that are called with an UpdateContext"
                raise SpecError("updates of a training", f"{update!r} is no mask update", do)
        self.updates = tuple(updates)
        self.given = (given or Masks({})).fitted(job.model).to(job.device) if updates else given
        self._job, self._state, self._hooks = job, state, ExitStack()
        if state.masks is not None:
            state.masks = state.masks.to(job.device)

    @property
    def masks(self) -> Masks | None:
        """The masks in force; None if the training has none."""
        return self.given if self._state.masks is None else self._state.masks

    def __enter__(self) -> Masking:
        self._enforce()
        return self

    def _enforce(self) -> None:
        if self.masks is not None:
            self._hooks.enter_context(self.masks.enforce(self._job.optimizer, self._job.model))

    def __exit__(self, *_: object) -> None:
        self._hooks.close()

    @property
    def removed(self) -> int:
        """Weights that the masks in force remove."""
        masks = self._current()
        return masks.total - masks.kept

    def due(self, step: int) -> bool:
        """Return whether an update is due before step `step` (from 0, over all epochs)."""
        return any(update.due(step, self._job.total) for update in self.updates)

    def update(self, step: int) -> None:
        """Carry out what is due before step `step`, in train mode, each update on what the last one left."""
        job = self._job
        job.model.train()
        gradient = partial(job.gradient, step)
        for update in self.updates:
            if update.due(step, job.total):
                context = UpdateContext(job.model, self._current(), step, job.total, job.seed, gradient)
                with job.noise() as draw_for:
                    draw_for("update", step)
                    masks = update(context)
                self._change(masks)

    def finish(self, step: int, *, diverged: bool) -> None:
        """Carry out the updates from step `step` on, so that the masks end as they were asked for.

        More than one is left only after a divergence. Then weights may be NaN, which nothing can score: the
        reason stands in `state.unfinished`, and the masks stay as they are.
        """
        try:
            for later in range(step, self._job.total + 1):
                if self.due(later):
                    self.update(later)
        except PruneryError as problem:
            if not diverged:
                raise
            sparsity = self._current().sparsity
            self._state.unfinished = (
                f"the masks stay at sparsity {sparsity:.6g}, as an update failed: {problem}"
            )

    def _current(self) -> Masks:
        return Masks({}) if self.masks is None else self.masks

    def _change(self, masks: Masks) -> None:
        job, before = self._job, self._current()
        if not isinstance(masks, Masks):
            found = f"it is of type {type(masks).__name__}"
            raise MasksError("what a mask update returned", found, "let it return Masks")
        masks.check(job.model)
        moved = masks.to(job.device)
        moved.coverage = masks.coverage
        reset_state_(job.optimizer, job.model, before, moved)
        self._hooks.close()
        self._state.masks = moved
        self._enforce()


def reset_state_(
    optimizer: torch.optim.Optimizer,
    model: nn.Module,
    before: Mapping[str, Tensor],
    after: Mapping[str, Tensor],
) -> None:
    """Set the optimiser's values to 0 for each weight that only one of the masks keeps, in place.

    That is momentum, and Adam's two moments. A weight that is grown begins as one that was never trained,
    whatever it was when it was dropped (the authors of RigL do this in their code, `reset_momentum`; SET
    builds a new optimiser after every change); for one that is dropped they would never be read again. Adam's
    count of steps is one for the whole parameter and goes on, so the first steps of a grown weight are not
    corrected for its short past.
    """
    for name in {**before, **after}:
        parameter = parameter_of(model, name)
        every = torch.ones_like(parameter, dtype=torch.bool)
        kept = [masks[name].to(every.device) if name in masks else every for masks in (before, after)]
        unchanged = kept[0] == kept[1]
        for value in optimizer.state.get(parameter, {}).values():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                clear_(value, unchanged)
