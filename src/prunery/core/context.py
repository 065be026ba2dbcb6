"""What a model may be run on while it is scored, and running it so that no trace is left."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from prunery.core.layers import Layer
from prunery.core.masks import Masks
from prunery.core.selection import Pool
from prunery.core.units import UnitSet
from prunery.errors import EvidenceError, ModelError, PruneryError, PruneryWarning
from prunery.forward import StandIns, call_of, eval_mode, forked, mapped, stand_ins_for, standing_in
from prunery.graph.read_torch import Program, read
from prunery.seeds import stream
from prunery.wrappers import unwrapped


@dataclass(frozen=True)
class ScoringContext:
    """What may be asked: a model, its prunable layers and masks, and what it may be run on.

    jitter: by how much, relative to itself, each weight is moved at random before the model is run.
    units, pools: of the cut that is made, the unit sets and who competes with whom (members by index).
    memo: what one cut finds out and the next ones of the same call read (see `evidence` and `silence`).
    """

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
    jitter: float = 0.0
    units: Sequence[UnitSet] = ()
    pools: Sequence[Pool] = ()
    memo: dict[Any, Any] = field(default_factory=dict, compare=False, repr=False)

    def where(self) -> torch.device:
        """Return the device that scoring runs on: the one asked for, or the model's own."""
        return self.device or self.layers[0].parameter.device


@contextmanager
def running(q: ScoringContext, stand_ins: StandIns) -> Iterator[nn.Module]:
    """Within it the bare model runs on stand-ins; gradients are taken here too, for they may run it again.

    A wrapper (torch.compile, DistributedDataParallel) would compile the stand-ins, or wait for other ranks.
    """
    with standing_in(q.model, stand_ins):
        yield unwrapped(q.model)


@contextmanager
def errors_are_ours(asked: str) -> Iterator[None]:
    """Within it, whatever a user's model, data or function raises becomes an EvidenceError that says so."""
    try:
        yield
    except (PruneryError, PruneryWarning):
        raise
    except Exception as error:
        raise EvidenceError(
            asked,
            f"running the model on what was given raises {summary(error)}",
            "check example, batches (tensors, labels as class indices) and loss (a scalar)",
        ) from error


def summary(error: Exception) -> str:
    """Return an error's type and the first line of its message."""
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}".rstrip(": .")


def run_quietly(q: ScoringContext, stand_ins: StandIns) -> None:
    """Call the model once on the example, in eval mode, on stand-ins; nothing of it changes."""
    with errors_are_ours("a run of the model on the example"):
        args, kwargs = call_on(example_of(q), q.where())
        with forked(q.seed, q.where()), eval_mode(q.model), running(q, stand_ins) as model, torch.no_grad():
            model(*args, **kwargs)


def program_of(q: ScoringContext, *, training: bool = False) -> Program:
    """Return what the model computes on the example, in eval mode; training: in the mode that it is in."""
    example = moved(example_of(q), q.layers[0].parameter.device)
    try:
        return read(q.model, example, training=training)
    except ModelError as error:
        with errors_are_ours("a run of the model on the example"):
            raise (error.__cause__ or error) from error


def stand_ins_of(q: ScoringContext) -> StandIns:
    """Return stand-ins for all that the model holds; masked, and moved at random if the context says so."""
    stand_ins = stand_ins_for(q.model, q.masks, q.where())
    for layer in q.layers if q.jitter else ():
        draw = torch.rand(
            layer.parameter.shape, generator=stream(q.seed, "jitter", str(q.jitter), layer.name)
        )
        factor = (1 + q.jitter * (2 * draw - 1)).to(q.where(), layer.parameter.dtype)
        stand_ins[id(layer.parameter)] = stand_ins[id(layer.parameter)] * factor
    return stand_ins


def weights_among(stand_ins: StandIns, q: ScoringContext) -> dict[str, Tensor]:
    """Return the stand-ins of the prunable weights by name; gradients flow to them from now on."""
    return {layer.name: stand_ins[id(layer.parameter)].requires_grad_() for layer in q.layers}


def gradients(
    value: Tensor, weights: Mapping[str, Tensor], *, create_graph: bool = False
) -> dict[str, Tensor]:
    """Return d value / d weight per name, zero where the value does not depend on the weight."""
    if not value.requires_grad:
        raise lacks(
            "an output that depends on the weights",
            "look for no_grad or detach in the model's forward and in the loss",
        )
    grads = torch.autograd.grad(value, list(weights.values()), create_graph=create_graph, allow_unused=True)
    pairs = zip(weights.items(), grads, strict=True)
    return {name: torch.zeros_like(w) if g is None else g for (name, w), g in pairs}


def batches_of(q: ScoringContext, *, labelled: bool = True) -> Iterator[tuple[Any, Any, int]]:
    """Yield (what the model is called with, target, number of examples) for each batch.

    labelled: a batch that is a tensor is an error; otherwise it is inputs, whose target is None.
    """
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
        elif isinstance(batch, Tensor) and not labelled:
            inputs, target = batch, None  # type: ignore[assignment]
        else:
            raise lacks(f"batches of (x, y) or dicts (it got {type(batch).__name__})", "pass a list of pairs")
        target = moved(target, q.where())
        sized = target if isinstance(target, Tensor) else first_tensor(inputs)
        if not sized.ndim:
            raise lacks("batches (it got single examples, or one label for all)", "pass a DataLoader")
        seen += 1
        yield inputs, target, len(sized)
    if not seen:
        raise lacks("at least one batch (it got none)", "pass batches that hold some")


def singles_of(q: ScoringContext) -> list[Any]:
    """Return the context's batches as batches of one example each, cut along their first axes."""
    singles = []
    for batch, (_, _, count) in zip(q.batches or (), batches_of(q), strict=True):
        for i in range(count):

            def one(t: Tensor, i: int = i, count: int = count) -> Tensor:
                return t[i : i + 1] if t.ndim and len(t) == count else t

            singles.append(mapped(one, batch))
    return singles


def example_of(q: ScoringContext) -> Any:
    """Return what the model is called with: the example, or one input of the first batch."""
    if q.example is not None:
        return q.example
    inputs, _ = first_batch(q)
    return inputs[:1] if isinstance(inputs, Tensor) else inputs


def first_batch(q: ScoringContext) -> tuple[Any, Any]:
    """Return the inputs and the target of the first batch; None for a target that it lacks."""
    if q.batches is None:
        raise lacks(
            "an example input", "pass example=, what the model is called with (a tensor, tuple or dict)"
        )
    inputs, target, _ = next(batches_of(q, labelled=False))
    return inputs, target


def call_on(inputs: Any, where: torch.device) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return (args, kwargs) of a call with `inputs`, on the device `where`."""
    return call_of(moved(inputs, where))


def moved(value: Any, where: torch.device) -> Any:
    """Return `value` with each tensor in it on the device `where`."""
    return mapped(lambda tensor: tensor.to(where, copy=tensor.is_inference()), value)


def first_tensor(output: Any) -> Tensor:
    """Return the first tensor with an axis in `output`, or its `logits`."""
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
    raise lacks(f"a tensor in what the model is called with (it got {type(output).__name__})", "pass one")


def lacks(what: str, do: str) -> EvidenceError:
    """Return the error that says what a criterion needs and was not given."""
    return EvidenceError("evidence for the criterion", f"it needs {what}", do)
