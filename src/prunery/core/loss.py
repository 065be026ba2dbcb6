"""The loss that gradient criteria follow: the one given, or cross entropy where labels leave no doubt.

Any other target (regression, several labels at once, one logit) has more than one loss that could be meant,
and a wrong guess has gradients that are zero or beside the point. So it is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from prunery.core.context import ScoringContext, lacks

_ASK = "pass loss=, a function of (output, target) that gives one number"


def loss_of(q: ScoringContext, output: Any, target: Any) -> Tensor:
    """Return the loss of one batch, the mean over its examples.

    Without `loss=`: the output's own loss for a batch that is a dict, else cross entropy with class indices
    or with probabilities. Raises EvidenceError where neither fits.
    """
    temperature = q.options.get("temperature", 1.0)
    made, output = output, _divided(output, temperature) if temperature != 1 else output
    if q.loss is not None:
        return _one_number(q.loss(output, target))
    if isinstance(target, Mapping):
        value = output.get("loss") if isinstance(output, Mapping) else getattr(output, "loss", None)
        if not isinstance(value, Tensor):
            raise lacks("output.loss (the batches are dicts)", "pass loss=, a function of (output, batch)")
        return _one_number(value)
    _check_classes(made, target)
    if not target.is_floating_point():
        return functional.cross_entropy(output, target.long())
    return functional.cross_entropy(output, target.to(output.dtype))


def _divided(output: Any, temperature: float) -> Tensor:
    if not isinstance(output, Tensor):
        raise lacks(f"logits to divide by the temperature {temperature:g}", "pass options={'temperature': 1}")
    return output / temperature


def _one_number(value: Any) -> Tensor:
    if not isinstance(value, Tensor) or value.numel() != 1:
        shape = f"one of shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
        raise lacks(f"a loss of one number in a tensor (it got {shape})", "return the mean over the examples")
    return value


def _check_classes(output: Any, target: Any) -> None:
    """Raise EvidenceError unless the output is logits of two or more classes, the target labels of them."""
    if not isinstance(output, Tensor) or not isinstance(target, Tensor):
        found = f"{type(output).__name__} and {type(target).__name__}"
        raise lacks(f"a loss for these outputs and targets (they are {found}, not tensors)", _ASK)
    shapes = f"outputs {tuple(output.shape)}, targets {tuple(target.shape)} of {_dtype(target)}"
    if output.ndim == 3 and output.shape[1] == output.shape[2]:
        raise lacks(f"a loss for outputs whose classes may lie along either axis ({shapes})", _ASK)
    if output.ndim < 2 or output.shape[1] < 2:
        raise lacks(f"a loss for one output per example ({shapes}): cross entropy over one class is 0", _ASK)
    if target.is_floating_point():
        if not _are_probabilities(output, target):
            raise lacks(
                f"a loss for targets that are neither class indices nor probabilities ({shapes})", _ASK
            )
    elif target.is_complex() or target.dtype is torch.bool or target.shape != _without_classes(output):
        raise lacks(f"a loss for targets that are no class index per example ({shapes})", _ASK)
    if _are_probabilities(output.detach(), output.detach()):
        what = "a loss for outputs that are probabilities already (each row sums to 1), for cross entropy"
        raise lacks(f"{what} takes logits", f"let the model end before its softmax, or {_ASK}")


def _are_probabilities(output: Tensor, target: Tensor) -> bool:
    """Whether each row of the target sums to 1 over the classes and has no negative entry (soft labels)."""
    if target.shape != output.shape or not bool((target >= 0).all()):
        return False
    sums = target.double().sum(1)
    slack = max(1e-4, 4 * torch.finfo(target.dtype).eps)  # labels in half precision add up to about 1
    return bool(((sums - 1).abs() <= slack).all())


def _without_classes(output: Tensor) -> tuple[int, ...]:
    return (output.shape[0], *output.shape[2:])


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")
