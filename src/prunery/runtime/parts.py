"""Which consecutive layers of a network can run on buffers."""

from __future__ import annotations

from typing import Any

from prunery.runtime.layers import Layer, Layers
from prunery.runtime.plan import Part
from prunery.runtime.program import PerBatch

DENSE = 0.8
"""Where no weight of a part has fewer nonzeros than this, torch is quicker, and nothing is tried."""

_POINTWISE = ("relu", "hardtanh", "clamp", "silu", "hardswish", "hardsigmoid", "sigmoid", "tanh", "gelu")
_SUMS = ("leaky_relu", "elu", "add", "sub", "mul", "div", "cat", "convolution", "native_batch_norm")
_POOLS = ("max_pool2d_with_indices", "avg_pool2d", "_adaptive_avg_pool2d", "upsample_nearest2d")
PER_SAMPLE = frozenset((*_POINTWISE, *_SUMS, *_POOLS))
"""Operations of torch that treat each image alone, whatever their arguments."""


def parts_of(network: Layers) -> list[Layer | Part]:
    """Return the network's layers, those that can run on buffers as parts."""
    found: list[Layer | Part] = []
    run: list[Layer] = []
    kind = ""
    for layer in network.layers:
        own = _kind(layer, network)
        if own != kind:
            found += _part(run, kind, network)
            run = []
        kind = own
        run.append(layer)
    return [*found, *_part(run, kind, network)]


def _kind(layer: Layer, network: Layers) -> str:
    """What kind of part a layer can belong to: "planes", "rows" or none ("")."""
    if layer.kind == "linear":
        flat = all(len(network.shapes[n]) == 2 for n in (*layer.reads(), layer.output))
        rows = flat and isinstance(network.shapes[layer.output][0], PerBatch)
        return "rows" if rows and density(layer) < DENSE else ""
    return "planes" if _on_buffers(layer, network) else ""


def _part(run: list[Layer], kind: str, network: Layers) -> list[Layer | Part]:
    """The run as a part, if there is enough to gain in it; planes from the first convolution to the last."""
    products = [i for i, layer in enumerate(run) if layer.kind != "torch"]
    if not kind or not any(density(run[i]) < DENSE and run[i].groups == 1 for i in products):
        return list(run)
    first, end = products[0], products[-1] + 1
    if end < len(run) and run[end].step.name == "max_pool2d_with_indices":
        end += 1
    return [*run[:first], _made(run[first:end], kind, network), *run[end:]]


def _made(inside: list[Layer], kind: str, network: Layers) -> Part:
    outside = [layer for layer in network.layers if layer not in inside]
    made = {n for layer in inside for n in layer.outputs}
    needed = {*network.outputs, *(n for layer in outside for n in layer.reads())}
    inputs = dict.fromkeys(n for layer in inside for n in layer.reads() if n not in made)
    numbers = {n for layer in inside for n in (*layer.reads(), *layer.outputs) if n >= 0}
    shapes = {n: network.shapes[n][1:] for n in numbers}
    outputs = [n for n in sorted(made) if n in needed]
    return Part(inside, list(inputs), outputs, shapes, kind == "rows")


def density(layer: Layer) -> float:
    """The fraction of a layer's weights that is not 0."""
    assert layer.weight is not None
    return float(layer.weight.count_nonzero()) / max(1, layer.weight.numel())


def _on_buffers(layer: Layer, network: Layers) -> bool:
    if layer.kind == "torch" and (layer.step.name not in PER_SAMPLE or not _alone(layer, network)):
        return False
    used = [n for n in layer.outputs[1:] if n >= 0 and network.uses.get(n)]
    tensors = [*layer.reads(), layer.output]
    if len({len(network.shapes[n]) for n in tensors}) > 1:  # they would not meet along the batch
        return False
    return layer.kind != "linear" and not used and all(_plane(network.shapes[n]) for n in tensors)


def _alone(layer: Layer, network: Layers) -> bool:
    """Whether an operation's arguments keep images apart."""
    if layer.step.name == "cat":
        return bool(layer.step.args[1:] == [1])
    if layer.step.name == "native_batch_norm":
        return layer.step.args[5] is False
    constants = [n for n in layer.step.reads() if n in network.constants]
    weights = layer.step.name == "convolution"
    return weights or all(len(network.shapes[n]) < 4 or network.shapes[n][0] == 1 for n in constants)


def _plane(shape: tuple[Any, ...]) -> bool:
    """Whether a shape is (batch, C, H, W) or (batch, C, L)."""
    fixed = all(isinstance(size, int) and size > 0 for size in shape[1:])
    return len(shape) in (3, 4) and shape[0] == PerBatch(1, 0) and fixed
