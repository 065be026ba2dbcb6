"""Means and variances of channels, set to those of the dense network: biases, scales and norms corrected."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from prunery.core.layers import all_layers
from prunery.core.matrices import check_tied, matrix_of
from prunery.core.weights import is_conv1d
from prunery.train.beside import call_order, check_counts, modules_of, pairs
from prunery.train.recovery_context import RecoveryContext

_CONSTANT = 1e-3  # of the dense deviation: what varies less is not scaled up


@dataclass
class Channels:
    """Sums over examples and places of a module's outputs, float64, by channel: of x and x²."""

    first: Tensor | None = None
    second: Tensor | None = None
    count: int = 0

    def add(self, x: Tensor, axis: int) -> None:
        """Add outputs whose channels lie along `axis`."""
        flat = x.double().movedim(axis, 0).flatten(1)
        first, second = flat.sum(1), flat.square().sum(1)
        self.first = first if self.first is None else self.first + first
        self.second = second if self.second is None else self.second + second
        self.count += flat.shape[1]

    def mean(self) -> Tensor:
        """Return the mean of each channel."""
        assert self.first is not None
        return self.first / self.count

    def deviation(self) -> Tensor:
        """Return the standard deviation of each channel."""
        assert self.second is not None
        return (self.second / self.count - self.mean().square()).clamp_min(0).sqrt()


def channel_axis(module: nn.Module) -> int | None:
    """Return the axis of channels in a module's outputs, -1 the last; None for a kind without one."""
    if isinstance(module, nn.Linear | nn.LayerNorm) or is_conv1d(module):
        return -1
    kinds = (nn.modules.conv._ConvNd, nn.modules.batchnorm._BatchNorm, nn.GroupNorm)
    return 1 if isinstance(module, kinds) else None


def match_(context: RecoveryContext, *, images: int, scale: bool) -> int:
    """Set means of channels, and if `scale` variances, to the dense network's; return in how many modules.

    In the order of calls, each on what those before it give now. A channel that is constant is not scaled.
    """
    check_counts(images=images)
    modules = modules_of(context.model)
    names = [name for name, module in modules.items() if _can_match(module, scale)]
    for layer in all_layers(context.model)[0] if scale else ():
        if layer.module_name in names:
            check_tied(context.model, layer)
    calls = call_order(context.model, names, next(iter(context.images(1))))
    for name, count in calls.items():
        dense, own = summed(context, name, images, count)
        factor = torch.ones_like(own.mean())
        if scale:
            ratio = dense.deviation() / own.deviation()
            factor = torch.where(own.deviation() > _CONSTANT * dense.deviation(), ratio, factor)
        _moved(context.model, modules[name], name, factor, dense.mean() - factor * own.mean())
        if context.masks is not None:
            context.masks.apply_(context.model)
    return len(calls)


def _can_match(module: nn.Module, scale: bool) -> bool:
    """Return whether a module has an axis of channels and a bias for each (if `scale`, a weight will do)."""
    if channel_axis(module) is None or not isinstance(module.weight, nn.Parameter):
        return False
    if isinstance(module, nn.LayerNorm) and module.weight.ndim != 1:
        return False
    return scale or isinstance(getattr(module, "bias", None), nn.Parameter)


def _moved(model: nn.Module, module: nn.Module, name: str, factor: Tensor, shift: Tensor) -> None:
    """Multiply each channel of a module's outputs by its factor; add the shift if it has a bias."""
    weight = module.get_parameter("weight")
    with torch.no_grad():
        if weight.ndim == 1:
            weight.mul_(factor)
        else:
            layer = next(x for x in all_layers(model)[0] if x.module_name == name)
            matrix = matrix_of(layer)
            rows = matrix.of(weight) * factor.view(matrix.groups, matrix.outputs, 1).to(weight.dtype)
            weight.copy_(matrix.back(rows, tuple(weight.shape)))
        if isinstance(getattr(module, "bias", None), nn.Parameter):
            bias = module.get_parameter("bias")
            bias.copy_(bias * factor + shift)


def summed(context: RecoveryContext, name: str, images: int, calls: int) -> tuple[Channels, Channels]:
    """Return the sums of a module's outputs in the dense and in the pruned network."""
    axis = channel_axis(modules_of(context.model)[name])
    found = Channels(), Channels()

    def counted() -> Iterator[Tensor]:
        for x in context.images(images):
            context.count(read=2 * len(x))
            yield x

    models = (context.dense, context.model)
    for both in pairs(models, name, counted(), calls=calls, side="outputs"):
        for sums, x in zip(found, both, strict=True):
            sums.add(x, 1 if axis is None else axis)
    return found
