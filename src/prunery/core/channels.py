"""How the numbers of filters travel: rules from the labels of a function's input to those of its output.

Labels are a float tensor shaped like what they label: the filter of each element, from 1; 0 is of none. A
function without a rule ends what is known.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

# fmt: off
NORMS = {"batch_norm", "instance_norm", "group_norm", "layer_norm", "rms_norm"}
PRODUCTS = {
    "linear", "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d",
    "matmul", "mm", "addmm",
}
ELEMENTWISE = NORMS | {
    "relu", "relu6", "leaky_relu", "prelu", "rrelu", "elu", "selu", "celu", "gelu", "silu", "mish",
    "hardswish", "hardtanh", "hardsigmoid", "sigmoid", "tanh", "softplus", "softsign", "clamp", "neg",
    "dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout", "clone",
    "contiguous", "detach", "to", "float", "double", "half", "bfloat16", "type_as", "identity",
}
_MOVES = {
    "view", "reshape", "flatten", "unflatten", "transpose", "t", "permute", "movedim", "moveaxis",
    "swapaxes", "swapdims", "unsqueeze", "squeeze", "expand", "expand_as", "narrow", "select", "getitem",
    "chunk", "split", "unbind", "flip", "roll", "repeat", "tile", "pixel_shuffle", "pixel_unshuffle",
    "channel_shuffle",
}
_POOLS = {"interpolate", "upsample", "fn", "boolean_dispatch"}  # and whatever has "pool" in its name
_REDUCTIONS = {"mean", "sum", "amax", "amin"}
_SCALINGS = {"mul", "rmul", "div", "truediv", "true_divide"}
# fmt: on


def carried(
    func: Any, name: str, labels: Tensor, args: tuple[Any, ...], kwargs: Mapping[str, Any], output: Any
) -> Any:
    """Return the labels of what a function made of a labelled tensor; None where they end.

    Functions that give several tensors have as many labels.
    """
    if name in ELEMENTWISE or (name in _SCALINGS and isinstance(args[-1], int | float)):
        return labels
    if name in _MOVES or func in (Tensor.T.__get__, Tensor.mT.__get__):  # type: ignore[attr-defined]
        try:
            return (Tensor.reshape if name == "view" else func)(labels, *args[1:], **kwargs)
        except (RuntimeError, TypeError, ValueError, IndexError):
            return None
    if name in _REDUCTIONS:
        return _reduced(labels, args[1] if len(args) > 1 else kwargs.get("dim"), output)
    first = output[0] if isinstance(output, tuple) else output
    if (name in _POOLS or "pool" in name) and isinstance(first, Tensor):
        return _pooled(labels, first)
    return None


def of_product(name: str, place: int, labels: Tensor, output: Any) -> Tensor | None:
    """Return the labels of a product with a labelled weight, which is the argument at `place`."""
    if name == "linear" or (name == "matmul" and place == 0):
        return _along(_constant(labels, 1), output, -1 if name == "linear" else -2)
    if name in ("matmul", "mm", "addmm"):
        last = place == (2 if name == "addmm" else 1)
        return _along(_constant(labels, -2), output, -1) if last else None
    axis = 1 if output.ndim == labels.ndim else 0  # 0: without a batch
    if not name.startswith("conv_transpose"):
        return _along(_constant(labels.flatten(1), 1), output, axis)
    groups = output.shape[axis] // labels.shape[1]
    per_group = labels.view(groups, -1, *labels.shape[1:]).transpose(1, 2).flatten(2)
    filters = _constant(per_group, 2)
    return None if filters is None else _along(filters.reshape(-1), output, axis)


def norm_channels(name: str, labels: Tensor, shape: Any) -> Tensor | None:
    """Return the filter behind each channel of a norm, shaped like its scale; None where that is not one.

    shape: what a layer or RMS norm normalises over.
    """
    if name in ("layer_norm", "rms_norm"):
        sizes = tuple(shape) if isinstance(shape, tuple | list | torch.Size) else (shape,)
        channels = _constant(labels.reshape(-1, *sizes), 0)
    else:
        channels = _constant(labels.movedim(1, 0).flatten(1), 1) if labels.ndim > 1 else None
    return channels if channels is not None and bool((channels > 0).all()) else None


def _constant(labels: Tensor, axis: int) -> Tensor | None:
    """Return the labels without an axis along which they do not change; None if they do."""
    low, high = labels.aminmax(dim=axis)
    return high if bool((low == high).all()) else None


def _along(filters: Tensor | None, output: Any, axis: int) -> Tensor | None:
    """Return labels shaped like `output`, which change along one axis only."""
    if filters is None or not isinstance(output, Tensor) or output.shape[axis] != len(filters):
        return None
    sizes = [1] * output.ndim
    sizes[axis] = len(filters)
    return filters.view(sizes).expand(output.shape)


def _reduced(labels: Tensor, axes: Any, output: Any) -> Tensor | None:
    if axes is None or not isinstance(output, Tensor):
        return None
    low, high = labels.amin(axes, keepdim=True), labels.amax(axes, keepdim=True)
    return high.reshape(output.shape) if bool((low == high).all()) else None


def _pooled(labels: Tensor, output: Tensor) -> Tensor | None:
    """Return labels where windows lie along the axes after the second, and no label changes along them."""
    if labels.ndim < 3 or output.ndim != labels.ndim or output.shape[:2] != labels.shape[:2]:
        return None
    filters = _constant(labels.flatten(2), 2)
    return (
        None
        if filters is None
        else filters.view(*filters.shape, *[1] * (output.ndim - 2)).expand(output.shape)
    )
