"""What the training tests share: a small set, small networks, and a plain loop to compare with."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from prunery.core.masks import Masks
from prunery.data.batches import Batches
from prunery.data.sets import load
from prunery.data.splits import Splits, split
from prunery.seeds import stream
from prunery.train.settings import Training
from prunery.train.updates import MaskUpdate, UpdateContext

torch.set_num_threads(1)


class StopError(Exception):
    """Raised by a test where a training is to be interrupted."""


def stop_at(calls: int) -> tuple[Any, list[int]]:
    """A forward hook that raises at the given training step (from 0), and counts the steps."""
    count = [0]

    def hook(module: nn.Module, inputs: Any) -> None:
        if module.training:
            count[0] += 1
            if count[0] == calls + 1:
                raise StopError

    return hook, count


def digits() -> Splits:
    return split(load("digits"), validation=0.1, seed=0)


def network(*, dropout: float = 0.0, seed: int = 0) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Dropout(dropout), nn.Linear(32, 10)
        )


def norm_network() -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return nn.Sequential(
            nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 10)
        )


def settings(**changes: Any) -> Training:
    return Training(
        **{"epochs": 4, "optimizer": "sgd", "learning_rate": 0.1, "lr_schedule": "cosine"} | changes
    )


def half_masks(model: nn.Module, seed: int = 5) -> Masks:
    noise = torch.Generator().manual_seed(seed)
    weights = {n: p for n, p in model.named_parameters() if p.dim() > 1}
    return Masks({n: torch.rand(p.shape, generator=noise) < 0.5 for n, p in weights.items()})


def weights(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def reference(
    model: nn.Module,
    splits: Splits,
    t: Training,
    optimizer: torch.optim.Optimizer,
    *,
    seed: int,
    masks: dict[str, Tensor] | None = None,
    clip_first: bool = False,
) -> dict[str, Any]:
    """The cosine schedule without warm-up, in the plainest loop; losses and correct answers as they come."""
    masks, named = masks or {}, dict(model.to(memory_format=torch.channels_last).named_parameters())
    total, step = t.epochs * math.ceil(len(splits.train) / t.batch), 0
    losses, correct, counted = [], 0, 0
    for name, mask in masks.items():
        named[name].data.mul_(mask)
    model.train()
    for epoch in range(t.epochs):
        correct = counted = 0
        for x, y in Batches(
            splits.train, batch=t.batch, augmentation=t.augmentation, seed=seed, epoch=epoch, shuffle=True
        ):
            optimizer.param_groups[0]["lr"] = t.learning_rate * (1 + math.cos(math.pi * step / total)) / 2
            logits = model(x.contiguous(memory_format=torch.channels_last))
            loss = nn.functional.cross_entropy(logits, y, label_smoothing=t.label_smoothing)
            optimizer.zero_grad()
            loss.backward()
            if t.clip_norm and clip_first:
                nn.utils.clip_grad_norm_(model.parameters(), t.clip_norm)
            for name, mask in masks.items():
                named[name].grad.mul_(mask)
            if t.clip_norm and not clip_first:
                nn.utils.clip_grad_norm_(model.parameters(), t.clip_norm)
            optimizer.step()
            for name, mask in masks.items():
                named[name].data.mul_(mask)
            losses.append(loss.item())
            correct, counted, step = correct + int((logits.argmax(1) == y).sum()), counted + len(y), step + 1
    return {"losses": losses, "correct": correct, "counted": counted}


@dataclass(frozen=True)
class Random:
    """A mask update of one's own: at each of `steps` it keeps half of the weights, drawn at random."""

    steps: tuple[int, ...]

    def due(self, step: int, total: int) -> bool:
        return step in self.steps

    def __call__(self, context: UpdateContext) -> Masks:
        noise = stream(context.seed, "half", context.step)
        named = {n: p for n, p in context.model.named_parameters() if p.dim() > 1}
        return Masks({n: torch.rand(p.shape, generator=noise) < 0.5 for n, p in named.items()})


class Seen:
    """An update that does what another one does, and notes each context it is given and what it returns.

    stop: the number (from 0) of the call in which it raises StopError once the masks are made.
    """

    def __init__(self, update: MaskUpdate, stop: int | None = None) -> None:
        self.update, self.stop, self.contexts, self.after = update, stop, [], []

    def __repr__(self) -> str:
        return f"Seen({self.update!r})"

    def due(self, step: int, total: int) -> bool:
        return self.update.due(step, total)

    def __call__(self, context: UpdateContext) -> Masks:
        self.contexts.append(context)
        self.after.append(self.update(context))
        if len(self.after) - 1 == self.stop:
            raise StopError
        return self.after[-1]


def updated(
    model: nn.Module,
    splits: Splits,
    t: Training,
    optimizer: torch.optim.Optimizer,
    update: MaskUpdate,
    *,
    seed: int,
    masks: dict[str, Tensor],
) -> dict[str, Tensor]:
    """As `reference`, with one update; returns the masks at the end."""
    named, step = dict(model.named_parameters()), 0
    total = t.epochs * math.ceil(len(splits.train) / t.batch)
    for name, mask in masks.items():
        named[name].data.mul_(mask)

    def change(masks: dict[str, Tensor]) -> dict[str, Tensor]:
        if not update.due(step, total):
            return masks
        new = dict(update(UpdateContext(model, Masks(masks), step, total, seed, dict)))
        for name, mask in new.items():
            changed = mask != masks.get(name, torch.ones_like(mask))
            for key, value in optimizer.state[named[name]].items():
                if key != "step":
                    value[changed] = 0
            named[name].data.mul_(mask)
        return new

    for epoch in range(t.epochs):
        for x, y in Batches(splits.train, batch=t.batch, seed=seed, epoch=epoch, shuffle=True):
            masks = change(masks)
            optimizer.param_groups[0]["lr"] = t.learning_rate * (1 + math.cos(math.pi * step / total)) / 2
            loss = nn.functional.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            for name, mask in masks.items():
                named[name].grad.mul_(mask)
            optimizer.step()
            for name, mask in masks.items():
                named[name].data.mul_(mask)
            step += 1
    return change(masks)
