"""Which weights a live path from input to output uses.

A copy of the model is run once with kept weights replaced by positive noise, removed ones and biases by 0,
the input by noise, and some functions by others that pass a signal where the real one may
(see `reachability_rules`). After every product the signal becomes noise again where it is not 0, and so does
the gradient on its way back: a path lives or does not, whatever its length; nothing over- or underflows,
nothing cancels. A weight's gradient is then not 0 exactly where a signal arrives and something behind it
reaches the output.

A bias is no signal: what a dead filter's bias adds is a constant. Layer and group norm pass a signal to
every channel that they normalise over, as their mean does. Where a rule is not exact it lets through: a
weight may be called live that is not, not the other way round.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from prunery.core.layers import Layer
from prunery.forward import call_of, mapped, no_trace, placed
from prunery.measure.reachability_rules import Flow
from prunery.wrappers import parameter_of

_NORMS = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)


def live_weights(
    model: nn.Module, layers: Sequence[Layer], example: Any, masks: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Per layer name a bool tensor shaped like the weight, True where it is live; and notes.

    A kernel's taps count together: one that only ever meets zero padding is not called dead. A weight that
    no path uses even in the unpruned model (its layer is not called, or the flow cannot be followed through
    what comes after) is called live, and a note says so. A model that cannot be run so: no tensors, a note.
    """
    if any(layer.parameter.is_meta for layer in layers):
        return {}, ("effective = kept: a model on the meta device has no flow",)
    try:
        pruned = _used(model, layers, example, masks)
        dense = _used(model, layers, example, None)
    except Exception as error:
        reason = (str(error).strip().splitlines() or ["it says no more"])[0]
        return {}, (f"effective = kept: {type(error).__name__} on following the flow: {reason}",)
    blind = tuple(name for name, used in dense.items() if not used.any())
    notes = (f"effective = kept for {', '.join(blind)}: no flow was found through it",) if blind else ()
    return {name: used | ~dense[name] for name, used in pruned.items()}, notes


def _used(
    model: nn.Module, layers: Sequence[Layer], example: Any, masks: Mapping[str, Tensor] | None
) -> dict[str, Tensor]:
    """Where the flow's gradient is not 0; masks None: the flow of the unpruned model."""
    with torch.inference_mode(False):
        double = copy.deepcopy(model).float().requires_grad_(False)
        flow = Flow(layers[0].parameter.device)
        given = {id(parameter_of(model, name)): mask for name, mask in (masks or {}).items()}
        prunable = {id(layer.parameter) for layer in layers}
        _substitute_(double, model, prunable, given, flow, dense=masks is None)
        weights: list[Tensor] = [parameter_of(double, layer.name).requires_grad_() for layer in layers]
        # cuDNN's recurrent layers have no backward pass in eval mode
        with no_trace(double), torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):
            args, kwargs = call_of(mapped(flow.signal, placed(example, double)))
            with flow:
                output = double(*args, **kwargs)
            ends = [(t * flow.noise(t)).sum() for t in _outputs(output) if t.requires_grad]
            grads = _gradients(ends, weights)
    return {layer.name: _by_kernel(g, layer) for layer, g in zip(layers, grads, strict=True)}


def _outputs(value: Any) -> Iterator[Tensor]:
    """Every tensor that a model returns, in dataclasses too."""
    if is_dataclass(value) and not isinstance(value, Mapping | type):
        value = [getattr(value, field.name) for field in fields(value)]
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        yield from _outputs(list(value.values()))
    elif isinstance(value, tuple | list):
        for item in value:
            yield from _outputs(item)


def _gradients(ends: list[Tensor], weights: list[Tensor]) -> list[Tensor]:
    if not ends:
        return [torch.zeros_like(w) for w in weights]
    total = torch.stack([end.real for end in ends]).sum()
    grads = torch.autograd.grad(total, weights, allow_unused=True)
    return [torch.zeros_like(w) if g is None else g for g, w in zip(grads, weights, strict=True)]


def _by_kernel(gradient: Tensor, layer: Layer) -> Tensor:
    """Where a weight got a gradient; in a convolution, where any tap of its kernel did."""
    used = gradient != 0
    if used.ndim == 2 or not isinstance(layer.module, _ConvNd):
        return used
    return used.flatten(2).any(2).view(*used.shape[:2], *[1] * (used.ndim - 2)).expand(used.shape)


def _substitute_(
    double: nn.Module,
    model: nn.Module,
    prunable: set[int],
    masks: Mapping[int, Tensor],
    flow: Flow,
    *,
    dense: bool,
) -> None:
    """Set the copy's parameters: weights to noise where they are kept, biases to 0, scales of norms to 1.

    Weights are scaled per row, which keeps the gates of recurrent layers away from saturation. A scale of a
    norm that is exactly 0, or masked, stops the flow of its channel; in the dense flow it does not. What else
    has two axes or more (embeddings, positions, weights that are not prunable) is noise and a signal too.
    """
    norms = {id(m.weight) for m in model.modules() if isinstance(m, _NORMS) and m.weight is not None}
    for name, parameter in model.named_parameters():
        target, mask = double.get_parameter(name), masks.get(id(parameter))
        with torch.no_grad():
            if "bias" in name.rpartition(".")[2]:
                target.zero_()
                continue
            keep = torch.ones_like(target) if mask is None else mask.to(target)
            if id(parameter) in prunable:
                keep *= flow.noise(keep) / keep.flatten(1).sum(1).clamp(min=1).view(
                    -1, *[1] * (keep.ndim - 1)
                )
            elif id(parameter) in norms and not dense:
                keep = keep * (parameter != 0)
            elif keep.ndim > 1 and (keep.is_floating_point() or keep.is_complex()):
                keep = keep * flow.noise(keep)
                target.requires_grad_()
            target.copy_(keep)
