"""Which norm follows which layer, by a symbolic trace: where no example was given.

A trace knows no shapes, so only what holds for every shape is paired; the rest needs an example.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from prunery.core.channels import ELEMENTWISE
from prunery.core.layers import Layer
from prunery.core.units import Member
from prunery.errors import EvidenceError
from prunery.wrappers import unwrapped

_SPATIAL = (nn.modules.batchnorm._BatchNorm, nn.modules.instancenorm._InstanceNorm, nn.GroupNorm)
_LAST = (nn.LayerNorm, nn.RMSNorm)
_RESHAPE = (nn.Flatten, nn.Unflatten, nn.PixelShuffle, nn.PixelUnshuffle)


def traced(model: nn.Module, layers: Sequence[Layer], kinds: tuple[type, ...]) -> dict[str, list[Member]]:
    """Return, per layer name, the scales and shifts of the norms that follow it whatever the input's shape.

    EvidenceError: the model cannot be traced, or a trace cannot tell which axis a norm is over.
    """
    model = unwrapped(model)
    try:
        graph = torch.fx.symbolic_trace(model).graph
    except Exception as problem:  # whatever the user's forward raises under tracing
        raise _lacks(f"the model cannot be traced without one ({type(problem).__name__})") from problem
    modules: Mapping[str, nn.Module] = dict(model.named_modules())
    own = {layer.module_name: layer for layer in layers}
    carried: dict[Any, Layer] = {}
    uses: dict[str, list[Layer | None]] = {}
    for node in graph.nodes:
        source = node.args[0] if node.args else None
        for target in _written(node):
            carried.pop(target, None)
        if node.op == "call_module" and node.target in own:
            carried[node] = own[node.target]
            continue
        layer = carried.get(source)
        module = modules.get(node.target) if node.op == "call_module" else None
        if module is not None and isinstance(module, kinds):
            uses.setdefault(node.target, []).append(layer if _is_over(module, layer) else None)
        elif _is_a_norm_written_out(node) and layer is not None:
            raise _lacks("a norm that is written out is over an axis that a trace does not tell")
        if layer is not None and _keeps_channels(node, module):
            carried[node] = layer
    return _riders(uses, modules)


def _is_over(module: nn.Module, layer: Layer | None) -> bool:
    """Whether a norm normalises the layer's filters; EvidenceError where the shape would decide."""
    if layer is None:
        return False
    count = layer.parameter.shape[1 if getattr(layer.module, "transposed", False) else 0]
    if isinstance(module, _LAST):
        return isinstance(layer.module, nn.Linear) and tuple(module.normalized_shape) == (count,)
    if isinstance(layer.module, nn.modules.conv._ConvNd):
        return True
    raise _lacks(
        f"a {type(module).__name__} behind a linear layer may be over its outputs, or over positions"
    )


def _keeps_channels(node: Any, module: nn.Module | None) -> bool:
    if node.op == "call_module":
        plain = type(module).__module__.startswith("torch.nn.modules.") or isinstance(
            module, _SPATIAL + _LAST
        )
        moves = isinstance(module, (nn.Linear, nn.modules.conv._ConvNd, *_RESHAPE))
        return module is not None and plain and not moves and not list(module.children())
    name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
    return name.strip("_") in ELEMENTWISE or node.target in (functional.max_pool2d, functional.avg_pool2d)


def _is_a_norm_written_out(node: Any) -> bool:
    return node.op == "call_function" and getattr(node.target, "__name__", "").endswith("_norm")


def _written(node: Any) -> list[Any]:
    """Return the nodes whose values a node writes into."""
    name = node.target if isinstance(node.target, str) else ""
    in_place = node.op == "call_method" and name.endswith("_") and name.strip("_") not in ELEMENTWISE
    if in_place or node.target in (operator.iadd, operator.isub, operator.imul, operator.setitem):
        return [node.args[0]]
    return []


def _riders(
    uses: Mapping[str, Sequence[Layer | None]], modules: Mapping[str, nn.Module]
) -> dict[str, list[Member]]:
    riders: dict[str, list[Member]] = {}
    for name, layers in uses.items():
        first = layers[0]
        if first is None or any(layer is not first for layer in layers):
            continue
        for short, parameter in modules[name].named_parameters(recurse=False):
            shape = tuple(parameter.shape)
            member = Member(f"{name}.{short}", shape, shape, (0,), counted=False, scored=False)
            riders.setdefault(first.name, []).append(member)
    return riders


def _lacks(why: str) -> EvidenceError:
    return EvidenceError(
        "granularity 'filter' on a model with normalisation layers",
        f"no example was given, and {why}",
        "pass example=, what the model is called with",
    )
