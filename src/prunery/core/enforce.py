"""Keep removed weights at exactly 0 while any loop trains: on gradients as they are accumulated, on weights
after each step.

A mask acts as a bitwise AND on the float's bits (see `masks.bits_of`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from prunery.core.bits import and_
from prunery.core.layers import parameter_of


@contextmanager
def enforced(
    bits: Mapping[str, Tensor], optimizer: torch.optim.Optimizer, model: nn.Module
) -> Iterator[None]:
    """Within it, gradients of removed weights are 0 as soon as they are accumulated, and the weights are 0 on
    entry and after every `optimizer.step()`; on exit the optimiser and the model have no hook left.

    bits: per parameter name, what `bits_of` gives. Clipping and gradient scaling see masked gradients.
    """
    pairs = [(parameter_of(model, name), mask) for name, mask in bits.items()]

    def clear_weights(*_: Any) -> None:
        with torch.no_grad():
            for parameter, mask in pairs:
                and_(parameter, mask)

    clear_weights()
    with ExitStack() as hooks:
        for parameter, mask in pairs:
            if parameter.requires_grad:
                hook = parameter.register_post_accumulate_grad_hook(_gradient_hook(mask))  # type: ignore[no-untyped-call]
                hooks.callback(hook.remove)
        hooks.callback(optimizer.register_step_post_hook(clear_weights).remove)
        yield


def _gradient_hook(mask: Tensor) -> Any:
    def clear_gradient(parameter: Tensor) -> None:
        if parameter.grad is not None and not parameter.grad.is_sparse:
            and_(parameter.grad.data, mask)  # .data: under create_graph the gradient itself has a graph

    return clear_gradient
