"""Means and variances of channels, set to those of the dense network: biases, scales and norms corrected."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from prunery.core.weights import is_conv1d
from prunery.train.beside import call_order, modules_of, pairs
from prunery.train.recovery_context import RecoveryContext


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


def correct_means_(context: RecoveryContext, *, images: int) -> int:
    """Add to each bias, in the order of calls, what its module's mean output lacks; return how many."""
    done = 0
    for name, module, both in _beside(context, images):
        bias, (dense, own) = module.get_parameter("bias"), both
        with torch.no_grad():
            bias.add_((dense.mean() - own.mean()).view_as(bias))
            if context.masks is not None:
                context.masks.apply_(context.model)
        done += bool(name)
    return done


def _beside(
    context: RecoveryContext, images: int
) -> Iterator[tuple[str, nn.Module, tuple[Channels, Channels]]]:
    """Yield each module with a bias for each channel, and its outputs' sums: the dense one's, its own."""
    modules = modules_of(context.model)
    names = [
        name
        for name, module in modules.items()
        if channel_axis(module) is not None
        and isinstance(getattr(module, "bias", None), nn.Parameter)
        and (not isinstance(module, nn.LayerNorm) or module.get_parameter("bias").ndim == 1)
    ]
    calls = call_order(context.model, names, next(iter(context.images(1))))
    for name in calls:
        yield name, modules[name], summed(context, name, images, calls[name])


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
