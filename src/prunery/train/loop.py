"""The one training loop. What is random is a function of (seed, epoch, step), so a killed run ends the same.

`torch.set_flush_denormal` would speed up momentum that decays towards 0, but is global: it is left alone.
"""

from __future__ import annotations

import contextlib
import copy
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from prunery.core.forward import modes_kept, no_trace, placed
from prunery.data.batches import Batches
from prunery.errors import DataError, ModelError, SpecError
from prunery.measure.accuracy import evaluate
from prunery.seeds import number
from prunery.train.epoch_totals import Tally
from prunery.train.history import EpochRow, History
from prunery.train.lr_schedule import learning_rate
from prunery.train.onednn import OneDNNLinear
from prunery.train.settings import Training
from prunery.train.state import Checkpoint, TrainState, identity

if TYPE_CHECKING:
    from prunery.core.masks import Masks
    from prunery.data.splits import Split, Splits

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
    checkpoint: Path | None = None,
    test_curves: bool = False,
    on_epoch: Callable[[EpochRow], None] | None = None,
    on_step: Callable[[float], None] | None = None,
) -> History:
    """Train the model in place; what comes back are the epochs' losses (nats) and counts.

    Data go to the model's device. The model is laid out channels-last if it can run so (the faster way for
    convolutions, on CPUs too); on a GPU it runs in bf16 autocast.
    `masks`: removed weights are exactly 0 after every step. `checkpoint`: a file to resume from; if it
    holds a state of the same training, that state replaces the model's weights. `on_epoch` is called after
    each epoch that this call trains, `on_step` after each step with the epochs behind it (2.25). The test
    split is read only for `test_curves`, after every epoch, and nothing is chosen by it. A loss that is not
    finite ends the training early (`History.diverged_at`).
    DataError, ModelError, SpecError: nothing to train or select on.
    """
    with modes_kept(model):
        job = _job(model, splits, training, seed, test_curves=test_curves)
        saver = Checkpoint(checkpoint)
        sizes = [len(job.train), len(job.validation)]
        same = identity(model, training, seed=seed, sizes=sizes, masks=masks)
        state = saver.resume(same, model, job.optimizer) or TrainState(same)
        with masks.enforce(job.optimizer, model) if masks is not None else contextlib.nullcontext():
            while state.epoch < training.epochs and state.diverged_at is None:
                _train_epoch(job, state, saver, on_step)
                _finish_epoch(job, state)
                if saver.due(BETWEEN_EPOCHS) or state.epoch == training.epochs:
                    saver.save(state, model, job.optimizer)
                if on_epoch is not None:
                    on_epoch(state.rows[-1])
        job.optimizer.zero_grad(set_to_none=True)
    if state.best:
        model.load_state_dict(state.best)
    return state.history()


@dataclass(frozen=True)
class _Job:
    model: nn.Module
    train: Split
    validation: Split
    test: Split | None
    training: Training
    seed: int
    device: torch.device
    dtype: torch.dtype
    channels_last: bool
    optimizer: torch.optim.Optimizer

    @property
    def gpu(self) -> bool:
        return self.device.type == "cuda"

    @property
    def steps(self) -> int:
        """Per epoch."""
        return math.ceil(len(self.train) / self.training.batch)

    def batches(self, epoch: int, start: int) -> Batches:
        t = self.training
        return Batches(
            self.train,
            batch=t.batch,
            augmentation=t.augmentation,
            seed=self.seed,
            epoch=epoch,
            shuffle=True,
            start=start,
        )

    def rate(self, epoch: int, step: int) -> float:
        total = self.steps * self.training.epochs
        return learning_rate(epoch * self.steps + step, total=total, training=self.training)


def _job(
    model: nn.Module, splits: Splits, training: Training, seed: int, *, test_curves: bool = False
) -> _Job:
    if not len(splits.train):
        raise DataError("training", "the training split is empty", "give it examples")
    if training.select == "validation" and not len(splits.validation):
        raise SpecError(
            "select='validation'",
            "the validation split is empty",
            "keep a validation split, or select='last'",
        )
    parameters = [p for p in model.parameters() if p.requires_grad]
    if not parameters:
        raise ModelError("training", "no parameter of the model requires a gradient", "unfreeze some")
    device = parameters[0].device
    train, validation = splits.train.to(device), splits.validation.to(device)
    last = _laid_out(model, train)
    optimizer = _optimizer(parameters, training, device)
    test = splits.test.to(device) if test_curves else None
    return _Job(model, train, validation, test, training, seed, device, parameters[0].dtype, last, optimizer)


def _laid_out(model: nn.Module, train: Split) -> bool:
    """Whether the model is laid out channels-last now; not if it has a `view` that this would break.

    A copy is tried: once laid out, a model with single channels would not come back to where it was.
    """
    x = placed(next(iter(Batches(train, batch=2, seed=0)))[0], model)
    if x.dim() != 4 or not any(p.dim() == 4 for p in model.parameters()):
        return False
    try:
        trial = copy.deepcopy(model).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        with no_trace(trial), torch.no_grad():
            trial(x.contiguous(memory_format=torch.channels_last))
    except (RuntimeError, TypeError):  # if it takes no such images at all, training says so
        return False
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return True


def _optimizer(parameters: list[nn.Parameter], training: Training, device: torch.device) -> Any:
    # fused is the fastest on CPU too, and gives the same bits each time
    # (lenet300, batch 128, one thread, microseconds a step: sgd 141 fused, 219 plain; adam 229 and 622)
    common: dict[str, Any] = {
        "lr": training.learning_rate,
        "weight_decay": training.weight_decay,
        "fused": device.type in ("cpu", "cuda"),
    }
    if training.optimizer == "sgd":
        return torch.optim.SGD(parameters, momentum=training.momentum, nesterov=training.nesterov, **common)
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[training.optimizer]
    return kind(parameters, **common)


def _train_epoch(
    job: _Job, state: TrainState, saver: Checkpoint, on_step: Callable[[float], None] | None
) -> None:
    done = state.tally.totals.steps
    if done == job.steps:  # it was saved between the last step and the validation
        return
    job.model.train()
    watch = _Watch(state)
    with _own_noise(job, state.epoch) as draw_for:
        for step, (x, y) in enumerate(job.batches(state.epoch, done), start=done):
            draw_for(step)
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


@contextlib.contextmanager
def _own_noise(job: _Job, epoch: int) -> Iterator[Callable[[int], None]]:
    """Dropout and the like draw from torch's global generators: these are seeded per step, then put back."""
    with torch.random.fork_rng(devices=[job.device] if job.gpu else []):
        generators = [torch.default_generator]
        if job.gpu:
            generators.append(torch.cuda.default_generators[job.device.index])

        def draw_for(step: int) -> None:
            for generator in generators:  # torch.manual_seed would reach every device, and is slow
                generator.manual_seed(number(job.seed, "noise", epoch, step))

        yield draw_for


def _step(job: _Job, state: TrainState, x: Tensor, y: Tensor, rate: float) -> None:
    for group in job.optimizer.param_groups:
        group["lr"] = rate
    if job.channels_last:
        x = x.contiguous(memory_format=torch.channels_last)
    with torch.autocast("cuda", torch.bfloat16) if job.gpu else contextlib.nullcontext():
        with OneDNNLinear():  # around the model alone: the mode sees every call of torch
            output = job.model(x.to(job.dtype))
        logits = getattr(output, "logits", output)
        loss = nn.functional.cross_entropy(logits, y, label_smoothing=job.training.label_smoothing)
    job.optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    if job.training.clip_norm is not None:
        nn.utils.clip_grad_norm_(job.model.parameters(), job.training.clip_norm)
    job.optimizer.step()
    state.tally.add(loss, logits, y)


def _finish_epoch(job: _Job, state: TrainState) -> None:
    watch = _Watch(state)
    totals = state.tally.settle()
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
    )
    if totals.bad is not None:
        state.diverged_at = state.epoch * job.steps + totals.bad
    if job.training.select == "validation" and _better(row, state):
        state.best_epoch = row.epoch
        state.best = {name: value.detach().clone() for name, value in job.model.state_dict().items()}
    state.rows.append(row)
    state.epoch += 1
    state.tally = Tally()


def _better(row: EpochRow, state: TrainState) -> bool:
    return (
        not state.best_epoch or row.validation_correct > state.rows[state.best_epoch - 1].validation_correct
    )
