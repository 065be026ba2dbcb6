"""The sizes that torch's modules write down beside their parameters."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd
from torch.nn.modules.rnn import RNNBase, RNNCellBase
from torch.nn.utils import parametrize

from prunery.graph.multihead import PrunedMultiheadAttention
from prunery.graph.ops.products import by_groups


def set_sizes_(module: nn.Module, channels: int | None) -> None:
    """Set the sizes of a module to those of its parameters, which were cut.

    channels: what is left of axis 1 of its input, for norms without parameters.
    """
    weight = _weight(module)
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
        gates = {"LSTM": 4, "GRU": 3}.get(module.mode, 1)
        module.hidden_size = len(module.get_parameter("weight_hh_l0")) // gates
        module.input_size = _columns(module, "weight_ih_l0")
        module._flat_weights = [getattr(module, name) for name in module._flat_weights_names]
    elif isinstance(module, nn.MultiheadAttention):
        _set_attention(module)
    elif isinstance(module, RNNCellBase):
        module.hidden_size, module.input_size = _columns(module, "weight_hh"), _columns(module, "weight_ih")
    elif type(module).__name__ == "Conv1D" and isinstance(weight, Tensor):  # transformers'
        module.nx, module.nf = weight.shape  # type: ignore[assignment]
    else:
        _set_norm(module, weight, channels)


def _weight(module: nn.Module) -> Any:
    """Return the weight of a module, or what it is made of."""
    if parametrize.is_parametrized(module, "weight"):
        with torch.no_grad():
            return module.weight
    held = module._parameters
    return held.get("weight", held.get("weight_v", held.get("weight_orig")))


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


def _set_attention(module: nn.MultiheadAttention) -> None:
    """Set sizes; torch's own module is replaced where it could not compute what is left."""
    if type(module) is nn.MultiheadAttention and module.bias_k is None and not module.add_zero_attn:
        packed = module.in_proj_weight is not None
        rows, columns = (module.in_proj_weight if packed else module.q_proj_weight).shape
        if (rows // (3 if packed else 1), columns) != (module.embed_dim, module.embed_dim):
            PrunedMultiheadAttention.replace_(module)
    elif isinstance(module, PrunedMultiheadAttention):
        module.set_sizes_()


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
