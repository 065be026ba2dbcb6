"""Masks of the sanity arms: each says of a method what it would be worth without its choice of weights.

Source: Frankle et al. 2021, Pruning neural networks at initialization, section 5.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from prunery.core.masks import Masks
from prunery.core.prune import prune
from prunery.core.scope import scope as scopes
from prunery.errors import MasksError, ModelError
from prunery.lab.record import Number
from prunery.seeds import number

UNLIKELY = math.log(1e9)  # of so many equally likely draws, two that are the same are no accident


def shuffled(
    model: nn.Module, like: Masks, before: Masks | None, args: Mapping[str, Any], example: torch.Tensor
) -> Masks:
    """Masks that keep as many units of each layer as `like` does, drawn at random among those of `before`.

    Prunes `model` in place. This is random pruning with the same layer ratios, and where the scope has lines
    with the same number in each.
    """
    left = {x.name: x.units_kept / x.units_total for x in like.layers() if x.units_total}
    masks = prune(
        model,
        {name: 1 - share for name, share in left.items() if share},
        criterion="random",
        granularity=args["granularity"],
        scope=args["scope"] if scopes.bind(args["scope"]).facts.get("lines") else "layer",
        masks=before,
        example=example,
        exclude=args["exclude"],
        include=args.get("include", ()),
        seed=args["seed"],
    )
    empty = {name: torch.zeros_like(mask) for name, mask in like.items() if not mask.any()}
    units = {name: (0, total) for name, (_, total) in like.units.items() if name in empty} | masks.units
    whole = Masks({**masks, **empty}, uncounted=sorted(like.uncounted), units=units)
    whole.apply_(model)
    return whole


def fresh(built: Callable[[int], nn.Module], seed: int, *, phase: int) -> nn.Module:
    """Return the model with other initial weights than those of `seed`; ModelError if they are the same."""
    model = built(number(seed, "reinit", phase))
    first = built(seed).state_dict()
    if all(torch.equal(value, first[name]) for name, value in model.state_dict().items()):
        raise ModelError(
            "the sanity arm 'reinit'",
            "built with another seed, the model has the same weights: it seeds itself, or loads them",
            "leave that to prunery, which seeds torch before it builds the model, or leave the arm out",
        )
    return model


def agreement(arm: str, masks: Masks, original: Masks) -> tuple[Number, ...]:
    """Return in how many positions the arm's masks are the method's; MasksError if they are the same masks.

    They may be the same where little choice was left: where each layer keeps all of its units, or none, or
    where a random draw meets the same few units by chance.
    """
    same = sum(int((masks[name] == mask).sum()) for name, mask in original.items())
    total = sum(mask.numel() for mask in original.values())
    if same == total and _log_draws(original) > UNLIKELY:
        raise MasksError(
            f"the sanity arm {arm!r}",
            "its masks are those of the method, weight for weight",
            "report this as a defect of the library",
        )
    return (Number("agreement", same / total, "fraction", count=same, total=total),)


def _log_draws(masks: Masks) -> float:
    """Return the logarithm of how many masks keep as many units of each layer."""
    return sum(_log_choose(layer.units_total, layer.units_kept) for layer in masks.layers())


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
