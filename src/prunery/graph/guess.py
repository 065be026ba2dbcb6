"""What a model may be called with, where nobody said: made up from the layers that it holds."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd

from prunery.graph.read_torch import Program, attempt
from prunery.wrappers import unwrapped

_SIZES = {1: (64, 16), 2: (32, 28, 64, 224, 16), 3: (16,)}  # of an input in space, by its axes
_LENGTH = 16  # of a sequence
_TRIES = 24


def guessed(model: nn.Module) -> list[Program]:
    """Return what the model computes on made-up examples; empty where it can be called with none of them.

    They are of the first layer's kind: more than one where that may be of several, rows or sequences of them.
    """
    model, tried = unwrapped(model), 0
    number = _arguments(model)
    for module in model.modules():
        programs = []
        for example in _examples(module, _lengths(model)):
            tried += 1
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of what a wrong guess meets
                program = attempt(model, (example,) * number)
            if program.error is None and not program.asked_for_values:
                programs.append(program)
                if isinstance(module, _ConvNd):
                    break
        if programs or tried > _TRIES:
            return programs
    return []


def _arguments(model: nn.Module) -> int:
    """Return how many arguments a call of the model needs."""
    try:
        parameters = inspect.signature(model.forward).parameters.values()
    except (TypeError, ValueError):
        return 1
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return max(1, sum(p.default is p.empty and p.kind in kinds for p in parameters))


def _lengths(model: nn.Module) -> list[int]:
    """Return lengths of sequences at which a norm over channels could be one over positions."""
    norms = [m.num_features for m in model.modules() if isinstance(m, _NormBase)]
    norms += [m.num_channels for m in model.modules() if isinstance(m, nn.GroupNorm)]
    return list(dict.fromkeys([_LENGTH, *norms]))


def _examples(module: nn.Module, lengths: Sequence[int]) -> Iterator[Tensor]:
    weight: Any = getattr(module, "weight", None)
    like: dict[str, Any] = (
        {"device": weight.device, "dtype": weight.dtype} if isinstance(weight, Tensor) else {}
    )
    if isinstance(module, _ConvNd):
        axes = len(module.kernel_size)
        for size in _SIZES[axes]:
            yield torch.zeros(1, module.in_channels, *(size,) * axes, **like)
    elif isinstance(module, nn.Embedding):
        yield torch.zeros(1, _LENGTH, dtype=torch.long, device=weight.device)
    elif isinstance(module, nn.Linear):
        yield torch.zeros(1, module.in_features, **like)
        for length in lengths:
            yield torch.zeros(1, length, module.in_features, **like)
    elif isinstance(module, nn.RNNBase):
        yield torch.zeros(_LENGTH, _LENGTH, module.input_size)
    elif isinstance(module, nn.MultiheadAttention):
        yield torch.zeros(_LENGTH, _LENGTH, module.embed_dim)
