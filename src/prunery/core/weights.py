"""What a module's base class calls its weights.

A subclass may add parameters of its own (a gain, an adapter): those are not weights. Neither are the rows
that attention appends to its keys and values (`bias_k`, `bias_v`).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import nn

_ATTENTION = ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight")


def weight_names(module: nn.Module) -> tuple[str, ...]:
    """Return the names that the weights of a module of this kind have; none for a kind without weights."""
    kind: Any = type(module)
    names = _names_of_kind(kind)
    if names is None:
        flat: Any = module._flat_weights_names
        return tuple(name for name in flat if name.startswith("weight_"))
    return names or (("weight",) if is_conv1d(module) else ())


@lru_cache(maxsize=512)
def _names_of_kind(kind: Any) -> tuple[str, ...] | None:
    """Return the names of the weights of all modules of a class; None for recurrent ones, which differ."""
    from torch import nn

    if issubclass(kind, nn.MultiheadAttention):
        return _ATTENTION
    if issubclass(kind, nn.RNNBase):
        return None
    if issubclass(kind, nn.modules.rnn.RNNCellBase):
        return ("weight_ih", "weight_hh")
    return ("weight",) if issubclass(kind, nn.Linear | nn.modules.conv._ConvNd | nn.Bilinear) else ()


def is_conv1d(module: nn.Module) -> bool:
    """Return whether the module is a `Conv1D` as in GPT-2: a linear layer with weight (in, out)."""
    kind: Any = type(module)
    if not _is_called_conv1d(kind):
        return False
    shape: tuple[int, ...] = tuple(getattr(module._parameters.get("weight"), "shape", ()))
    return len(shape) == 2 and getattr(module, "nf", None) == shape[1]


@lru_cache(maxsize=512)
def _is_called_conv1d(kind: Any) -> bool:
    return any(base.__name__ == "Conv1D" for base in kind.__mro__)


def weights_of(module: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield (name, parameter) of the module's own prunable weights that can be seen."""
    from torch.nn.parameter import UninitializedParameter

    for name in weight_names(module):
        weight: Any = module._parameters.get(name)
        seen = weight is not None and not isinstance(weight, UninitializedParameter)
        if seen and weight.ndim >= 2 and weight.numel() and weight.is_floating_point():
            yield name, weight
