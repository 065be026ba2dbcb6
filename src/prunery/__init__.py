"""Prunery: prune PyTorch networks, compare ways of pruning under one honest protocol, ship what is left.

Importing this package does not import torch; the first use of a name does.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prunery.core.criteria import criterion
    from prunery.core.granularity import granularity
    from prunery.core.layers import prunable
    from prunery.core.masks import Masks
    from prunery.core.prune import prune
    from prunery.core.schedule import schedule
    from prunery.core.scope import scope
    from prunery.errors import EmptyLayerWarning, PruneryError, PruneryWarning
    from prunery.export.compact import compact
    from prunery.export.container import load, save
    from prunery.graph.couplings import couplings
    from prunery.measure.cost import cost
    from prunery.measure.latency import latency
    from prunery.report.results.columns import column
    from prunery.runtime.callable import sparse_callable
    from prunery.train.compress import compress
    from prunery.train.recovery import recovery

__all__ = [
    "EmptyLayerWarning",
    "Masks",
    "PruneryError",
    "PruneryWarning",
    "column",
    "compact",
    "compress",
    "cost",
    "couplings",
    "criterion",
    "granularity",
    "latency",
    "load",
    "prunable",
    "prune",
    "recovery",
    "save",
    "schedule",
    "scope",
    "sparse_callable",
]

__version__ = "0.1.0"

_HOME = {
    "EmptyLayerWarning": "errors",
    "Masks": "core.masks",
    "PruneryError": "errors",
    "PruneryWarning": "errors",
    "column": "report.results.columns",
    "compact": "export.compact",
    "compress": "train.compress",
    "cost": "measure.cost",
    "couplings": "graph.couplings",
    "criterion": "core.criteria",
    "granularity": "core.granularity",
    "latency": "measure.latency",
    "load": "export.container",
    "prunable": "core.layers",
    "prune": "core.prune",
    "recovery": "train.recovery",
    "save": "export.container",
    "schedule": "core.schedule",
    "scope": "core.scope",
    "sparse_callable": "runtime.callable",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'prunery' has no attribute {name!r}")
    return getattr(import_module(f"prunery.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
