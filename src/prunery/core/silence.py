"""A criterion that says nothing: evidence that is zero, or rounding noise, must not decide which weights go.

Noise is told from a small gradient by taking it once more, with each weight moved a little: a gradient hardly
changes, noise is drawn again. That is done only where evidence is so small that it could be noise.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from prunery.core.context import ScoringContext
from prunery.core.evidence import evidence, gather
from prunery.core.layers import Layer
from prunery.core.weights import is_conv1d
from prunery.errors import EvidenceError, SilentCriterionWarning

Gathered = Mapping[str, Mapping[str, Tensor]]  # kind of evidence -> parameter name -> tensor

_JITTERS = (1e-4, 1.5e-4, 2e-4, 3e-4)  # how far weights are moved, relative to themselves: several times, for
# noise may be a single rounding error, the same in one run of two
_SUSPECT, _ROUNDING = 0.7, 0.8  # powers of the precision: so small, it may be noise; so small, it is
_CHANGED = 0.1  # a gradient changes by little more than the weights do, noise by as much as itself
_FEWEST_ROWS = 8  # of a part of a plain matrix: so many are hardly silent by chance

_FLOW = (
    "SynFlow reads no data: with ones at all positions attention weighs nothing, in one time step nothing "
    "recurs, and outputs of a last norm or softmax have a constant sum. Give an example of more steps, let "
    "the model return what enters its last norm, exclude these layers, or choose another criterion"
)
_LOSS = (
    "give more batches or longer sequences, look whether the loss depends on these layers, exclude them, or "
    "choose another criterion"
)


@dataclass(frozen=True)
class Part:
    """A layer, or rows or columns of it that are a matrix by themselves (query, key, a gate's weights)."""

    layer: Layer
    label: str = ""
    axis: int = 0
    start: int = 0
    length: int = 0
    fine: bool = False  # one of many equal parts, to be named together with its neighbours

    def slice(self, values: Tensor) -> Tensor:
        """Return this part of values shaped like the layer's weight."""
        return values.narrow(self.axis, self.start, self.length) if self.length else values

    def __str__(self) -> str:
        return f"{self.layer.name} ({self.label})" if self.label else self.layer.name


def check_silence(
    context: ScoringContext, needs: Sequence[str], gathered: Gathered, *, stacklevel: int = 4
) -> None:
    """Raise EvidenceError if the evidence says nothing of any layer, warn of layers and blocks left out.

    What counts is weight times gradient (the gradient alone where the criterion does not read the weight).
    Only the first cut of a call is checked: later ones meet what the earlier ones cut off. Where all is
    exactly zero under masks that have removed weights, these may have cut the network in two; that is a
    warning too.
    """
    if context.memo.setdefault("silence", needs) is not needs:
        return
    layers = [layer for layer in context.layers if _is_live(Part(layer), context)]
    kinds = [kind for kind in needs if evidence[kind].facts["passes"] > 0]
    silent = [_silent(kind, context, gathered, layers, "weight" in needs) for kind in kinds]
    if not kinds and "weight" in needs:
        silent = [{x.name: Part(x) for x in layers if _is_zero(gathered["weight"][x.name])}]
    parts = [part for key, part in silent[0].items() if all(key in s for s in silent)] if silent else []
    if parts:
        _tell(
            context,
            kinds,
            parts,
            len({p.layer.name for p in parts if not p.label}) == len(layers),
            stacklevel,
        )


def _tell(
    context: ScoringContext, kinds: Sequence[str], parts: Sequence[Part], everywhere: bool, stacklevel: int
) -> None:
    cause = "the score rests on evidence that is zero or rounding noise" if kinds else "every weight is zero"
    do = (_FLOW if "flow_grad" in kinds else _LOSS) if kinds else "initialise the weights, or exclude them"
    cut = everywhere and kinds and any(not bool(mask.all()) for mask in context.masks.values())
    if everywhere and not cut:
        raise EvidenceError("a score for each weight", f"in every layer {cause}", do)
    names = [str(part) for part in parts]
    listed = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
    do = "the masks given may cut the network in two" if cut else do
    message = f"{listed}: {cause}, so the order in which these weights go has no meaning; {do}"
    warnings.warn(message, SilentCriterionWarning, stacklevel=stacklevel + 1)


def _silent(
    kind: str, context: ScoringContext, gathered: Gathered, layers: Sequence[Layer], weighted: bool
) -> dict[str, Part]:
    """The layers, and blocks of other layers, of which one kind of evidence says nothing."""
    sizes: dict[str, float] = {}
    blocks: list[Part] = []
    look_twice = bool(evidence[kind].facts.get("look_twice"))
    for layer in layers:
        values = _product(kind, context, gathered, layer, weighted).abs_()
        sizes[layer.name] = float(values.sum(dtype=torch.float64))
        for block in _blocks(layer, fine=look_twice) if values.shape == layer.parameter.shape else ():
            if _is_live(block, context):
                blocks.append(block)
                sizes[str(block)] = float(block.slice(values).sum(dtype=torch.float64))
    largest = max((sizes[layer.name] for layer in layers), default=0.0)
    possible = float(context.memo.get(("size", kind), 0.0))
    possible = possible if math.isfinite(possible) else 0.0
    precision = _precision(gathered[kind][layers[0].name]) if layers else 0.0
    if largest <= precision**_ROUNDING * possible:
        return {layer.name: Part(layer) for layer in layers}
    slack = precision**_SUSPECT
    everywhere = largest <= slack * possible
    few = [Part(x) for x in layers if everywhere or sizes[x.name] <= slack * largest]
    few += [b for b in blocks if everywhere or sizes[str(b)] <= slack * sizes[b.layer.name]]
    every = [*map(Part, layers), *blocks] if look_twice else []
    silent = _confirmed(kind, context, gathered, (every, few), sizes, weighted)
    parts = [part for part in silent.values() if not part.label or part.layer.name not in silent]
    return {str(part): part for part in _joined(parts)}


def _joined(parts: Sequence[Part]) -> Iterator[Part]:
    """Yield the parts, neighbouring fine ones as one; without those that lie in others."""
    coarse = [part for part in parts if not part.fine]
    yield from coarse
    last: Part | None = None
    for part in parts:
        inside = any(p.layer is part.layer and p.start <= part.start < p.start + p.length for p in coarse)
        if not part.fine or inside:
            continue
        if last is not None and last.layer is part.layer and last.start + last.length == part.start:
            last = _rows(part.layer, part.axis, last.start, last.length + part.length)
            continue
        if last is not None:
            yield last
        last = part
    if last is not None:
        yield last


def _confirmed(
    kind: str,
    context: ScoringContext,
    gathered: Gathered,
    suspects: tuple[Sequence[Part], Sequence[Part]],
    sizes: Mapping[str, float],
    weighted: bool,
) -> dict[str, Part]:
    """The parts that are exactly zero, or change when the weights are moved a little.

    suspects: the parts to look at first, and again where one of them is noise; those to look at each time.
    """
    every, few = suspects
    silent = {str(part): part for part in (*every, *few) if not sizes[str(part)]}
    for number, jitter in enumerate(_JITTERS):
        parts = every if every and (not number or silent) else few
        others = [part for part in parts if str(part) not in silent]
        if not others:
            continue
        moved = {**gathered, kind: gather(kind, replace(context, jitter=jitter, memo=dict(context.memo)))}
        for layer in {part.layer.name: part.layer for part in others}.values():
            before, after = (_product(kind, context, x, layer, weighted) for x in (gathered, moved))
            changes = after.sub_(before).abs_()
            for part in (part for part in others if part.layer is layer):
                change = float(part.slice(changes).sum(dtype=torch.float64))
                if change > _CHANGED * sizes[str(part)]:
                    silent[str(part)] = part
    return silent


def _product(kind: str, context: ScoringContext, gathered: Gathered, layer: Layer, weighted: bool) -> Tensor:
    """Weight times gradient where a weight is left, else 0; other evidence than gradients as it is."""
    values = gathered[kind][layer.name]
    if values.shape != layer.parameter.shape:
        return values.clone()
    product = values * layer.parameter.detach().to(values.device) if weighted else values.clone()
    mask = context.masks.get(layer.name)
    return product if mask is None else product.masked_fill_(~mask.to(product.device), 0)


def _precision(values: Tensor) -> float:
    """The relative size of rounding; 0 for half precision, which hides how the weights were moved."""
    fine = values.is_floating_point() and values.itemsize >= 4
    return torch.finfo(values.dtype).eps if fine else 0.0


def _is_live(part: Part, context: ScoringContext) -> bool:
    mask = context.masks.get(part.layer.name)
    return mask is None or bool(part.slice(mask).any())


def _is_zero(weight: Tensor) -> bool:
    return not bool(weight.reshape(-1)[:1024].any()) and not bool(weight.any())


def _blocks(layer: Layer, *, fine: bool) -> Iterator[Part]:
    """The matrices packed in one weight: query, key and value; gates; parts of a plain matrix."""
    module, weight, short = layer.module, layer.parameter, layer.name.rpartition(".")[2]
    if isinstance(module, nn.MultiheadAttention):
        labels = ["query", "key", "value"] if short == "in_proj_weight" else []
    elif isinstance(module, nn.LSTM | nn.LSTMCell):
        labels = ["input gate", "forget gate", "cell", "output gate"] if "_hr" not in short else []
    elif isinstance(module, nn.GRU | nn.GRUCell):
        labels = ["reset gate", "update gate", "new"]
    else:
        yield from _equal_parts(layer)
        yield from _few_rows(layer) if fine else ()
        return
    length = len(weight) // max(len(labels), 1)
    for i, label in enumerate(labels):
        yield Part(layer, label, 0, i * length, length)


def _rows(layer: Layer, axis: int, start: int, length: int, *, fine: bool = False) -> Part:
    label = f"{'columns' if axis else 'rows'} {start} to {start + length - 1}"
    return Part(layer, label, axis, start, length, fine)


def _equal_parts(layer: Layer) -> Iterator[Part]:
    """The thirds of a matrix thrice as long as wide (query, key, value), the halves of one twice as long."""
    shape = tuple(layer.parameter.shape)
    axis = 0 if shape[0] >= shape[1] else 1
    width = shape[1 - axis]
    plain = shape[2:] == (1,) * (len(shape) - 2)  # convolutions over single places too
    if plain and width >= _FEWEST_ROWS and shape[axis] in (2 * width, 3 * width):
        for start in range(0, shape[axis], width):
            yield _rows(layer, axis, start, width)


def _few_rows(layer: Layer) -> Iterator[Part]:
    """A few outputs each, for whatever else is packed in a matrix: heads by turns, fewer keys than queries.

    Only where every output counts: of a network with rectifiers some are silent with good reason.
    """
    axis = 1 if is_conv1d(layer.module) or getattr(layer.module, "transposed", False) else 0
    count = layer.parameter.shape[axis]
    for start in range(0, count - _FEWEST_ROWS + 1, _FEWEST_ROWS) if count > _FEWEST_ROWS else ():
        yield _rows(layer, axis, start, _FEWEST_ROWS, fine=True)
