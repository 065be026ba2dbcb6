"""Which layers make the model's output: their values leave the model without passing another layer."""

from __future__ import annotations

import glob
import warnings
from collections.abc import Mapping, Sequence
from contextlib import nullcontext, suppress
from typing import Any

import torch
from torch import Tensor, nn

from prunery.core.context import ScoringContext, call_on, errors_are_ours, example_of
from prunery.core.layers import OUTPUT, Layer, all_layers
from prunery.errors import EvidenceError, OutputWarning
from prunery.forward import attributes_kept, eval_mode, forked, stand_ins_for, standing_in, tensors
from prunery.wrappers import unwrapped

_MOVES = (  # autograd nodes that only move what they are given
    "TBackward", "TransposeBackward", "ViewBackward", "PermuteBackward", "SliceBackward", "SelectBackward",
    "SplitBackward", "SplitWithSizesBackward", "ChunkBackward", "UnsqueezeBackward", "SqueezeBackward",
    "ExpandBackward", "ToCopyBackward", "CloneBackward", "ReshapeAliasBackward", "UnsafeViewBackward",
)  # fmt: skip
_PRODUCTS = (  # autograd nodes that multiply what they are given
    "AddmmBackward", "MmBackward", "BmmBackward", "BaddbmmBackward", "MvBackward", "AddmvBackward",
    "LinearBackward", "ConvolutionBackward", "MkldnnRnnLayerBackward", "CudnnRnnBackward",
)  # fmt: skip


def without_outputs(
    model: nn.Module, exclude: str | Sequence[str], example: Any, batches: Any, include: Sequence[str] = ()
) -> tuple[str, ...]:
    """Return the patterns of `exclude` with "@output" replaced by the names of the layers that it means.

    They are found by a run on the example, or by a trace where there is none. Where neither tells them,
    "@output" stays: the layer registered last; OutputWarning names it.
    """
    patterns = (exclude,) if isinstance(exclude, str) else tuple(exclude)
    if OUTPUT not in patterns:
        return patterns
    layers, _ = all_layers(model, include)
    runnable = example is not None or batches is not None
    names = output_layers(model, example, batches, include) if runnable else _traced(model, layers)
    if layers and not names:
        found = "the model's output has no gradient" if runnable else "no example tells more"
        warnings.warn(
            f"{layers[-1].name} is taken for the output layer, for it is the last that the model registers "
            f"({found}); name the output layer in exclude" + ("" if runnable else ", or pass example="),
            OutputWarning,
            stacklevel=3,
        )
    spared = [glob.escape(name) for name in names] or [OUTPUT]
    return tuple(p for p in patterns if p != OUTPUT) + tuple(spared)


def _traced(model: nn.Module, layers: Sequence[Layer]) -> list[str]:
    """Return the names of the weights that a symbolic trace meets first on every way back from the output.

    Empty where the model cannot be traced, or uses weights otherwise than by calling their layer.
    """
    if len(layers) == 1:
        return [layers[0].name]
    model = unwrapped(model)
    own: dict[str, list[str]] = {}
    for layer in layers:
        own.setdefault(layer.module_name, []).append(layer.name)
    around = {name.rpartition(".")[0] for name in own}
    found: set[str] = set()
    with attributes_kept(model), suppress(Exception):  # whatever the user's forward raises under tracing
        nodes = torch.fx.symbolic_trace(model).graph.find_nodes(op="output")
        waiting, seen = list(nodes), set(nodes)
        while waiting:
            node = waiting.pop()
            by_hand = node.op == "get_attr" and any(node.target in layer.name for layer in layers)
            if by_hand or (node.op == "call_module" and node.target in around - own.keys()):
                return []
            if node.op == "call_module" and node.target in own:
                found.update(own[node.target])
                continue
            waiting += [source for source in node.all_input_nodes if source not in seen]
            seen.update(node.all_input_nodes)
    return [layer.name for layer in layers if layer.name in found]


def output_layers(
    model: nn.Module, example: Any, batches: Any = None, include: Sequence[str] = ()
) -> list[str]:
    """Return the names of the weights whose products leave the model, in the order of modules.

    The heads that only training uses are among them, if the model is in train mode and runs so. Empty where
    the run leaves no graph behind (a model that detaches its output).
    """
    layers, _ = all_layers(model, include)
    if not layers:
        return []
    context = ScoringContext(model, layers, example=example, batches=batches)
    with errors_are_ours("the output layers of the model"):
        names = _after_a_run(context, training=False)
    if any(module.training for module in model.modules()):
        with suppress(Exception):  # one example may be too few for batch norm
            names |= _after_a_run(context, training=True)
    return [layer.name for layer in layers if layer.name in names]


def _after_a_run(q: ScoringContext, *, training: bool) -> set[str]:
    """Return the weights whose products leave the model, in the mode that it is in or in eval mode."""
    model = q.model
    mode = nullcontext() if training else eval_mode(model)
    with torch.inference_mode(False), torch.enable_grad(), forked(0, q.where()), mode:
        args, kwargs = call_on(example_of(q), q.where())
        stand_ins = stand_ins_for(model, {}, q.where())
        weights = {id(stand_ins[id(x.parameter)].requires_grad_()): x.name for x in q.layers}
        with standing_in(model, stand_ins):
            return _last_weights(model(*args, **kwargs), weights)


def _last_weights(output: Any, weights: dict[int, str]) -> set[str]:
    """Return the weights that are met first on every way back from the output."""
    found: set[str] = set()
    waiting = [t.grad_fn for t in tensors(output) if isinstance(t, Tensor) and t.grad_fn is not None]
    seen = set(waiting)
    while waiting:
        node = waiting.pop()
        if node.name() == "CheckpointFunctionBackward":
            raise EvidenceError(
                "the output layers of the model",
                "a part is recomputed (torch.utils.checkpoint, use_reentrant=True), which hides its layers",
                "name the output layers in exclude, or use use_reentrant=False",
            )
        sources = [source for source, _ in node.next_functions if source is not None]
        own = {name for source in sources if (name := _weight(source, weights))}
        for source in () if own else sources:
            own |= _computed(source, weights)
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


def _computed(node: Any, weights: Mapping[int, str]) -> set[str]:
    """Return the weights that a value is computed from, if no product is among what it is computed with."""
    found: set[str] = set()
    waiting, seen = [node], {node}
    while waiting:
        node = waiting.pop()
        if node.name().rstrip("0123456789") in _PRODUCTS or node.name() == "CheckpointFunctionBackward":
            return set()
        if (name := weights.get(id(getattr(node, "variable", None)))) is not None:
            found.add(name)
        new = [source for source, _ in node.next_functions if source is not None and source not in seen]
        seen.update(new)
        waiting += new
    return found
