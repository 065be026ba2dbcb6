"""What a model may be run on while it is scored, and running it so that no trace is left."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from prunery.core.forward import StandIns, call_of, eval_mode, forked, mapped, standing_in
from prunery.core.layers import Layer
from prunery.core.masks import Masks
from prunery.errors import EvidenceError


@dataclass(frozen=True)
class ScoringContext:
    """What may be asked: a model, its prunable layers and masks, and what it may be run on."""

    model: nn.Module
    layers: Sequence[Layer]
    masks: Masks = field(default_factory=lambda: Masks({}))
    example: Any = None
    batches: Any = None
    loss: Callable[[Any, Any], Tensor] | None = None
    device: torch.device | None = None
    seed: int = 0
    options: Mapping[str, Any] = field(default_factory=dict)
    exclude: Sequence[str] = ()

    def where(self) -> torch.device:
        """The device that scoring runs on: the one asked for, or the model's own."""
        return self.device or self.layers[0].parameter.device


def run_quietly(q: ScoringContext, stand_ins: StandIns) -> None:
    """Call the model once on the example, in eval mode, on stand-ins; nothing of it changes."""
    args, kwargs = call_on(example_of(q), q.where())
    with forked(q.seed, q.where()), eval_mode(q.model), standing_in(q.model, stand_ins), torch.no_grad():
        q.model(*args, **kwargs)


def batches_of(q: ScoringContext) -> Iterator[tuple[Any, Any, int]]:
    """(what the model is called with, target, number of examples) for each batch."""
    if q.batches is None:
        raise lacks("batches", "pass batches=[(x, y), ...] or a DataLoader")
    if isinstance(q.batches, Iterator):
        raise lacks("batches that can be read again (it got an iterator)", "pass a list or a DataLoader")
    seen = 0
    for batch in q.batches:
        if isinstance(batch, Mapping):
            inputs, target = batch, batch
        elif isinstance(batch, tuple | list) and len(batch) == 2:
            inputs, target = batch
        else:
            raise lacks(f"batches of (x, y) or dicts (it got {type(batch).__name__})", "pass a list of pairs")
        target = moved(target, q.where())
        sized = target if isinstance(target, Tensor) else first_tensor(inputs)
        seen += 1
        yield inputs, target, len(sized)
    if not seen:
        raise lacks("at least one batch (it got none)", "pass batches that hold some")


def example_of(q: ScoringContext) -> Any:
    """Return what the model is called with: the example, or one input of the first batch."""
    if q.example is not None:
        return q.example
    if q.batches is None:
        raise lacks(
            "an example input", "pass example=, what the model is called with (a tensor, tuple or dict)"
        )
    inputs = next(batches_of(q))[0]
    return inputs[:1] if isinstance(inputs, Tensor) else inputs


def call_on(inputs: Any, where: torch.device) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return (args, kwargs) of a call with `inputs`, on the device `where`."""
    return call_of(moved(inputs, where))


def moved(value: Any, where: torch.device) -> Any:
    """Return `value` with each tensor in it on the device `where`."""
    return mapped(lambda tensor: tensor.to(where), value)


def first_tensor(output: Any) -> Tensor:
    """Return the logits of a model's output, or the first tensor in it."""
    if isinstance(output, Tensor):
        return output
    if isinstance(getattr(output, "logits", None), Tensor):
        return output.logits  # type: ignore[no-any-return]
    values = (
        output.values() if isinstance(output, Mapping) else output if isinstance(output, tuple | list) else ()
    )
    for value in values:
        if isinstance(value, Tensor) and value.ndim:
            return value
    raise lacks(f"a tensor as the model's output (it got {type(output).__name__})", "wrap the model")


def lacks(what: str, do: str) -> EvidenceError:
    """Return the error that says what a criterion needs and was not given."""
    return EvidenceError("evidence for the criterion", f"it needs {what}", do)
