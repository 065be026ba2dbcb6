"""Which normalisation layers follow which prunable layer, channel for channel.

With an example the model is run once and each channel-wise function is watched; without one the graph is
traced symbolically. A model without batch, group or instance norm needs neither.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from prunery.core.context import ScoringContext, run_quietly
from prunery.core.forward import StandIns, stand_ins_for
from prunery.core.layers import Layer
from prunery.errors import EvidenceError

_NORMS = (nn.modules.batchnorm._NormBase, nn.GroupNorm)


def followers(context: ScoringContext) -> dict[str, list[str]]:
    """Per layer name, the scale and shift parameters (one value per filter) of the norms that follow it.

    A norm that follows several layers is left out: it lives as long as any of them does.
    Raises EvidenceError when the model has norms, no example was given and it cannot be traced.
    """
    model, layers = context.model, context.layers
    scales = {name: m for name, m in model.named_modules() if isinstance(m, _NORMS) and m.weight is not None}
    if not scales:
        return {}
    runnable = context.example is not None or context.batches is not None
    pairs = _watched(context) if runnable else _traced(model, layers)
    found: dict[str, list[str]] = {}
    layers_of: dict[str, set[str]] = {}
    for layer_name, norm_name in pairs:
        layers_of.setdefault(norm_name, set()).add(layer_name)
    for layer_name, norm_name in pairs:
        if len(layers_of[norm_name]) > 1:
            continue
        names = [f"{norm_name}.weight", f"{norm_name}.bias"] if norm_name in scales else []
        own = found.setdefault(layer_name, [])
        own += [name for name in names if name not in own]
    return found


class _Watch(TorchFunctionMode):
    """Notes which layer's channels a tensor carries, through functions that keep channels apart."""

    def __init__(self, context: ScoringContext, stand_ins: StandIns) -> None:
        super().__init__()
        norms = [(n, m.weight) for n, m in context.model.named_modules() if isinstance(m, _NORMS)]
        self.layers = {id(stand_ins[id(layer.parameter)]): layer.name for layer in context.layers}
        self.norms = {id(stand_ins[id(weight)]): name for name, weight in norms if weight is not None}
        self.carried: dict[int, tuple[str, Tensor]] = {}  # the tensor is kept, so that its id stays its own
        self.pairs: list[tuple[str, str]] = []

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        output = func(*args, **kwargs)
        tensors = [a for a in (*args, *kwargs.values()) if isinstance(a, Tensor)]
        name = next((self.layers[id(t)] for t in tensors if id(t) in self.layers), None)
        if (
            name is None
            and tensors
            and id(tensors[0]) in self.carried
            and _keeps_channels(func, tensors[0], output)
        ):
            name = self.carried[id(tensors[0])][0]
            self.pairs += [(name, self.norms[id(t)]) for t in tensors[1:] if id(t) in self.norms]
        if name is not None and isinstance(output, Tensor):
            self.carried[id(output)] = (name, output)
        return output


# fmt: off
_CHANNELWISE = {
    "batch_norm", "group_norm", "instance_norm", "relu", "relu_", "relu6", "leaky_relu", "gelu", "silu",
    "mish", "elu", "selu", "hardswish", "hardtanh", "hardsigmoid", "sigmoid", "tanh", "softplus",
    "dropout", "dropout2d", "alpha_dropout", "identity", "clone", "contiguous", "to", "float", "fn",
    "boolean_dispatch", "max_pool1d", "max_pool2d", "max_pool3d", "avg_pool1d", "avg_pool2d",
    "avg_pool3d", "adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d",
    "adaptive_max_pool2d",
}
# fmt: on


def _keeps_channels(func: Any, before: Tensor, after: Any) -> bool:
    known = getattr(func, "__name__", "") in _CHANNELWISE
    return known and isinstance(after, Tensor) and before.ndim > 1 and before.shape[1] == after.shape[1]


def _watched(context: ScoringContext) -> list[tuple[str, str]]:
    stand_ins = stand_ins_for(context.model, context.masks, context.where())
    with _Watch(context, stand_ins) as watch:
        run_quietly(context, stand_ins)
    pairs: list[tuple[str, str]] = watch.pairs
    return pairs


def _traced(model: nn.Module, layers: Sequence[Layer]) -> list[tuple[str, str]]:
    try:
        graph = torch.fx.symbolic_trace(model).graph
    except Exception as problem:  # whatever the user's forward raises under tracing
        raise EvidenceError(
            "granularity 'filter' on a model with normalisation layers",
            f"no example was given, and the model cannot be traced without one ({type(problem).__name__})",
            "pass example=, what the model is called with",
        ) from problem
    modules: Mapping[str, nn.Module] = dict(model.named_modules())
    own = {layer.module_name: layer.name for layer in layers}
    carried: dict[Any, str] = {}
    pairs: list[tuple[str, str]] = []
    for node in graph.nodes:
        if node.op == "call_module" and node.target in own:
            carried[node] = own[node.target]
        elif node.args and node.args[0] in carried and _node_keeps_channels(node, modules):
            carried[node] = carried[node.args[0]]
            if node.op == "call_module":
                pairs.append((carried[node], node.target))
    return pairs


def _node_keeps_channels(node: Any, modules: Mapping[str, nn.Module]) -> bool:
    if node.op == "call_module":
        kind = modules[node.target]
        plain = type(kind).__module__.startswith("torch.nn.modules.")
        shape_changing = (nn.Linear, nn.modules.conv._ConvNd, nn.Flatten, nn.Unflatten, nn.PixelShuffle)
        return plain and not isinstance(kind, shape_changing) and not list(kind.children())
    name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
    return name in _CHANNELWISE or node.target in (functional.max_pool2d, functional.avg_pool2d)
