"""Evidence: what criteria need to know of the weights. Each kind is a row; gathering leaves no trace behind.

A row is a function of the context that gives a tensor per parameter name. Its fact `passes` is what it costs:
forward passes over each example. A criterion names the kinds that it reads in `needs`.

The model is run on tensors that stand in for its own (see `forward`), so `.grad`, weights, buffers and
`requires_grad` are never touched. Gradients of several batches are averaged over examples.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.utils.rnn import PackedSequence

from prunery.core.context import ScoringContext, batches_of, call_on, example_of, first_tensor, lacks
from prunery.core.forward import StandIns, eval_mode, forked, mapped, stand_ins_for, standing_in
from prunery.errors import ChoiceError, EvidenceError, PruneryError
from prunery.registry import F, Registry
from prunery.seeds import stream


class EvidenceRegistry(Registry):
    """The kinds of evidence; each says what it costs."""

    def add(self, *, passes: float | None = None, **facts: Any) -> Callable[[F], F]:
        """Return a decorator that enters a kind of evidence.

        passes: forward passes over each example that gathering it costs; a gradient is 3, a forward pass and
        a backward pass of twice its work. A kind that reads no example costs 0.
        Raises ChoiceError where it is missing: an unknown cost would be counted as none.
        """
        if isinstance(passes, bool) or not isinstance(passes, int | float) or not 0 <= passes < float("inf"):
            raise ChoiceError(
                "a kind of evidence",
                f"its cost is passes={passes!r}",
                "say how many forward passes over each example it costs, such as passes=3 for a gradient",
            )
        return super().add(passes=passes, **facts)


evidence = EvidenceRegistry("evidence")


def gather(kind: str, context: ScoringContext) -> dict[str, Tensor]:
    """Return the evidence of one kind: a tensor per parameter name of the context's layers.

    Whatever the model, its inputs or the loss raise comes as an EvidenceError that says so.
    """
    row = evidence[kind]
    try:
        with forked(context.seed, context.where()), torch.inference_mode(False), torch.enable_grad():
            gathered: dict[str, Tensor] = row.function(context)
    except PruneryError:
        raise
    except Exception as error:  # whatever the user's model, data or row raises
        said = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}".rstrip(": .")
        raise EvidenceError(
            "evidence for the criterion",
            f"running the model on what was given raises {said}",
            "check example, batches (tensors, labels as class indices) and loss (a scalar)",
        ) from error
    _check(row.name, gathered, context)
    return gathered


def _check(kind: str, gathered: Any, context: ScoringContext) -> None:
    """Raise EvidenceError unless there is a tensor for each layer."""
    tensors = gathered if isinstance(gathered, Mapping) else {}
    for layer in context.layers:
        if not isinstance(tensors.get(layer.name), Tensor):
            raise EvidenceError(
                f"evidence {kind!r} for {layer.name!r}",
                f"its function returned {type(tensors.get(layer.name, gathered)).__name__} for it",
                "return a mapping with a tensor for the name of each of context.layers",
            )


@evidence.add(passes=0, source="the weights themselves")
def weight(q: ScoringContext) -> dict[str, Tensor]:
    """Return the weights."""
    return {layer.name: layer.parameter.detach().to(q.where()) for layer in q.layers}


@evidence.add(passes=0, source="a uniform draw from the seed and the parameter's name")
def noise(q: ScoringContext) -> dict[str, Tensor]:
    """Return uniform draws from [0, 1), shaped like the weights."""
    return {
        layer.name: torch.rand(layer.parameter.shape, generator=stream(q.seed, "noise", layer.name)).to(
            q.where()
        )
        for layer in q.layers
    }


@evidence.add(passes=3, source="a forward pass, and a backward pass of twice its work")
def grad(q: ScoringContext) -> dict[str, Tensor]:
    """Return the gradient of the mean loss, dL/dw."""
    return _summed(q, lambda loss, weights: _grads(loss, weights))


@evidence.add(passes=12, source="Wang et al. 2020, eq. 8: a gradient (3), and a gradient of one (9)")
def hessian_grad(q: ScoringContext) -> dict[str, Tensor]:
    """Return Hg: the product of the loss's Hessian with its gradient, both over the prunable weights.

    Fused attention and cuDNN's recurrent layers have no second derivative, so plain ones run instead.
    """
    gradient = grad(q)

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


@evidence.add(passes=3, source="Tanaka et al. 2020, eq. 2 and alg. 1")
def flow_grad(q: ScoringContext) -> dict[str, Tensor]:
    """Return dR/d|w| in float64: R the summed output for an input of ones, parameters and buffers in absolute
    value, batch norm in eval mode. float32 overflows from about 44 residual layers on.
    """
    stand_ins = {own: _absolute(tensor) for own, tensor in _stand_ins(q).items()}
    weights = _weights_in(q, stand_ins)
    args, kwargs = call_on(example_of(q), q.where())
    with eval_mode(q.model), standing_in(q.model, stand_ins):
        output = q.model(*_ones(args), **_ones(kwargs))
        return _grads(first_tensor(output).sum(), weights)


def _summed(
    q: ScoringContext, of_loss: Callable[[Tensor, dict[str, Tensor]], dict[str, Tensor]]
) -> dict[str, Tensor]:
    """The mean over examples of what `of_loss` gives for the mean loss of each batch."""
    total: dict[str, Tensor] = {}
    examples = 0
    for inputs, target, size in batches_of(q):
        stand_ins = _stand_ins(q)  # anew: a batch norm in train mode updates the copies of its buffers
        weights = _weights_in(q, stand_ins)
        args, kwargs = call_on(inputs, q.where())
        with standing_in(q.model, stand_ins):
            loss = _loss(q, q.model(*args, **kwargs), target)
        for name, value in of_loss(loss, weights).items():
            value = value.detach() * size
            total[name] = total[name] + value if name in total else value
        examples += size
    return {name: value.div_(examples) for name, value in total.items()}


def _loss(q: ScoringContext, output: Any, target: Any) -> Tensor:
    temperature = q.options.get("temperature", 1.0)
    if temperature != 1:
        if not isinstance(output, Tensor):
            raise lacks(
                f"logits to divide by the temperature {temperature:g}", "pass options={'temperature': 1}"
            )
        output = output / temperature
    if q.loss is not None:
        return q.loss(output, target)
    if isinstance(target, Mapping):
        value = output["loss"] if isinstance(output, Mapping) else getattr(output, "loss", None)
        if not isinstance(value, Tensor):
            raise lacks("output.loss (the batches are dicts)", "pass loss=, a function of (output, batch)")
        return value
    return functional.cross_entropy(output, target)


def _grads(value: Tensor, weights: dict[str, Tensor], *, create_graph: bool = False) -> dict[str, Tensor]:
    if not value.requires_grad:
        raise lacks(
            "an output that depends on the weights", "look for no_grad or detach in the model's forward"
        )
    found = torch.autograd.grad(value, list(weights.values()), create_graph=create_graph, allow_unused=True)
    pairs = zip(weights.items(), found, strict=True)
    return {name: torch.zeros_like(w) if g is None else g for (name, w), g in pairs}


def _stand_ins(q: ScoringContext) -> StandIns:
    return stand_ins_for(q.model, q.masks, q.where())


def _weights_in(q: ScoringContext, stand_ins: StandIns) -> dict[str, Tensor]:
    return {layer.name: stand_ins[id(layer.parameter)].requires_grad_() for layer in q.layers}


def _absolute(tensor: Tensor) -> Tensor:
    return tensor.double().abs() if tensor.is_floating_point() else tensor


def _ones(inputs: Any) -> Any:
    """One example of ones (float64) for each floating-point input; token indices stay as they are.

    Packed sequences keep all of theirs: their sizes are of all.
    """
    if isinstance(inputs, PackedSequence):
        return mapped(lambda t: torch.ones_like(t, dtype=torch.float64), inputs)
    if isinstance(inputs, Mapping):
        return {key: _ones(value) for key, value in inputs.items()}
    if type(inputs) in (tuple, list):
        return type(inputs)(_ones(value) for value in inputs)
    if not isinstance(inputs, Tensor):
        return inputs
    return torch.ones_like(inputs[:1], dtype=torch.float64) if inputs.is_floating_point() else inputs[:1]
