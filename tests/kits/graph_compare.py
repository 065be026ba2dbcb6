"""Compares a smaller copy of a model with the original whose removed channels are zero."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from prunery.forward import call_of, mapped, tensors
from prunery.graph.coupling import Graph, Group
from prunery.graph.shrink import Removal, shrunk

TOLERANCE = 1e-5


def chosen(groups: Iterable[Group], share: float, seed: int = 0) -> np.ndarray:
    """Return the roots of a random share of each group's units; at least one unit is left."""
    draw = np.random.default_rng(seed)
    roots = [
        draw.permutation(group.roots)[: min(group.count - 1, max(1, round(share * group.count)))]
        for group in groups
        if group.count > 1
    ]
    return np.concatenate(roots) if roots else np.zeros(0, np.int64)


def masked(model: nn.Module, removal: Removal) -> nn.Module:
    """Return a copy of a model in which everything that a removed channel owns is zero."""
    model = copy.deepcopy(model)
    named = dict((*model.named_parameters(), *model.named_buffers()))
    with torch.no_grad():
        for (name, axis), ids in removal.flow.axes.items():
            gone = np.flatnonzero(~removal.kept(ids))
            if len(gone) and not _direction(name, axis, named):
                named[name].index_fill_(axis, torch.from_numpy(gone), 0.0)
    return model


def _direction(name: str, axis: int, named: dict[str, Tensor]) -> bool:
    """Whether it is the axis of a direction that has a length: its length is 0, and it must not be."""
    length = named.get(name.replace("original1", "original0").replace("weight_v", "weight_g"))
    return name.endswith(("original1", "weight_v")) and length is not None and length.shape[axis] > 1


def call(model: nn.Module, example: Any) -> list[Tensor]:
    args, kwargs = call_of(mapped(torch.clone, example))
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(0)
        return list(tensors(model(*args, **kwargs)))


def difference(one: Sequence[Tensor], other: Sequence[Tensor]) -> float:
    """Return the largest difference, over the largest output; infinity where shapes differ."""
    if [t.shape for t in one] != [t.shape for t in other]:
        return float("inf")
    worst = 0.0
    for a, b in zip(one, other, strict=True):
        a, b = a.double(), b.double()
        if not torch.equal(a.isnan(), b.isnan()):
            return float("inf")
        if a.numel():
            gap = (a - b).nan_to_num(0.0, 0.0, 0.0).abs().max()
            worst = max(worst, float(gap / a.nan_to_num(0.0, 0.0, 0.0).abs().max().clamp_min(1e-6)))
    return worst


def worst(model: nn.Module, graph: Graph, roots: np.ndarray, examples: Iterable[Any]) -> float:
    """Return the largest difference between the smaller copy and the masked original on any example."""
    removal = Removal(graph.flow, roots)
    small, zeroed = shrunk(model, removal, graph.widths), masked(model, removal)
    return max(difference(call(zeroed, x), call(small, x)) for x in examples)


def verdict(model: nn.Module, graph: Graph, roots: np.ndarray, examples: Sequence[Any]) -> tuple[bool, str]:
    """Return whether a smaller copy computes the same; what single precision cannot tell, double must."""
    single = worst(model, graph, roots, examples)
    if single <= TOLERANCE:
        return True, ""
    double = worst(copy.deepcopy(model).double(), graph, roots, [mapped(_double, x) for x in examples])
    return double < 1e-9 and single < 1e-2, f"{single:.1e} in single and {double:.1e} in double precision"


def _double(tensor: Tensor) -> Tensor:
    return tensor.double() if tensor.is_floating_point() else tensor
