"""The sizes that torch's modules write down beside their parameters."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd
from torch.nn.modules.rnn import RNNBase, RNNCellBase

from prunery.graph.ops.products import by_groups


def set_sizes_(module: nn.Module, channels: int | None) -> None:
    """Set the sizes of a module to those of its parameters, which were cut.

    channels: what is left of axis 1 of its input, for norms without parameters.
    """
    weight: Any = module._parameters.get("weight")
    if isinstance(module, _ConvNd) and isinstance(weight, Tensor):
        _set_convolution(module, weight)
    elif isinstance(module, nn.Linear) and isinstance(weight, Tensor):
        module.out_features, module.in_features = weight.shape
    elif isinstance(module, nn.Bilinear):
        module.out_features, module.in1_features, module.in2_features = weight.shape
    elif isinstance(module, nn.Embedding | nn.EmbeddingBag):
        module.embedding_dim = weight.shape[1]
    elif isinstance(module, nn.PReLU):
        module.num_parameters = len(weight)
    elif isinstance(module, RNNBase):
        module.hidden_size = _columns(module, "weight_hh_l0")
        module.input_size = _columns(module, "weight_ih_l0")
        module._flat_weights = [getattr(module, name) for name in module._flat_weights_names]
    elif isinstance(module, RNNCellBase):
        module.hidden_size, module.input_size = _columns(module, "weight_hh"), _columns(module, "weight_ih")
    elif type(module).__name__ == "Conv1D" and isinstance(weight, Tensor):  # transformers'
        module.nx, module.nf = weight.shape  # type: ignore[assignment]
    else:
        _set_norm(module, weight, channels)


def _columns(module: nn.Module, name: str) -> int:
    return module.get_parameter(name).shape[1]


def _set_convolution(module: _ConvNd, weight: Tensor) -> None:
    groups, transposed = module.groups, module.transposed
    whole = by_groups(module.in_channels, groups)
    if groups > 1 and whole:
        per_in, per_out = module.in_channels // groups, module.out_channels // groups
        module.groups = groups = weight.shape[0] // (per_in if transposed else per_out)
    over, per = weight.shape[:2]
    module.in_channels, module.out_channels = (over, per * groups) if transposed else (per * groups, over)


def _set_norm(module: nn.Module, weight: Any, channels: int | None) -> None:
    if isinstance(module, nn.GroupNorm):
        size = module.num_channels // module.num_groups
        module.num_channels = len(weight) if isinstance(weight, Tensor) else channels or module.num_channels
        module.num_groups = max(1, module.num_channels // size) if module.num_groups > 1 else 1
    elif isinstance(module, _NormBase):
        known = next((t for t in (weight, module.running_mean) if isinstance(t, Tensor)), None)
        module.num_features = len(known) if known is not None else channels or module.num_features
    elif isinstance(module, nn.LayerNorm | nn.RMSNorm) and isinstance(weight, Tensor):
        module.normalized_shape = tuple(weight.shape)
