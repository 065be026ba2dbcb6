"""Which layers make the model's output: their values leave the model without passing another layer."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from prunery.core.context import ScoringContext, call_on, errors_are_ours, example_of
from prunery.core.forward import eval_mode, forked, stand_ins_for, standing_in, tensors
from prunery.core.layers import OUTPUT, all_layers

_MOVES = (  # autograd nodes that only move what they are given
    "TBackward", "TransposeBackward", "ViewBackward", "PermuteBackward", "SliceBackward", "SelectBackward",
    "SplitBackward", "SplitWithSizesBackward", "ChunkBackward", "UnsqueezeBackward", "SqueezeBackward",
    "ExpandBackward", "ToCopyBackward", "CloneBackward", "ReshapeAliasBackward", "UnsafeViewBackward",
)  # fmt: skip


def without_outputs(
    model: nn.Module, exclude: str | Sequence[str], example: Any, batches: Any, include: Sequence[str] = ()
) -> tuple[str, ...]:
    """Return the patterns of `exclude` with "@output" replaced by the names of the layers that it means.

    They are found by a run on the example; where there is none, "@output" stays: the layer registered last.
    """
    patterns = (exclude,) if isinstance(exclude, str) else tuple(exclude)
    if OUTPUT not in patterns or (example is None and batches is None):
        return patterns
    names = output_layers(model, example, batches, include)
    spared = [glob.escape(name) for name in names] or [OUTPUT]
    return tuple(p for p in patterns if p != OUTPUT) + tuple(spared)


def output_layers(
    model: nn.Module, example: Any, batches: Any = None, include: Sequence[str] = ()
) -> list[str]:
    """Return the names of the weights whose products leave the model, in the order of modules.

    Empty where the run leaves no graph behind (a model that detaches its output).
    """
    layers, _ = all_layers(model, include)
    if not layers:
        return []
    context = ScoringContext(model, layers, example=example, batches=batches)
    with errors_are_ours("the output layers of the model"), torch.inference_mode(False):
        args, kwargs = call_on(example_of(context), context.where())
        stand_ins = stand_ins_for(model, {}, context.where())
        weights = {id(stand_ins[id(x.parameter)].requires_grad_()): x.name for x in layers}
        with forked(0, context.where()), eval_mode(model), torch.enable_grad(), standing_in(model, stand_ins):
            output = model(*args, **kwargs)
    names = _last_weights(output, weights)
    return [layer.name for layer in layers if layer.name in names]


def _last_weights(output: Any, weights: dict[int, str]) -> set[str]:
    """Return the weights that are met first on every way back from the output."""
    found: set[str] = set()
    waiting = [t.grad_fn for t in tensors(output) if isinstance(t, Tensor) and t.grad_fn is not None]
    seen = set(waiting)
    while waiting:
        node = waiting.pop()
        sources = [source for source, _ in node.next_functions if source is not None]
        own = {name for source in sources if (name := _weight(source, weights))}
        found |= own
        new = [] if own else [source for source in sources if source not in seen]
        seen.update(new)
        waiting += new
    return found


def _weight(node: Any, weights: dict[int, str]) -> str | None:
    """Return the weight that a node of the graph is, perhaps moved; None for anything else."""
    while node.name().rstrip("0123456789") in _MOVES and len(node.next_functions) == 1:
        node = node.next_functions[0][0]
        if node is None:
            return None
    return weights.get(id(getattr(node, "variable", None)))
