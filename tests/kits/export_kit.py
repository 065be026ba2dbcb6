"""Masks and comparisons for the tests of smaller models."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from prunery.core.masks import Masks
from prunery.graph.coupling import graph_of


def channel_masks(model: nn.Module, example: Any, share: float = 0.5) -> Masks:
    """Return masks that remove a share of the units of every free group: all that they own is 0."""
    masks: dict[str, Tensor] = {}
    parameters = dict(model.named_parameters())
    for group in graph_of(model, example).free:
        for part in group.slices:
            if part.name in parameters:
                mask = masks.setdefault(part.name, torch.ones_like(parameters[part.name], dtype=torch.bool))
                gone = (part.unit >= 0) & (part.unit < int(share * group.count))
                mask.index_fill_(part.axis, torch.from_numpy(gone.nonzero()[0]), False)
    return Masks(masks)


def weight_masks(model: nn.Module, share: float, seed: int = 0) -> Masks:
    """Return masks that remove about a share of the weights of every matrix, at random."""
    rng = torch.Generator().manual_seed(seed)
    matrices = {name: p for name, p in model.named_parameters() if p.ndim > 1}
    return Masks({name: torch.rand(p.shape, generator=rng) >= share for name, p in matrices.items()})


def count(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def outputs(model: nn.Module, *inputs: Any) -> Tensor:
    with torch.no_grad():
        return model.eval()(*inputs)


def gap(small: nn.Module, model: nn.Module, masks: Any, *inputs: Any) -> float:
    """Return the largest difference between a smaller model and the masked one, by the largest output."""
    import copy

    masked = copy.deepcopy(model)
    if masks:
        masks.apply_(masked)
    expected = outputs(masked, *inputs)
    return float((outputs(small, *inputs) - expected).abs().max() / expected.abs().max())


def seeded(build: Any, seed: int = 0) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build()


def normal(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))
