"""Gathering evidence: the gradients and draws that criteria need, and no trace left behind.

The model is run through `functional_call` on tensors that stand in for its own: parameters are detached
(and masked), buffers are copies. So `.grad`, weights, buffers and `requires_grad` are never touched; the
random state is forked. Gradients of several batches are averaged over examples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from prunery.core.masks import Masks
from prunery.core.units import Layer
from prunery.errors import EvidenceError
from prunery.seeds import number, stream


@dataclass(frozen=True)
class Question:
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

    def where(self) -> torch.device:
        """The device that scoring runs on: the one asked for, or the model's own."""
        return self.device or self.layers[0].parameter.device


def gather(kind: str, question: Question) -> dict[str, Tensor]:
    """Evidence of one kind: per layer name a tensor shaped like the weight."""
    with _forked(question.seed, question.where()), torch.enable_grad():
        return _GATHER[kind](question)


def _weight(q: Question) -> dict[str, Tensor]:
    return {layer.name: layer.parameter.detach().to(q.where()) for layer in q.layers}


def _noise(q: Question) -> dict[str, Tensor]:
    return {
        layer.name: torch.rand(layer.parameter.shape, generator=stream(q.seed, "noise", layer.name)).to(
            q.where()
        )
        for layer in q.layers
    }


def _grad(q: Question) -> dict[str, Tensor]:
    """The gradient of the mean loss, dL/dw."""
    return _summed(q, lambda loss, weights: _grads(loss, weights))


def _hessian_grad(q: Question) -> dict[str, Tensor]:
    """Hg: the product of the loss's Hessian with its gradient, both over the prunable weights.

    Fused attention and cuDNN's recurrent layers have no second derivative, so plain ones run instead.
    """
    gradient = _grad(q)

    def product(loss: Tensor, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        first = _grads(loss, weights, create_graph=True)
        dot = torch.stack([(first[name] * gradient[name]).sum() for name in weights]).sum()
        return (
            _grads(dot, weights)
            if dot.requires_grad
            else {n: torch.zeros_like(w) for n, w in weights.items()}
        )

    with sdpa_kernel(SDPBackend.MATH), torch.backends.cudnn.flags(enabled=False):
        return _summed(q, product)


def _flow_grad(q: Question) -> dict[str, Tensor]:
    """dR/d|w| in float64: R the summed output for an input of ones, all parameters and buffers in absolute
    value, batch norm in eval mode. float32 overflows from about 44 residual layers on.
    """
    stand_ins = {name: _absolute(tensor) for name, tensor in _stand_ins(q).items()}
    weights = {layer.name: stand_ins[layer.name].requires_grad_() for layer in q.layers}
    args, kwargs = _call_of(_example(q), q.where())
    with _eval_mode(q.model):
        output = functional_call(q.model, stand_ins, _ones(args), _ones(kwargs))
        return _grads(_first_tensor(output).sum(), weights)


def run_quietly(q: Question) -> None:
    """Call the model once on the example, in eval mode; buffers, modes and random state are restored."""
    where = q.layers[0].parameter.device
    args, kwargs = _call_of(_example(q), where)
    buffers = [(buffer, buffer.clone()) for buffer in q.model.buffers()]
    with _forked(q.seed, where), _eval_mode(q.model), torch.no_grad():
        q.model(*args, **kwargs)
        for buffer, before in buffers:
            buffer.copy_(before)


_GATHER: dict[str, Callable[[Question], dict[str, Tensor]]] = {
    "weight": _weight,
    "noise": _noise,
    "grad": _grad,
    "hessian_grad": _hessian_grad,
    "flow_grad": _flow_grad,
}


def _summed(
    q: Question, of_loss: Callable[[Tensor, dict[str, Tensor]], dict[str, Tensor]]
) -> dict[str, Tensor]:
    """The mean over examples of what `of_loss` gives for the mean loss of each batch."""
    total: dict[str, Tensor] = {}
    examples = 0
    for inputs, target, size in _batches(q):
        stand_ins = _stand_ins(q)  # anew: a batch norm in train mode updates the copies of its buffers
        weights = {layer.name: stand_ins[layer.name].requires_grad_() for layer in q.layers}
        args, kwargs = _call_of(inputs, q.where())
        output = functional_call(q.model, stand_ins, args, kwargs)
        for name, value in of_loss(_loss(q, output, target), weights).items():
            value = value.detach() * size
            total[name] = total[name] + value if name in total else value
        examples += size
    return {name: value.div_(examples) for name, value in total.items()}


def _batches(q: Question) -> Iterator[tuple[Any, Any, int]]:
    """(what the model is called with, target, number of examples) for each batch."""
    if q.batches is None:
        raise _lacks("batches", "pass batches=[(x, y), ...] or a DataLoader")
    if isinstance(q.batches, Iterator):
        raise _lacks("batches that can be read again (it got an iterator)", "pass a list or a DataLoader")
    seen = 0
    for batch in q.batches:
        if isinstance(batch, Mapping):
            inputs, target = batch, batch
        elif isinstance(batch, tuple | list) and len(batch) == 2:
            inputs, target = batch
        else:
            raise _lacks(
                f"batches of (x, y) or dicts (it got {type(batch).__name__})", "pass a list of pairs"
            )
        target = _moved(target, q.where())
        sized = target if isinstance(target, Tensor) else _first_tensor(inputs)
        seen += 1
        yield inputs, target, len(sized)
    if not seen:
        raise _lacks("at least one batch (it got none)", "pass batches that hold some")


def _loss(q: Question, output: Any, target: Any) -> Tensor:
    temperature = q.options.get("temperature", 1.0)
    if temperature != 1:
        if not isinstance(output, Tensor):
            raise _lacks(
                f"logits to divide by the temperature {temperature:g}", "pass options={'temperature': 1}"
            )
        output = output / temperature
    if q.loss is not None:
        return q.loss(output, target)
    if isinstance(target, Mapping):
        value = output["loss"] if isinstance(output, Mapping) else getattr(output, "loss", None)
        if not isinstance(value, Tensor):
            raise _lacks("output.loss (the batches are dicts)", "pass loss=, a function of (output, batch)")
        return value
    return functional.cross_entropy(output, target)


def _grads(value: Tensor, weights: dict[str, Tensor], *, create_graph: bool = False) -> dict[str, Tensor]:
    if not value.requires_grad:
        raise _lacks(
            "an output that depends on the weights", "look for no_grad or detach in the model's forward"
        )
    found = torch.autograd.grad(value, list(weights.values()), create_graph=create_graph, allow_unused=True)
    pairs = zip(weights.items(), found, strict=True)
    return {name: torch.zeros_like(w) if g is None else g for (name, w), g in pairs}


def _stand_ins(q: Question) -> dict[str, Tensor]:
    """The model's parameters, detached and masked, and copies of its buffers, on the scoring device."""
    where = q.where()
    stand_ins = {name: p.detach().to(where) for name, p in q.model.named_parameters()}
    for layer in q.layers:  # a tied parameter goes by the name of its layer
        stand_ins[layer.name] = layer.parameter.detach().to(where)
        for alias in layer.aliases:
            stand_ins.pop(alias, None)
    for name, mask in q.masks.items():
        tensor = stand_ins[name]
        stand_ins[name] = torch.where(
            mask.to(where), tensor, torch.zeros((), dtype=tensor.dtype, device=where)
        )
    buffers = {name: b.detach().to(where, copy=True) for name, b in q.model.named_buffers()}
    return {**stand_ins, **buffers}


def _example(q: Question) -> Any:
    if q.example is not None:
        return q.example
    if q.batches is None:
        raise _lacks(
            "an example input", "pass example=, what the model is called with (a tensor, tuple or dict)"
        )
    first = next(iter(q.batches))
    inputs = first if isinstance(first, Mapping) else first[0]
    return inputs[:1] if isinstance(inputs, Tensor) else inputs


def _call_of(inputs: Any, where: torch.device) -> tuple[tuple[Any, ...], dict[str, Any]]:
    moved = _moved(inputs, where)
    if isinstance(moved, Mapping):
        return (), dict(moved)
    return (tuple(moved), {}) if isinstance(moved, tuple | list) else ((moved,), {})


def _moved(value: Any, where: torch.device) -> Any:
    if isinstance(value, Tensor):
        return value.to(where)
    if isinstance(value, Mapping):
        return {k: _moved(v, where) for k, v in value.items()}
    return type(value)(_moved(v, where) for v in value) if type(value) in (tuple, list) else value


def _absolute(tensor: Tensor) -> Tensor:
    return tensor.double().abs() if tensor.is_floating_point() else tensor


def _ones(inputs: Any) -> Any:
    """One example of ones (float64) for each floating-point input; token indices stay as they are."""
    if isinstance(inputs, Tensor):
        return torch.ones_like(inputs[:1], dtype=torch.float64) if inputs.is_floating_point() else inputs[:1]
    if isinstance(inputs, dict):
        return {k: _ones(v) for k, v in inputs.items()}
    return type(inputs)(_ones(v) for v in inputs) if type(inputs) in (tuple, list) else inputs


def _first_tensor(output: Any) -> Tensor:
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
    raise _lacks(f"a tensor as the model's output (it got {type(output).__name__})", "wrap the model")


@contextmanager
def _eval_mode(model: nn.Module) -> Iterator[None]:
    modes = [(module, module.training) for module in model.modules()]
    try:
        for module, _ in modes:
            module.training = False
        yield
    finally:
        for module, mode in modes:
            module.training = mode


@contextmanager
def _forked(seed: int, where: torch.device) -> Iterator[None]:
    devices = [where] if where.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(number(seed, "scoring"))
        if devices:
            torch.cuda.manual_seed(number(seed, "scoring"))
        yield


def _lacks(what: str, do: str) -> EvidenceError:
    return EvidenceError("evidence for the criterion", f"it needs {what}", do)
