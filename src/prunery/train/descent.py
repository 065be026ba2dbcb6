"""Steps of Adam under the masks that lower a loss, with a learning rate that the network bears."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from prunery.core.masks import Masks
from prunery.errors import ScoreError
from prunery.train.recovery_context import RecoveryContext

_ATTEMPTS = 4  # learning rates, each a quarter of the one before
_TOO_FAST = 3.0  # times the first loss


@dataclass
class Descent:
    """Losses of some steps: the first, and the mean of the last tenth. taken: steps, those begun anew too."""

    first: float
    last: float
    taken: int
    undone: bool = False

    def told(self, steps: int) -> str:
        """Return what is to be said of so many steps."""
        more = f"; {self.taken - steps} more at rates that were too high" if self.taken > steps else ""
        if self.undone:
            return f"undone, for they led away from the dense outputs (loss {self.first:.4g}){more}"
        return f"loss {self.first:.4g} to {self.last:.4g}{more}"


def descend(
    context: RecoveryContext,
    part: nn.Module,
    batches: Iterator[Any],
    loss: Callable[..., Tensor],
    steps: int,
    learning_rate: float,
) -> Descent:
    """Take Adam steps of the part's parameters; return what came of it.

    The learning rate falls to 0 along half a cosine. Where a tenth of the steps makes the loss several times
    what it was, all begins again at a quarter of that rate; where the steps end above where they began, they
    are undone. ScoreError: the loss is NaN or infinite.
    """
    before, taken, losses = [p.detach().clone() for p in part.parameters()], 0, list[float]()
    for attempt in range(_ATTEMPTS):
        rate = learning_rate / 4**attempt
        losses = _descent(context, part, lambda: loss(*next(batches)), steps, rate)
        taken += len(losses)
        if len(losses) == steps:
            break
        _put_back(part, before)
    first, last = losses[0], _mean(losses[-max(1, steps // 10) :])
    if len(losses) < steps or not last <= first:
        _put_back(part, before)
        return Descent(first, first, taken, undone=True)
    return Descent(first, last, taken)


def _put_back(part: nn.Module, values: list[Tensor]) -> None:
    with torch.no_grad():
        for parameter, value in zip(part.parameters(), values, strict=True):
            parameter.copy_(value)


def _descent(
    context: RecoveryContext, part: nn.Module, loss: Callable[[], Tensor], steps: int, learning_rate: float
) -> list[float]:
    """Return the losses of these steps; those of the first tenth alone where the loss has multiplied."""
    masks, needed = context.masks or Masks({}), [(p, p.requires_grad) for p in part.parameters()]
    parameters = [p.requires_grad_() for p, _ in needed if p.is_floating_point()]
    optimizer = torch.optim.Adam(parameters, lr=learning_rate)
    losses, early = list[float](), max(2, steps // 10)
    try:
        with torch.enable_grad(), masks.enforce(optimizer, context.model):
            for step in range(steps):
                for group in optimizer.param_groups:
                    group["lr"] = learning_rate * (1 + math.cos(math.pi * step / steps)) / 2
                optimizer.zero_grad(set_to_none=True)
                value = loss()
                torch.autograd.backward(value)
                optimizer.step()
                losses.append(float(value.detach()))
                if step == 0 or step >= early:
                    check_loss(losses[-1], step)
                elif step + 1 == early and not _mean(losses[1:]) <= _TOO_FAST * losses[0]:
                    break
                context.on_step(step + 1, steps)
    finally:
        for parameter, before in needed:
            parameter.requires_grad_(before)
            parameter.grad = None
    return losses


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def check_loss(value: float, step: int) -> None:
    """Raise ScoreError for a loss that is NaN or infinite."""
    if not math.isfinite(value):
        do = "lower the learning rate, and look for NaN in the network and the images"
        raise ScoreError(
            "gradient steps towards the dense network", f"the loss of step {step} is {value}", do
        )
