"""Values in fewer bits than they have: what a file holds in their place, and back."""

from __future__ import annotations

import torch
from torch import Tensor

from prunery.errors import ChoiceError

VALUES = ("float32", "float16", "bfloat16", "int8")
_FLOATS = (torch.float32, torch.float64)
_LEVELS = 127


def reduced(value: Tensor, values: str, name: str) -> tuple[Tensor, Tensor | None]:
    """Return what stands for a tensor in a file, and the scale of each of its rows where it has any.

    float32 and float64 are rounded to "float16" or "bfloat16"; to "int8" only tensors of two axes and more,
    each row to whole numbers from -127 to 127 times its largest size / 127. All else stays as it is.
    ChoiceError: a number that cannot be held so.
    """
    if values == "float32" or value.dtype not in _FLOATS or not value.numel():
        return value, None
    if values == "int8":
        if value.ndim < 2:
            return value, None
        if not bool(torch.isfinite(value).all()):
            raise _cannot(name, values, "it holds NaN or infinity")
        scale = value.flatten(1).abs().amax(1).float() / _LEVELS
        rows = scale.clamp_min(torch.finfo(torch.float32).tiny).view(-1, *(1,) * (value.ndim - 1))
        return (value / rows).round().clamp(-_LEVELS, _LEVELS).to(torch.int8), scale
    kind = getattr(torch, values)
    small: Tensor = value.to(kind)
    if bool((torch.isinf(small) & ~torch.isinf(value)).any()):
        raise _cannot(name, values, f"its largest size is {float(value.abs().max()):.3g}")
    return small, None


def restored(stored: Tensor, scale: Tensor | None, dtype: torch.dtype) -> Tensor:
    """Return the tensor that something stands for, in its own type."""
    if scale is None:
        return stored.to(dtype)
    rows = scale.view(-1, *(1,) * (stored.ndim - 1))
    return (stored.float() * rows).to(dtype)


def error_of(value: Tensor, back: Tensor) -> float:
    """Return the largest difference of two tensors over the largest size in the first."""
    if back is value or not value.numel():
        return 0.0
    largest = float(value.abs().max())
    return float((value - back).abs().nan_to_num(0.0).max()) / largest if largest else 0.0


def _cannot(name: str, values: str, found: str) -> ChoiceError:
    return ChoiceError(f"values {values!r} for {name!r}", found, "use 'float32', or 'bfloat16'")
