"""The one training loop. What is random is a function of (seed, epoch, step), so a killed run ends the same.

`torch.set_flush_denormal` would speed up momentum that decays towards 0, but is global: it is left alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor, nn

from prunery.errors import SpecError
from prunery.forward import modes_kept
from prunery.measure.accuracy import evaluate
from prunery.train.epoch_totals import Tally
from prunery.train.history import EpochRow, History
from prunery.train.job import Job, job_of
from prunery.train.masking import Masking
from prunery.train.settings import Training
from prunery.train.state import Checkpoint, TrainState, identity
from prunery.train.updates import MaskUpdate, description

if TYPE_CHECKING:
    from prunery.core.masks import Masks
    from prunery.data.splits import Splits

BETWEEN_EPOCHS = 1.0
"""Seconds after the last save before an epoch's end is worth another (short epochs would mostly save)."""
WITHIN_EPOCH = 60.0
"""Seconds after which a save happens within an epoch."""
CHECK_EVERY = 256
"""Steps between looks at the loss within an epoch; each look waits for the device once."""


def fit(
    model: nn.Module,
    splits: Splits,
    training: Training,
    *,
    seed: int,
    masks: Masks | None = None,
    updates: Sequence[MaskUpdate] = (),
    checkpoint: Path | None = None,
    test_curves: bool = False,
    on_epoch: Callable[[EpochRow], None] | None = None,
    on_step: Callable[[float], None] | None = None,
) -> History:
    """Train the model in place; return the epochs' losses (nats) and counts, and the masks at the end.

    Data go to the model's device. The model is laid out channels-last if it can run so (the faster way for
    convolutions, on CPUs too).
    `masks`: removed weights are exactly 0 after every step. `updates` change the masks (see `train.updates`):
    each is asked before every step whether it is due, and once more after the last one. With
    select="validation" only epochs since the number of removed weights last changed are chosen from.
    `checkpoint`: a file to resume from; if it holds a state of the same training, that state replaces the
    model's weights. `on_epoch` is called after each epoch that this call trains, `on_step` after each step
    with the epochs behind it (2.25). The test split is read only for `test_curves`, after every epoch, and
    nothing is chosen by it. A loss that is not finite ends the training early (`History.diverged_at`);
    updates that are still due then are carried out at once, or `History.unfinished` says why not.
    DataError, ModelError, SpecError: nothing to train or select on, or something that is no update.
    """
    if training.stop_at is not None and updates:
        do = "train all epochs, or change the masks before or after"
        raise SpecError("stop_at in a training that changes its masks", "they would not be finished", do)
    with modes_kept(model):
        job = job_of(model, splits, training, seed, test_curves=test_curves)
        saver = Checkpoint(checkpoint)
        state = saver.resume(_identity(job, masks, updates, saver), model, job.optimizer)
        with Masking(job, state, masks, updates) as masking:
            if not job.total:
                masking.finish(0, diverged=False)
            while state.epoch < training.epochs and not _ends(state, training):
                _train_epoch(job, state, masking, saver, on_step)
                _finish_epoch(job, state, masking)
                if saver.due(BETWEEN_EPOCHS) or state.epoch == training.epochs:
                    saver.save(state, model, job.optimizer)
                if on_epoch is not None:
                    on_epoch(state.rows[-1])
        job.optimizer.zero_grad(set_to_none=True)
    if state.best:
        model.load_state_dict(state.best)
    end = state.best_masks if state.best else state.masks
    return replace(state.history(), masks=masking.given if end is None else end)


def _ends(state: TrainState, training: Training) -> bool:
    """Return whether the training ends before its last epoch: it diverged, or is as accurate as was asked."""
    if state.diverged_at is not None:
        return True
    return training.stop_at is not None and bool(state.rows) and state.rows[-1].reaches(training.stop_at)


def _identity(job: Job, masks: Masks | None, updates: Sequence[MaskUpdate], saver: Checkpoint) -> str:
    if saver.path is None:  # nothing is resumed, so it need not be told from others
        return ""
    sizes = [len(job.train), len(job.validation)]
    texts = [description(update) for update in updates]
    return identity(job.model, job.training, seed=job.seed, sizes=sizes, masks=masks, updates=texts)


def _train_epoch(
    job: Job,
    state: TrainState,
    masking: Masking,
    saver: Checkpoint,
    on_step: Callable[[float], None] | None,
) -> None:
    done = state.tally.totals.steps
    if done == job.steps:  # it was saved between the last step and the validation
        return
    job.model.train()
    watch = _Watch(state)
    first = state.epoch * job.steps
    with job.noise() as draw_for:
        for step, (x, y) in enumerate(job.batches(state.epoch, done), start=done):
            if masking.updates and masking.due(first + step):
                if state.tally.settle().bad is not None:  # nothing is decided by weights that diverged
                    return
                masking.update(first + step)
            draw_for("noise", state.epoch, step)
            _step(job, state, x, y, job.rate(state.epoch, step))
            if on_step is not None:
                on_step(state.epoch + (step + 1) / job.steps)
            if (step + 1) % CHECK_EVERY == 0 and state.tally.settle().bad is not None:
                return
            watch.lap()
            if saver.due(WITHIN_EPOCH):
                saver.save(state, job.model, job.optimizer)
                watch = _Watch(state)


class _Watch:
    """Adds the seconds from one lap to the next to those of a training phase."""

    def __init__(self, state: TrainState) -> None:
        self._state, self._last = state, time.perf_counter()

    def lap(self) -> None:
        now = time.perf_counter()
        self._state.seconds += now - self._last
        self._last = now


def _step(job: Job, state: TrainState, x: Tensor, y: Tensor, rate: float) -> None:
    for group in job.optimizer.param_groups:
        group["lr"] = rate
    loss, logits = job.loss(x, y)
    job.optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    if job.training.clip_norm is not None:
        nn.utils.clip_grad_norm_(job.model.parameters(), job.training.clip_norm)
    job.optimizer.step()
    state.tally.add(loss, logits, y)


def _finish_epoch(job: Job, state: TrainState, masking: Masking) -> None:
    watch = _Watch(state)
    totals = state.tally.settle()
    done, diverged = state.epoch * job.steps + totals.steps, totals.bad is not None
    if diverged or done == job.total:
        masking.finish(done, diverged=diverged)
    counts = evaluate(job.model, job.validation) if len(job.validation) else None
    watch.lap()
    test = evaluate(job.model, job.test) if job.test is not None else None
    row = EpochRow(
        epoch=state.epoch + 1,
        train_loss=totals.mean_loss,
        train_correct=totals.correct,
        train_total=totals.total,
        validation_loss=counts.loss if counts else None,
        validation_correct=counts.correct1 if counts else 0,
        validation_total=counts.total if counts else 0,
        learning_rate=job.rate(state.epoch, totals.steps - 1),
        samples=totals.total + (state.rows[-1].samples if state.rows else 0),
        test_correct=test.correct1 if test else None,
        test_total=test.total if test else None,
        removed=masking.removed if masking.updates else None,
    )
    if totals.bad is not None:
        state.diverged_at = state.epoch * job.steps + totals.bad
    if job.training.select == "validation" and _better(row, state):
        state.best_epoch, state.best_masks = row.epoch, state.masks
        state.best = {name: value.detach().clone() for name, value in job.model.state_dict().items()}
    state.rows.append(row)
    state.epoch += 1
    state.tally = Tally()


def _better(row: EpochRow, state: TrainState) -> bool:
    if not state.best_epoch:
        return True
    best = state.rows[state.best_epoch - 1]
    return row.removed != best.removed or row.validation_correct > best.validation_correct
