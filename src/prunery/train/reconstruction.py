"""The survivors' values solved for anew, layer by layer: least squares against the dense network's outputs.

Axes: g groups, o outputs, d inputs of an output, n columns (see `prunery.core.matrices`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from prunery.core.grams import about_means, check_finite, share_of
from prunery.core.layers import Layer, all_layers
from prunery.core.matrices import Matrix, check_readable, check_tied, columns, matrix_of
from prunery.errors import ModelError
from prunery.seeds import stream
from prunery.train.beside import call_order, check_counts, input_sizes, listed, modules_of, pairs
from prunery.train.paused import paused_runs
from prunery.train.recovery_context import RecoveryContext

_HELD = 1 << 30  # bytes of what paused runs hold: for each image two networks, a tensor and one beside it
_TOGETHER = 64  # images in one run


@dataclass
class Sums:
    """Sums over columns, float64: x xᵀ and x̂ xᵀ (g, d, d), x and x̂ (g, d); x̂ is the dense network's x."""

    own: Tensor
    cross: Tensor
    first: Tensor
    dense_first: Tensor
    count: int = 0

    @staticmethod
    def of(matrix: Matrix, device: torch.device) -> Sums:
        """Return sums of nothing."""
        square = (matrix.groups, matrix.inputs, matrix.inputs)
        zero = [torch.zeros(shape, dtype=torch.float64, device=device) for shape in (square, square[:2])]
        return Sums(zero[0], zero[0].clone(), zero[1], zero[1].clone())

    def add(self, dense: Tensor, x: Tensor) -> None:
        """Add columns (g, d, n) of the two networks."""
        dense, x = (t.float() if t.itemsize < 4 else t for t in (dense, x))
        self.own += x @ x.mT
        self.cross += dense @ x.mT
        self.first += x.sum(2)
        self.dense_first += dense.sum(2)
        self.count += x.shape[2]

    def means(self, *, centred: bool) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return the means of x xᵀ and x̂ xᵀ, about the means of x and x̂ if `centred`, and these means."""
        own, cross = self.own / self.count, self.cross / self.count
        first, dense_first = self.first / self.count, self.dense_first / self.count
        if centred:
            cross = cross - dense_first[:, :, None] * first[:, None]
            own, varies = about_means(own, first)
            cross = cross * varies[:, None]
        return own, cross, first, dense_first


def reconstruct_(context: RecoveryContext, *, images: int, damp: float) -> None:
    """Solve for the values of each layer in the order of calls; see `prunery.train.recovery.reconstruct`."""
    check_counts(images=images)
    layers = _layers(context)
    first = next(iter(context.images(1)))
    calls = call_order(context.model, {layer.module_name for layer in layers}, first)
    _check_called(context, layers, calls)
    place = {name: i for i, name in enumerate(calls)}
    layers = sorted((x for x in layers if x.module_name in calls), key=lambda x: place[x.module_name])
    singular, seen, peak = list[str](), list[int](), 0
    for layer, sums, count in _summed(context, layers, calls, images):
        peak = max(peak, 2 * sums.own.numel() * 8)
        seen.append(count)
        check_finite(layer.name, sums.own)
        if solve_(context, layer, sums, damp):
            singular.append(layer.name)
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
            if layer.name in masks and not bool(masks[layer.name].all()):
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


def _check_called(context: RecoveryContext, layers: Sequence[Layer], calls: dict[str, int]) -> None:
    masks: Mapping[str, Tensor] = context.masks or {}
    idle = [x.name for x in layers if x.module_name not in calls and x.name in masks]
    if idle:
        raise ModelError(
            f"to reconstruct {listed(idle)}",
            "the model does not call these layers as modules",
            "exclude them",
        )


def _summed(
    context: RecoveryContext, layers: Sequence[Layer], calls: Mapping[str, int], images: int
) -> Iterator[tuple[Layer, Sums, int]]:
    """Yield each layer, sums over what enters it in both networks, of how many images; then it may change.

    One run of each network on each image pauses at every layer. What paused runs hold is bounded: as many
    images as fit are begun at the first layers, where tensors are large and have many places, and more as
    soon as they fit. Up to the last layer that is called several times, each layer has runs of its own.
    """
    models = context.dense, context.model
    names = [layer.module_name for layer in layers]
    start = max((i for i, name in enumerate(names) if calls[name] > 1), default=-1) + 1
    for layer in layers[:start]:
        sums = Sums.of(matrix_of(layer), context.device)
        batches = counted(context, images)
        for dense, x in pairs(
            models, layer.module_name, batches, calls=calls[layer.module_name], side="inputs"
        ):
            _add(sums, layer, dense, x, images)
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
            sums = Sums.of(matrix_of(layer), context.device)
            for one, other in runs.pairs:
                dense, x = one.until(layer.module_name), other.until(layer.module_name)
                _add(sums, layer, dense, x, runs.examples)
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


def _add(sums: Sums, layer: Layer, dense: Tensor, x: Tensor, images: int) -> None:
    """Add the columns of what enters a layer in both networks; the same places are drawn of both."""
    share, draws = share_of(layer, x, images), ("columns", layer.name, str(sums.count))
    both = [columns(layer, t, share=share, draws=stream(0, *draws)) for t in (dense, x)]
    for one, other in zip(*both, strict=True):
        sums.add(one, other)


def solve_(context: RecoveryContext, layer: Layer, sums: Sums, damp: float) -> bool:
    """Set a layer's survivors and its bias to the least squares solution; return whether it was singular.

    The outputs W x + b are to be the dense network's Ŵ x̂ + b̂. Damping draws W towards Ŵ.
    """
    matrix = matrix_of(layer)
    dense = modules_of(context.dense)[layer.module_name]
    weight, target = layer.parameter, dense.get_parameter(layer.name.rpartition(".")[2])
    bias: Any = getattr(layer.module, "bias", None)
    dense_bias: Any = getattr(dense, "bias", None)
    free = bias is not None and dense_bias is not None
    own, cross, first, dense_first = sums.means(centred=free)
    wanted = matrix.of(target.detach().double())
    mask = None if context.masks is None else context.masks.get(layer.name)
    kept = torch.ones_like(wanted, dtype=torch.bool) if mask is None else matrix.of(mask.to(weight.device))
    solved, singular = least_squares(wanted @ cross, own, kept, wanted, damp)
    with torch.no_grad():
        weight.copy_(matrix.back(solved, tuple(weight.shape)))
        if free:
            shift = (wanted @ dense_first[:, :, None] - solved @ first[:, :, None]).reshape(-1)
            bias.copy_(dense_bias.double() + shift)
        if context.masks is not None:
            context.masks.apply_(context.model)
    return singular


def least_squares(
    products: Tensor, gram: Tensor, kept: Tensor, near: Tensor, damp: float
) -> tuple[Tensor, bool]:
    """Return W (g, o, d), 0 where not kept, with W G nearest to products, and whether G is singular.

    Minimises |W x - y|² + λ |W - near|² for each row over what it keeps; λ is `damp` times G's mean diagonal.
    """
    solved = torch.zeros_like(products)
    singular = False
    for group in range(len(gram)):
        diagonal = gram[group].diagonal()
        mean = float(diagonal.mean())
        singular |= bool((diagonal <= 1e-6 * mean).any()) or mean == 0
        ridge = damp * mean if mean > 0 else 1.0
        for row in range(products.shape[1]):
            at = kept[group, row].nonzero()[:, 0]
            if len(at):
                own = gram[group].index_select(0, at).index_select(1, at)
                right, close = products[group, row, at], near[group, row, at]
                solved[group, row, at] = _near(own, right, close, ridge)
    return solved, singular


def _near(gram: Tensor, right: Tensor, near: Tensor, ridge: float) -> Tensor:
    """Return x (d,) of least xᵀ G x - 2 xᵀ right + ridge |x - near|²; more ridge where rounding needs it."""
    while True:
        damped = gram.clone()
        damped.diagonal().add_(ridge)
        factor, failed = torch.linalg.cholesky_ex(damped)
        if not bool(failed):
            return torch.cholesky_solve((right + ridge * near)[:, None], factor)[:, 0]
        ridge *= 10
