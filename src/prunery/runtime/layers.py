"""The layers of a network: products with their batch norm folded, activation and residual sum fused."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from prunery.runtime.program import Network, PerBatch, Ref, Step, filled, refs

Pair = tuple[int, int]


@dataclass(eq=False)
class Layer:
    """One thing to run. inputs, outputs, residual: numbers of tensors.

    kind: "conv", "linear", or "torch" for a single operation of torch (`step`). A conv's and a linear's
    result is weight * input + bias, plus the residual if there is one, clamped between low and high.
    """

    kind: str
    name: str
    inputs: list[int]
    outputs: list[int]
    step: Step
    weight: Tensor | None = None
    bias: Tensor | None = None
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1
    low: float | None = None
    high: float | None = None
    residual: int | None = None
    calls: dict[int, Any] = field(default_factory=dict)  # the step's arguments at the last size of the batch

    @property
    def output(self) -> int:
        """The number of the tensor that comes out (the first)."""
        return self.outputs[0]

    def reads(self) -> list[int]:
        """Return the numbers of the tensors that it reads."""
        return self.inputs if self.residual is None else [*self.inputs, self.residual]

    def run(self, values: dict[int, Tensor], batch: int) -> None:
        """Compute the outputs in torch."""
        if self.kind == "torch":
            self._run_step(values, batch)
        else:
            residual = None if self.residual is None else values[self.residual]
            values[self.output] = self.dense(values[self.inputs[0]], residual)

    def dense(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        """Return what a conv or a linear gives, by torch's dense kernels."""
        return self.finished_(self.product(x), residual)

    def product(self, x: Tensor) -> Tensor:
        """Return weight * input + bias, by torch's dense kernels."""
        assert self.weight is not None
        if self.kind == "linear":
            return torch.nn.functional.linear(x, self.weight, self.bias)
        n = x.ndim - 2
        weight = self.weight if n == 2 else self.weight[:, :, 0]
        where = (list(self.stride)[-n:], list(self.padding)[-n:], list(self.dilation)[-n:])
        return torch.convolution(x, weight, self.bias, *where, False, [0] * n, self.groups)

    def finished_(self, y: Tensor, residual: Tensor | None) -> Tensor:
        """Return `y` with the residual added and after the activation, both in place."""
        y = y if residual is None else y.add_(residual)
        if self.low == 0 and self.high is None:
            return y.relu_()
        return y if self.low is None and self.high is None else y.clamp_(self.low, self.high)

    def _run_step(self, values: dict[int, Tensor], batch: int) -> None:
        call = self.calls.get(batch)
        if call is None:
            call = filled((self.step.args, self.step.kwargs), _at(batch))
            self.calls = {batch: call}
        args, kwargs = call
        if not kwargs and not any(isinstance(arg, list) and refs(arg) for arg in args):  # the usual case
            result = self.step.function(*[values[a.value] if type(a) is Ref else a for a in args])
        else:
            args, kwargs = filled((args, kwargs), lambda node: values[node.value])
            result = self.step.function(*args, **kwargs)
        results = result if isinstance(result, tuple | list) else [result]
        values.update((n, t) for n, t in zip(self.step.outputs, results, strict=True) if n >= 0)


def _at(batch: int) -> Callable[[Any], Any]:
    return lambda node: node if isinstance(node, Ref) else node.at(batch)


@dataclass
class Layers:
    """A network as layers, in an order that they can run in."""

    layers: list[Layer]
    constants: dict[int, Tensor]
    inputs: list[int]
    outputs: list[int]
    shapes: dict[int, tuple[Any, ...]]
    uses: dict[int, int] = field(default_factory=dict)

    def run(self, given: list[Tensor]) -> list[Tensor]:
        """Return the outputs, all of it in torch."""
        batch = given[0].shape[0]
        values = {**self.constants, **dict(zip(self.inputs, given, strict=True))}
        for layer in self.layers:
            layer.run(values, batch)
        return [values[number] for number in self.outputs]

    def count(self) -> None:
        """Count how often each tensor is read."""
        self.uses = dict.fromkeys(self.outputs, 1)
        for layer in self.layers:
            for number in layer.reads():
                self.uses[number] = self.uses.get(number, 0) + 1


def layers_of(network: Network) -> Layers:
    """Return the layers of a network. Its constants are copied: later changes of the model are not seen."""
    constants = {n: t.detach().clone() for n, t in network.constants.items()}
    found = Layers([], constants, network.inputs, network.outputs, network.shapes)
    for step in network.steps:
        layer = _layer(step, found)
        if layer.kind == "torch" and _is_constant(layer, found):
            layer.run(constants, 0)
        else:
            found.layers.append(layer)
    for fuse in (_fold_norm, _fuse_sum, _fuse_activation):
        found.count()
        _fuse_all(found, fuse)
    found.count()
    return found


def _is_constant(layer: Layer, found: Layers) -> bool:
    numbers = layer.step.reads()
    if not numbers or any(n not in found.constants for n in numbers):
        return False
    by_batch: list[PerBatch] = []
    filled((layer.step.args, layer.step.kwargs), lambda n: by_batch.append(n) if type(n) is PerBatch else n)
    return not by_batch and torch.Tag.nondeterministic_seeded not in layer.step.function.tags


def _layer(step: Step, found: Layers) -> Layer:
    make = {"convolution": _conv, "addmm": _addmm, "mm": _mm}.get(step.name)
    return (make and make(step, found)) or Layer(
        "torch", step.module, [n for n in step.reads() if n not in found.constants], step.outputs, step
    )


def _conv(step: Step, found: Layers) -> Layer | None:
    x, weight, bias, stride, padding, dilation, transposed, _, groups = step.args
    tensors = [found.constants.get(t.value) if t is not None else None for t in (weight, bias)]
    if tensors[0] is None or transposed or x.value in found.constants or len(stride) > 2:
        return None
    if tensors[0].dtype != torch.float32 or (bias is not None and tensors[1] is None):
        return None
    if len(stride) == 1:  # (C, L) as (C, 1, L)
        tensors[0] = tensors[0][:, :, None]
        stride, padding, dilation = stride * 2, [0, *padding], [1, *dilation]  # any stride fits one row
    layer = Layer("conv", step.module, [x.value], step.outputs, step, tensors[0], tensors[1], groups=groups)
    layer.stride, layer.padding, layer.dilation = tuple(stride), tuple(padding), tuple(dilation)
    return layer


def _addmm(step: Step, found: Layers) -> Layer | None:
    bias, x, weight = (found.constants.get(t.value) for t in step.args)
    if x is not None or bias is None or weight is None or bias.ndim != 1 or step.kwargs:
        return None
    return _linear(step, step.args[1].value, weight, bias)


def _mm(step: Step, found: Layers) -> Layer | None:
    x, weight = (found.constants.get(t.value) for t in step.args)
    return None if x is not None or weight is None else _linear(step, step.args[0].value, weight, None)


def _linear(step: Step, x: int, weight: Tensor, bias: Tensor | None) -> Layer | None:
    if weight.dtype != torch.float32:
        return None
    return Layer("linear", step.module, [x], step.outputs, step, weight.t().contiguous(), bias)


def _fuse_all(found: Layers, fuse: Any) -> None:
    makers = {n: layer for layer in found.layers for n in layer.outputs}
    order = {id(layer): place for place, layer in enumerate(found.layers)}
    gone = [layer for layer in found.layers if layer.kind == "torch" and fuse(layer, makers, order, found)]
    found.layers = [layer for layer in found.layers if layer not in gone]


def _product(number: int, makers: dict[int, Layer], found: Layers) -> Layer | None:
    """The product that makes a tensor which nothing else reads, before any activation."""
    layer = makers.get(number)
    alone = layer is not None and layer.kind in ("conv", "linear") and found.uses.get(number) == 1
    return layer if alone and layer is not None and layer.low is None and layer.high is None else None


def _take_over(layer: Layer, other: Layer, makers: dict[int, Layer]) -> bool:
    layer.outputs = [other.output]
    makers[other.output] = layer
    return True


def _fold_norm(norm: Layer, makers: dict[int, Layer], order: Any, found: Layers) -> bool:
    if norm.step.name != "native_batch_norm" or not isinstance(norm.step.args[0], Ref):
        return False
    numbers = norm.step.args[1:5]
    if norm.step.args[5] or any(n is not None and n.value not in found.constants for n in numbers):
        return False
    conv = _product(norm.step.args[0].value, makers, found)
    if conv is None or any(n in found.uses for n in norm.outputs[1:]):
        return False
    _fold(conv, [None if n is None else found.constants[n.value] for n in numbers], norm.step.args[7])
    return _take_over(conv, norm, makers)


def _fold(conv: Layer, norm: list[Tensor | None], epsilon: float) -> None:
    """Change weight and bias so that the norm (scale, shift, mean, variance) comes with them."""
    gamma, beta, mean, variance = (None if t is None else t.double() for t in norm)
    assert conv.weight is not None
    assert mean is not None
    assert variance is not None
    scale = torch.rsqrt(variance + epsilon) * (1.0 if gamma is None else gamma)
    before = torch.zeros_like(mean) if conv.bias is None else conv.bias.double()
    conv.bias = ((before - mean) * scale + (0.0 if beta is None else beta)).float()
    conv.weight = (conv.weight.double() * scale.view(-1, *[1] * (conv.weight.ndim - 1))).float()


def _fuse_sum(total: Layer, makers: dict[int, Layer], order: dict[int, int], found: Layers) -> bool:
    args = total.step.args
    if total.step.name != "add" or total.step.kwargs or not all(isinstance(a, Ref) for a in args):
        return False
    numbers = [a.value for a in args]
    if any(n in found.constants for n in numbers) or found.shapes[numbers[0]] != found.shapes[numbers[1]]:
        return False
    products = [(n, _product(n, makers, found)) for n in numbers]
    ready = [(order[id(p)], n, p) for n, p in products if p is not None and p.residual is None]
    if not ready or numbers[0] == numbers[1]:
        return False
    _, own, product = max(ready, key=operator.itemgetter(0))
    other = numbers[1] if own == numbers[0] else numbers[0]
    if other in makers and order[id(makers[other])] > order[id(product)]:
        return False
    product.residual = other
    return _take_over(product, total, makers)


def _fuse_activation(activation: Layer, makers: dict[int, Layer], order: Any, found: Layers) -> bool:
    args = activation.step.args
    bounds = {"relu": (0.0, None), "hardtanh": (-1.0, 1.0), "clamp": (None, None)}.get(activation.step.name)
    if bounds is None or activation.step.kwargs or not isinstance(args[0], Ref):
        return False
    given: tuple[Any, ...] = (*args[1:], *bounds[len(args) - 1 :])
    if len(given) != 2 or any(isinstance(g, Ref | PerBatch) for g in given):
        return False
    product = _product(args[0].value, makers, found)
    if product is None or given == (None, None):
        return False
    product.low, product.high = given
    return _take_over(product, activation, makers)
