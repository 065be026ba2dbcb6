"""Batch norm's statistics, estimated anew for a network whose weights have changed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from prunery.data.batches import Batches
from prunery.data.splits import Split
from prunery.forward import eval_mode, placed

_ELEMENTS = 512 * 3 * 32 * 32  # of the images in one batch
_LEAST = 32  # images in one batch, however large they are


def batch_norms(model: nn.Module) -> list[nn.Module]:
    """The layers of the model that keep running statistics."""
    kind = nn.modules.batchnorm._NormBase
    return [m for m in model.modules() if isinstance(m, kind) and m.track_running_stats]


def estimate_(model: nn.Module, split: Split, *, images: int = 5120, batch: int = 512, seed: int) -> int:
    """The number of images read; the running means and variances are now the plain averages over them.

    Random training images without augmentation; no weight changes, nor the mode of any layer. A model
    without batch norm is left as it is, and 0 comes back. Batches of images larger than CIFAR's are smaller,
    down to 32, so that memory does not grow with them.
    Source: Li et al. 2020, EagleEye, section 3.3 (adaptive batch normalisation), which reads them from the
    training split too.
    """
    layers = batch_norms(model)
    if not layers:
        return 0
    device = next(model.parameters()).device
    batch = min(batch, max(_LEAST, _ELEMENTS // split.x[0].numel()))
    seen = 0
    with _averaging(model, layers), torch.no_grad():
        for x, _ in Batches(split.to(device), batch=batch, seed=seed, shuffle=True):
            if seen >= images:
                break
            model(placed(x, model))
            seen += len(x)
    return seen


@contextmanager
def _averaging(model: nn.Module, layers: list[nn.Module]) -> Iterator[None]:
    """Only these layers are in training mode, and each batch counts as much as every other."""
    rates = [(m, m.momentum) for m in layers]
    with eval_mode(model):
        for layer in layers:
            layer.reset_running_stats()  # type: ignore[operator]
            layer.momentum = None  # type: ignore[assignment]
            layer.training = True
        try:
            yield
        finally:
            for layer, rate in rates:
                layer.momentum = rate
