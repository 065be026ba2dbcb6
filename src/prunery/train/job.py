"""What one training works with: the model where it runs, the data beside it, the optimiser, and the loss."""

from __future__ import annotations

import contextlib
import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from prunery.data.batches import Batches
from prunery.errors import DataError, ModelError, SpecError
from prunery.forward import no_trace, placed, stand_ins_for, standing_in
from prunery.seeds import number
from prunery.train.lr_schedule import learning_rate
from prunery.train.onednn import OneDNNLinear
from prunery.train.settings import Training

if TYPE_CHECKING:
    from prunery.data.splits import Split, Splits


@dataclass(frozen=True)
class Job:
    """One training phase: its parts, ready to run, and what each step of it is given."""

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
        """Whether the model is on a GPU."""
        return self.device.type == "cuda"

    @property
    def steps(self) -> int:
        """Steps per epoch."""
        return math.ceil(len(self.train) / self.training.batch)

    @property
    def total(self) -> int:
        """Steps in all epochs."""
        return self.steps * self.training.epochs

    def batches(self, epoch: int, start: int) -> Batches:
        """Return the batches of an epoch (from 0) from number `start` on."""
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
        """Return the learning rate of a step of an epoch, both from 0."""
        return learning_rate(epoch * self.steps + step, total=self.total, training=self.training)

    def loss(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean training loss () of a batch, with its graph, and the logits (b, classes)."""
        if self.channels_last:
            x = x.contiguous(memory_format=torch.channels_last)
        half = self.training.precision == "bfloat16"
        autocast = torch.autocast(self.device.type, torch.bfloat16) if half else contextlib.nullcontext()
        with autocast, OneDNNLinear():  # around the model alone: the mode sees every call of torch
            output = self.model(x.to(self.dtype))
        logits = getattr(output, "logits", output)
        if half:  # the loss is one of single precision
            logits = logits.to(self.dtype)
        loss = nn.functional.cross_entropy(logits, y, label_smoothing=self.training.label_smoothing)
        return loss, logits

    @contextlib.contextmanager
    def noise(self) -> Iterator[Callable[..., None]]:
        """Yield a function that seeds torch's global generators from a path; on exit they are as before.

        Dropout and the like draw from these: they are seeded before each step.
        """
        with torch.random.fork_rng(devices=[self.device] if self.gpu else []):
            generators = [torch.default_generator]
            if self.gpu:
                generators.append(torch.cuda.default_generators[self.device.index])

            def draw_for(*path: str | int) -> None:
                for generator in generators:  # torch.manual_seed would reach every device, and is slow
                    generator.manual_seed(number(self.seed, *path))

            yield draw_for

    def gradient(self, step: int) -> dict[str, Tensor]:
        """Return the gradient of the training loss on the batch of step `step` (from 0, over all epochs).

        By parameter name, masked weights included, shaped like the parameters. The step has its own dropout;
        nothing of the model changes. After the last step it is the first batch of one epoch more.
        """
        epoch, start = divmod(step, self.steps)
        x, y = next(iter(self.batches(epoch, start)))
        stand_ins = stand_ins_for(self.model, {}, self.device)
        trained = {n: stand_ins[id(p)] for n, p in self.model.named_parameters() if p.requires_grad}
        weights = [weight.requires_grad_() for weight in trained.values()]
        with self.noise() as draw_for, standing_in(self.model, stand_ins), torch.enable_grad():
            draw_for("noise", epoch, start)
            loss, _ = self.loss(x, y)
            found = torch.autograd.grad(loss, weights, allow_unused=True)
        pairs = zip(trained.items(), found, strict=True)
        return {name: torch.zeros_like(w) if g is None else g for (name, w), g in pairs}


def job_of(
    model: nn.Module, splits: Splits, training: Training, seed: int, *, test_curves: bool = False
) -> Job:
    """Return the job of training `model`, which may be laid out anew; DataError, ModelError, SpecError."""
    if not len(splits.train):
        raise DataError("training", "the training split is empty", "give it examples")
    if training.reads_validation and not len(splits.validation):
        raise SpecError(
            "select='validation', or stop_at",
            "the validation split is empty",
            "keep a validation split, or leave them out",
        )
    parameters = [p for p in model.parameters() if p.requires_grad]
    if not parameters:
        raise ModelError("training", "no parameter of the model requires a gradient", "unfreeze some")
    device = parameters[0].device
    train, validation = splits.train.to(device), splits.validation.to(device)
    last = laid_out(model, next(iter(Batches(train, batch=2, seed=0)))[0])
    optimizer = _optimizer(parameters, training, device)
    test = splits.test.to(device) if test_curves else None
    return Job(model, train, validation, test, training, seed, device, parameters[0].dtype, last, optimizer)


def laid_out(model: nn.Module, x: Tensor) -> bool:
    """Lay the model out channels-last if it takes images x; not if it has a `view` that this would break.

    Returns whether that was done. A copy is tried: once laid out, a model with single channels would not come
    back to where it was.
    """
    x = placed(x, model)
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
