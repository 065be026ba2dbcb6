"""The survivors' values solved for anew, layer by layer: least squares against the dense network's outputs.

Axes: g groups, o outputs, d inputs of an output, n columns (see `prunery.core.matrices`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from prunery.core.grams import check_finite
from prunery.core.layers import Layer, all_layers
from prunery.core.matrices import bias_of, check_readable, check_tied, entering, matrix_of
from prunery.core.norms_behind import norms_behind
from prunery.errors import ModelError
from prunery.forward import no_trace
from prunery.graph.multihead import in_parts
from prunery.train.beside import call_order, check_counts, input_sizes, listed, modules_of, pairs
from prunery.train.least_squares import Parts, best_share, least_squares
from prunery.train.paused import paused_runs
from prunery.train.recovery_context import RecoveryContext

_HELD = 1 << 28  # bytes of what paused runs hold: for each image two networks, a tensor and one beside it
_TOGETHER = 64  # images in one run


def reconstruct_(context: RecoveryContext, *, images: int, damp: float) -> None:
    """Solve for the values of each layer in the order of calls; see `prunery.train.recovery.reconstruct`."""
    check_counts(images=images)
    with in_parts(context.model, context.dense):
        _reconstruct(context, images, damp)


def _reconstruct(context: RecoveryContext, images: int, damp: float) -> None:
    first = next(iter(context.images(1)))
    layers = _of_one_input(context, _layers(context), first)
    calls = call_order(context.model, {layer.module_name for layer in layers}, first)
    _check_called(context, layers, calls)
    place = {name: i for i, name in enumerate(calls)}
    layers = sorted((x for x in layers if x.module_name in calls), key=lambda x: place[x.module_name])
    norms, kept = _norms_behind(context.model, calls, first), dict[str, dict[str, Tensor]]()
    singular, seen, peak = list[str](), list[int](), 0
    for layer, sums, count in _summed(context, layers, calls, images):
        peak = max(peak, (2 if sums.held is None else 4) * sums.used.own.numel() * 8)
        seen.append(count)
        check_finite(layer.name, sums.used.own)
        norm = norms.get(layer.module_name)
        if solve_(context, layer, sums, damp, norm):
            singular.append(layer.name)
        if norm is not None:
            kept[norm] = {n: b.clone() for n, b in modules_of(context.model)[norm].named_buffers()}
    for norm, buffers in kept.items():  # the runs have put all buffers back
        modules_of(context.model)[norm].load_state_dict(buffers, strict=False)
    used = " to ".join(f"{n}" for n in sorted({min(seen), max(seen)}))
    context.note(
        f"{len(layers)} layers solved for on {used} images without labels, no gradient step; "
        f"Gram matrices of up to {peak / 2**20:.1f} MB, float64, damped by {damp:g} of their mean diagonal"
    )
    if singular:
        context.note(f"inputs that are always 0, or singular Grams, in {listed(singular)}: damping decides")


def _layers(context: RecoveryContext) -> list[Layer]:
    """Return the layers that can be solved for; ModelError for a masked one that cannot."""
    masks: Mapping[str, Tensor] = context.masks or {}
    found = []
    for layer in all_layers(context.model)[0]:
        try:
            check_readable(layer)
            check_tied(context.model, layer)
        except ModelError:
            if _is_masked(context, layer.name):
                raise
            continue
        found.append(layer)
    if missing := sorted(
        {n for n, m in masks.items() if m.ndim > 1} - {x.name for x in all_layers(context.model)[0]}
    ):
        raise ModelError(
            f"to reconstruct {listed(missing)}", "they are no weights of layers", "prune without `include`"
        )
    return found


def _of_one_input(context: RecoveryContext, layers: Sequence[Layer], x: Tensor) -> list[Layer]:
    """Return the layers without attention on several inputs; ModelError if such a layer is masked."""
    several: dict[nn.Module, ModelError] = {}

    def look(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        try:
            entering(module, args, kwargs)
        except ModelError as problem:
            several[module] = problem

    packed = {layer.module for layer in layers if isinstance(layer.module, nn.MultiheadAttention)}
    with ExitStack() as stack:
        for module in packed:
            stack.callback(module.register_forward_pre_hook(look, with_kwargs=True).remove)
        with no_trace(context.model), torch.no_grad():
            context.model(x) if packed else None
    for layer in layers:
        if layer.module in several and _is_masked(context, layer.name):
            raise several[layer.module]
    return [layer for layer in layers if layer.module not in several]


def _is_masked(context: RecoveryContext, name: str) -> bool:
    masks: Mapping[str, Tensor] = context.masks or {}
    return name in masks and not bool(masks[name].all())


def _check_called(context: RecoveryContext, layers: Sequence[Layer], calls: dict[str, int]) -> None:
    masks: Mapping[str, Tensor] = context.masks or {}
    idle = [x.name for x in layers if x.module_name not in calls and x.name in masks]
    if idle:
        raise ModelError(
            f"to reconstruct {listed(idle)}",
            "the model does not call these layers as modules",
            "exclude them",
        )


def _norms_behind(model: nn.Module, calls: Iterable[str], x: Tensor) -> dict[str, str]:
    """Return of each called layer the batch norm that takes its outputs, where one does."""
    with norms_behind(modules_of(model), calls) as behind, no_trace(model), torch.no_grad():
        model(x)
    return {layer: norm for layer in calls if (norm := behind[layer]) is not None}


def _summed(
    context: RecoveryContext, layers: Sequence[Layer], calls: Mapping[str, int], images: int
) -> Iterator[tuple[Layer, Parts, int]]:
    """Yield each layer, sums over what enters it in both networks, of how many images; then it may change.

    One run of each network on each image pauses at every layer. What paused runs hold is bounded: as many
    images as fit are begun at the first layers, where tensors are large and have many places, and more as
    soon as they fit. Up to the last layer that is called several times, each layer has runs of its own.
    """
    models = context.dense, context.model
    names = [layer.module_name for layer in layers]
    start = max((i for i, name in enumerate(names) if calls[name] > 1), default=-1) + 1
    for layer in layers[:start]:
        sums = Parts(layer, context.device)
        batches = counted(context, images)
        for dense, x in pairs(
            models, layer.module_name, batches, calls=calls[layer.module_name], side="inputs"
        ):
            sums.add(dense, x, images)
        yield layer, sums, min(images, len(context.data.train))
    if start == len(layers):
        return
    sizes = input_sizes(context.model, names, next(iter(context.images(1))))
    left, room = counted(context, images, batch=_TOGETHER), _rooms([sizes[name] for name in names[start:]])
    with paused_runs(models, names[start:]) as runs:
        for layer, most in zip(layers[start:], room, strict=True):
            while not runs.pairs or runs.examples + _TOGETHER <= most:
                if (some := next(left, None)) is None:
                    break
                runs.add(some)
            sums = Parts(layer, context.device)
            for one, other in runs.pairs:
                dense, x = one.until(layer.module_name), other.until(layer.module_name)
                sums.add(dense, x, runs.examples)
            yield layer, sums, runs.examples


def _rooms(sizes: Sequence[int]) -> list[int]:
    """Return for each layer how many images may be held from there on; what enters has so many elements."""
    least = [_HELD // (16 * size) for size in sizes]
    return [min(least[i:]) for i in range(len(least))]


def counted(context: RecoveryContext, images: int, *, batch: int = 128) -> Iterator[Tensor]:
    """Yield images of the context; each is counted as read twice, by the dense and by the pruned network."""
    for x in context.images(images, batch=batch):
        context.count(read=2 * len(x))
        yield x


def solve_(context: RecoveryContext, layer: Layer, parts: Parts, damp: float, norm: str | None) -> bool:
    """Set a layer's survivors and its bias to the least squares solution; return whether it was singular.

    The outputs W x + b are to be the dense network's Ŵ x̂ + b̂. Damping draws W towards Ŵ, where columns are
    few so much that columns which were held out fit best. norm: the batch norm behind the layer, if there is
    one: it becomes the dense network's, and where the layer has no bias its running mean takes what a bias
    would.
    """
    matrix, dense = matrix_of(layer), modules_of(context.dense)[layer.module_name]
    bias, dense_bias = bias_of(layer), bias_of(layer, dense)
    has_bias = bias is not None and dense_bias is not None
    centred = has_bias or norm is not None
    wanted = matrix.of(dense.get_parameter(layer.name.rpartition(".")[2]).detach().double())
    mask = None if context.masks is None else context.masks.get(layer.name)
    kept = torch.ones_like(wanted, dtype=torch.bool) if mask is None else matrix.of(mask.to(wanted.device))
    share = best_share(parts, wanted, kept, damp, centred=centred)
    own, cross, first, dense_first = parts.together().means(centred=centred)
    solved, singular = least_squares(wanted @ cross, own, kept, wanted, damp, share)
    shift = (wanted @ dense_first[:, :, None] - solved @ first[:, :, None]).reshape(-1)
    with torch.no_grad():
        layer.parameter.copy_(matrix.back(solved, tuple(layer.parameter.shape)))
        if has_bias:
            bias.copy_(dense_bias.double() + shift)
        if norm is not None:
            behind = modules_of(context.model)[norm]
            behind.load_state_dict(modules_of(context.dense)[norm].state_dict())
            if not has_bias:
                behind.get_buffer("running_mean").sub_(shift)
        if context.masks is not None:
            context.masks.apply_(context.model)
    return singular
