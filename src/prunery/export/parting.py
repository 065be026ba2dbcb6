"""Finds the operation where a smaller model first computes something else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from prunery.graph.channels import Ids
from prunery.graph.labels import narrowed, support
from prunery.graph.read_torch import with_values
from prunery.graph.shrink import Removal


@dataclass(frozen=True)
class Stage:
    """A model, a smaller one made from it, and what was removed. idle: units that stay and do not matter."""

    before: nn.Module
    after: nn.Module
    removal: Removal
    idle: Ids


def parting(stages: Sequence[Stage], inputs: Any) -> str:
    """Return the first operation whose result differs, as text; empty where none is found."""
    for stage in stages:
        before, after = with_values(stage.before, inputs), with_values(stage.after, inputs)
        known = stage.removal.flow.program.calls
        if len(before.calls) != len(known):
            return ""
        for call, old, new in zip(known, before.calls, after.calls, strict=False):
            if old.name != new.name:
                return f"{call}, where the smaller model does {new.name}"
            for label, one, other in zip(call.outputs(), old.outputs(), new.outputs(), strict=False):
                if not stage.removal.flow.is_weight(label) and _differ(stage, label, one, other):
                    return str(call)
        if after.error is not None and len(after.calls) < len(known):
            return str(known[len(after.calls)])
    return ""


def _differ(stage: Stage, label: Tensor, one: Tensor, other: Tensor) -> bool:
    """Return whether a result differs where both models have it and it matters."""
    flow = stage.removal.flow
    for ids in flow.labels(label):
        ids = narrowed(ids, flow.channels)
        for axis in support(ids)[:1]:
            if one.ndim != label.ndim or one.shape[axis] != ids.size:
                return False
            line = flow.channels.find(ids.reshape(-1))
            kept = ~np.isin(line, stage.removal.removed)
            if other.shape[axis] != kept.sum():
                return True
            matters = ~np.isin(line, stage.idle)
            one = one.index_select(axis, torch.from_numpy(np.flatnonzero(kept & matters)).to(one.device))
            other = other.index_select(axis, torch.from_numpy(np.flatnonzero(matters[kept])).to(other.device))
    if one.shape != other.shape or not one.is_floating_point():
        return one.shape != other.shape
    gap = (one.double() - other.double()).nan_to_num().abs()
    return bool(gap.numel()) and bool(gap.max() > 1e-4 * one.double().nan_to_num().abs().max())
