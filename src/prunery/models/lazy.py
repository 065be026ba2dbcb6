"""Lazy layers (`nn.LazyLinear` and the like) get their sizes, and their first weights, from one run."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from prunery.errors import ModelError
from prunery.factories import as_ours
from prunery.forward import eval_mode
from prunery.models.names import Shape


def uninitialised(model: nn.Module) -> Iterator[str]:
    """Yield the names of parameters and buffers that have no size yet."""
    named = chain(model.named_parameters(), model.named_buffers())
    yield from (name for name, tensor in named if is_lazy(tensor))


def materialise_(name: str, model: nn.Module, shape: Shape | None) -> None:
    """Run `model` once on an image of zeros in eval mode, in place, if anything in it has no size yet.

    The weights are drawn from the global generator, as those of other layers are where they are made.
    ModelError: no `shape` (C, H, W) is given, the run raises, or it leaves something without a size.
    """
    lazy = list(uninitialised(model))
    if not lazy:
        return
    asked = f"model {name!r} with lazy layers ({_some(lazy)})"
    if shape is None:
        raise ModelError(asked, "their sizes depend on the images", "give shape=(C, H, W)")
    device = next(model.parameters(), torch.empty(0)).device
    do = f"make it take images of shape {tuple(shape)}, or use layers with sizes"
    with as_ours(asked, do, ModelError, "running it on zeros raises"), eval_mode(model), torch.no_grad():
        model(torch.zeros(1, *shape, device=device))
    if left := list(uninitialised(model)):
        problem = f"one run in eval mode left {_some(left)} without a size"
        raise ModelError(asked, problem, "use layers with sizes for what does not run in eval mode")


def _some(names: list[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
