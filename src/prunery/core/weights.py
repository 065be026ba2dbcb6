"""What a module's base class calls its weights.

A subclass may add parameters of its own (a gain, an adapter): those are not weights. Neither are the rows
that attention appends to its keys and values (`bias_k`, `bias_v`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import nn

_ATTENTION = ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight")


def weight_names(module: nn.Module) -> tuple[str, ...]:
    """Return the names that the weights of a module of this kind have; none for a kind without weights."""
    from torch import nn

    if isinstance(module, nn.MultiheadAttention):
        return _ATTENTION
    if isinstance(module, nn.RNNBase):
        return tuple(name for name in module._flat_weights_names if name.startswith("weight_"))
    if isinstance(module, nn.modules.rnn.RNNCellBase):
        return ("weight_ih", "weight_hh")
    plain = isinstance(module, nn.Linear | nn.modules.conv._ConvNd | nn.Bilinear)
    return ("weight",) if plain or is_conv1d(module) else ()


def is_conv1d(module: nn.Module) -> bool:
    """Return whether the module is a `Conv1D` as in GPT-2: a linear layer with weight (in, out)."""
    if not any(kind.__name__ == "Conv1D" for kind in type(module).__mro__):
        return False
    shape: tuple[int, ...] = tuple(getattr(module._parameters.get("weight"), "shape", ()))
    return len(shape) == 2 and getattr(module, "nf", None) == shape[1]


def weights_of(module: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield (name, parameter) of the module's own prunable weights that can be seen."""
    from torch.nn.parameter import UninitializedParameter

    for name in weight_names(module):
        weight: Any = module._parameters.get(name)
        seen = weight is not None and not isinstance(weight, UninitializedParameter)
        if seen and weight.ndim >= 2 and weight.numel() and weight.is_floating_point():
            yield name, weight
