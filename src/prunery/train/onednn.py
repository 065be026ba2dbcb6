"""Large linear layers through oneDNN on CPUs, while a network trains.

torch hands float32 matrix products to MKL, which leaves half of an AVX-512 processor idle unless Intel made
it; the oneDNN that torch's convolutions use anyway does not. Same float32 arithmetic, other order of sums.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

WORTH = 1 << 21
"""Multiply-accumulates of one product from which the gain exceeds the cost of the way there (some 40 µs)."""


class OneDNNLinear(TorchFunctionMode):
    """A context in which `functional.linear` of large plain float32 CPU tensors runs on oneDNN."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        """`func` of the same arguments, by another way where it is the faster one."""
        if func is functional.linear and not kwargs and _worth(*args):
            return _Linear.apply(*args) if len(args) == 3 else _Linear.apply(*args, None)  # type: ignore[no-untyped-call]
        return func(*args, **(kwargs or {}))


def _worth(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> bool:
    operands = [x, weight] if bias is None else [x, weight, bias]
    return (
        all(type(t) in (Tensor, nn.Parameter) for t in operands)
        and all(t.dtype is torch.float32 and t.device.type == "cpu" for t in operands)
        and x.dim() >= 2
        and weight.dim() == 2
        and x.shape[-1] == weight.shape[1]
        and x.numel() * weight.shape[0] >= WORTH
        and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
    )


class _Linear(torch.autograd.Function):
    """x (..., in), weight (out, in), bias (out,) or None -> x · weightᵀ + bias, of shape (..., out)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _product(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        (grad,) = grads
        x, weight = ctx.saved_tensors
        rows, inputs = grad.reshape(-1, grad.shape[-1]), x.reshape(-1, x.shape[-1])
        for_x, for_weight, for_bias = ctx.needs_input_grad
        # in grad mode a second derivative is asked for, which oneDNN's product does not have
        product = functional.linear if torch.is_grad_enabled() else _product
        return (
            product(grad, weight.t()) if for_x else None,
            product(rows.t(), inputs.t()) if for_weight else None,
            rows.sum(0) if for_bias else None,
        )


def _product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    out: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return out
