"""Evidence: what criteria need to know of the weights. Each kind is a row; gathering leaves no trace behind.

A row is a function of the context that gives a tensor per parameter name. Its fact `passes` is what it costs:
forward passes over each example. `look_twice` says that noise may hide in it at any size, so that it is
gathered once more where a criterion might say nothing (see `silence`). A criterion names the kinds that it
reads in `needs`.

The model is run on tensors that stand in for its own (see `forward`), so `.grad`, weights, buffers and
`requires_grad` are never touched. Gradients of several batches are averaged over examples.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from prunery.core import ranks
from prunery.core.context import (
    ScoringContext,
    batches_of,
    call_on,
    errors_are_ours,
    gradients,
    running,
    singles_of,
    stand_ins_of,
    weights_among,
)
from prunery.core.flow import flow_gradient, outputs_of
from prunery.core.loss import loss_of
from prunery.errors import ChoiceError, EvidenceError
from prunery.forward import forked
from prunery.registry import F, Registry, is_dotted
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

    With several ranks it is the mean over the examples of all, and equal on all. Whatever the model, its
    inputs or the loss raise comes as an EvidenceError that says so.
    """
    row = evidence[kind]
    with (
        errors_are_ours("evidence for the criterion"),
        forked(context.seed, context.where()),
        torch.inference_mode(False),
        torch.enable_grad(),
    ):
        gathered: dict[str, Tensor] = row.function(context)
        _check(row.name, gathered, context)
        if is_dotted(row.name) and row.facts["passes"]:
            ranks.check_equal(context, row.name, gathered)
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
    return example_mean(q, gradients, note="grad")


@evidence.add(passes=3, source="the diagonal of the empirical Fisher matrix: a gradient for each example")
def fisher(q: ScoringContext) -> dict[str, Tensor]:
    """Return the mean over examples of the squared gradient of each example's loss.

    Examples go through the model one by one, along the first axis of each batch.
    """

    def squares(loss: Tensor, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        return {name: g.square() for name, g in gradients(loss, weights).items()}

    return example_mean(replace(q, batches=singles_of(q)), squares)


@evidence.add(passes=12, source="Wang et al. 2020, eq. 8: a gradient (3), and a gradient of one (9)")
def hessian_grad(q: ScoringContext) -> dict[str, Tensor]:
    """Return Hg: the product of the loss's Hessian with its gradient, both over the prunable weights.

    Fused attention and cuDNN's recurrent layers have no second derivative, so plain ones run instead.
    """
    gradient = grad(q)
    square = sum(float(layer.parameter.detach().norm()) ** 2 for layer in q.layers)
    q.memo["size", "hessian_grad"] = q.memo["size", "grad"] ** 2 / max(square, sys.float_info.min)

    def product(loss: Tensor, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        first = gradients(loss, weights, create_graph=True)
        dot = torch.stack([(first[name] * gradient[name]).sum() for name in weights]).sum()
        return (
            gradients(dot, weights)
            if dot.requires_grad
            else {n: torch.zeros_like(w) for n, w in weights.items()}
        )

    with sdpa_kernel(SDPBackend.MATH), torch.backends.cudnn.flags(enabled=False):
        return example_mean(q, product)


@evidence.add(passes=3, look_twice=True, source="Tanaka et al. 2020, eq. 2 and alg. 1")
def flow_grad(q: ScoringContext) -> dict[str, Tensor]:
    """Return dR/d|w| in float64: R the summed outputs for an input of ones, batch norm in eval mode,
    parameters and buffers in absolute value. float32 overflows from about 44 residual layers on.
    """
    with ranks.in_step(q):
        flow, size = flow_gradient(q)
    size, count = ranks.total(q, flow, size, 1)  # the same on all ranks, but for inputs that are indices
    q.memo["size", "flow_grad"] = size / count
    return {name: value.div_(count) for name, value in flow.items()} if count > 1 else flow


@evidence.add(passes=1, inputs=True, source="Sun et al. 2024 (Wanda), eq. 1: the norm of each input")
def input_norm(q: ScoringContext) -> dict[str, Tensor]:
    """Return for each weight the root mean square of the input that it multiplies, in eval mode."""
    from prunery.core.grams import input_norms

    return input_norms(q)


@evidence.add(passes=1, inputs=True, source="Frantar and Alistarh 2022 (OBC) and 2023 (SparseGPT)")
def removal_loss(q: ScoringContext) -> dict[str, Tensor]:
    """Return for each weight what its removal adds to the relative squared error of its layer's outputs.

    One pass for as many layers as 256 MB of Gram matrices hold; see `prunery.core.obs`.
    """
    from prunery.core.obs import removal_losses

    return removal_losses(q)


def _size_at_outputs(loss: Tensor, output: Any) -> float:
    """The sum of |output · dL/d output|; weight times gradient sums to as much where no signs cancel."""
    outputs = [tensor for tensor in outputs_of(output) if tensor.requires_grad]
    if not outputs or not loss.requires_grad:
        return 0.0
    grads = torch.autograd.grad(loss, outputs, retain_graph=True, allow_unused=True)
    pairs = zip(outputs, grads, strict=True)
    return sum(float((o.detach() * g).abs().sum()) for o, g in pairs if g is not None)


def example_mean(
    q: ScoringContext,
    of_loss: Callable[[Tensor, dict[str, Tensor]], dict[str, Tensor]],
    *,
    note: str | None = None,
) -> dict[str, Tensor]:
    """Return the mean over examples, of all ranks, of what `of_loss` gives for the mean loss of each batch.

    of_loss: a function of the loss and of the weights that it depends on, by parameter name.
    note: the kind of evidence under which the size that weight times gradient could have is noted.
    """
    sums: dict[str, Tensor] = {}
    examples, size = 0, 0.0
    with ranks.in_step(q):
        for inputs, target, count in batches_of(q):
            stand_ins = stand_ins_of(q)  # made for each batch: batch norm in train mode updates its buffers
            weights = weights_among(stand_ins, q)
            args, kwargs = call_on(inputs, q.where())
            with running(q, stand_ins) as model:
                output = model(*args, **kwargs)
                loss = loss_of(q, output, target)
                size += count * _size_at_outputs(loss, output) if note is not None else 0
                values = of_loss(loss, weights)
            for name, value in values.items():
                value = value.detach() * count
                sums[name] = sums[name] + value if name in sums else value
            examples += count
    size, examples = ranks.total(q, sums, size, examples)
    if note is not None:
        q.memo["size", note] = size / examples
    return {name: value.div_(examples) for name, value in sums.items()}
