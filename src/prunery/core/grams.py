"""What enters layers while a model runs: read column by column, summed up as norms or Gram matrices.

A layer's Gram is the mean of x xᵀ over its columns x (see `matrices`), about their mean where the layer has a
bias: with it the mean squared change of the layer's outputs is known for any change of its weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from prunery.core import ranks
from prunery.core.context import ScoringContext, call_on, lacks, running, stand_ins_of
from prunery.core.layers import Layer
from prunery.core.matrices import bias_of, check_readable, column_count, columns, entering, matrix_of
from prunery.core.norms_behind import norms_behind
from prunery.core.shrinkage import FEW, likeliest_share, parted, towards_diagonal
from prunery.errors import EvidenceError, ModelError
from prunery.forward import eval_mode
from prunery.graph.multihead import in_parts
from prunery.seeds import stream
from prunery.wrappers import named_modules, unwrapped

COLUMNS = 1 << 16
"""Columns of a layer that are read, about, or 64 for each of its inputs where that is more.

Of more columns (the places of a convolution) a random part is read.
"""

_ROUNDING = 1e-6
"""What of a variance, as a share of the mean square, is the rounding of single precision."""

Take = Callable[[Layer, Tensor], None]
Summed = tuple[Tensor, Tensor, float]
"""Sums over columns: x xᵀ or x², x, and their number."""


@dataclass(frozen=True)
class Moment:
    """What is known of the columns x of a layer.

    square: the mean of x xᵀ (g, d, d), about the mean where `bias` or `running_mean` is there, or of x²
    (g, d). mean: of x, (g, d). bias, running_mean: the layer's bias, or the running mean of the batch norm
    behind it, which can make up for a shift of the layer's outputs.
    """

    square: Tensor
    mean: Tensor
    bias: Tensor | None = None
    running_mean: Tensor | None = None


@dataclass
class Moments:
    """Sums over the columns of one layer, in float64: of x xᵀ (g, d, d) or x² (g, d), x, and their number."""

    whole: bool
    compared: bool = False
    total: Tensor | None = None
    first: Tensor | None = None
    count: int = 0
    rows: int = 0
    held: Moments | None = None
    """Sums over the columns of every fourth row, which are not in these, where a Gram has few columns."""

    def add(self, piece: Tensor) -> None:
        """Add columns (g, d, n)."""
        piece = piece.float() if piece.itemsize < 4 else piece
        found = (piece @ piece.mT if self.whole else piece.square().sum(-1)).double()
        first = piece.sum(-1).double()
        self.total = found if self.total is None else self.total.add_(found)
        self.first = first if self.first is None else self.first.add_(first)
        self.count += piece.shape[-1]

    def parts(self, layer: Layer, x: Tensor, examples: int) -> Iterator[tuple[Moments, Tensor]]:
        """Yield which sums the rows of x belong to, and these rows; `examples` there are in all."""
        self.rows += len(x)
        if not self.compared or not has_few(layer, x, examples):
            yield self, x
            return
        self.held = self.held or Moments(self.whole)
        for out, rows in parted(x, self.rows - len(x)):
            yield (self.held if out else self), rows


@contextmanager
def reading(model: nn.Module, layers: Iterable[Layer], take: Take) -> Iterator[None]:
    """Within it each call of a layer's module hands (layer, what it is called with) to `take`, detached.

    A weight that several modules share is read in each of them. Raises ModelError at the end for a layer
    that was not called.
    """
    modules = dict(named_modules(unwrapped(model), once=False))
    called: set[str] = set()
    with ExitStack() as stack:
        for layer in layers:
            check_readable(layer)
            sharing = [modules.get(name.rpartition(".")[0]) for name in layer.aliases]
            same = [m for m in sharing if type(m) is type(layer.module)]
            for module in {id(m): m for m in (layer.module, *same) if m is not None}.values():
                hook = _handing(layer, take, called)
                stack.callback(module.register_forward_pre_hook(hook, with_kwargs=True).remove)
        yield
    if missed := [layer.name for layer in layers if layer.name not in called]:
        raise ModelError(
            f"the inputs of {', '.join(missed)}",
            "the model does not call these layers as modules",
            "exclude them, or use a criterion and a recovery that read no inputs of layers",
        )


def _handing(layer: Layer, take: Take, called: set[str]) -> Any:
    def hand(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        x = entering(module, args, kwargs)
        if isinstance(x, Tensor):
            called.add(layer.name)
            with torch.no_grad():
                take(layer, x.detach())

    return hand


def inputs_of(q: ScoringContext) -> Iterator[Any]:
    """Yield what the model is called with, batch by batch: of labelled batches only the inputs.

    EvidenceError: there are no batches, or none that can be read again.
    """
    do = "pass batches=[x, ...] of inputs (labels are not read), [(x, y), ...] or a DataLoader"
    if q.batches is None:
        raise lacks("inputs to see what enters each layer", do)
    if isinstance(q.batches, Iterator):
        raise lacks("batches that can be read again (it got an iterator)", "pass a list or a DataLoader")
    seen = 0
    for batch in [q.batches] if isinstance(q.batches, Tensor) else q.batches:
        yield batch[0] if isinstance(batch, tuple | list) and len(batch) == 2 else batch
        seen += 1
    if not seen:
        raise lacks("at least one batch of inputs (it got none)", do)


def moments(
    q: ScoringContext, layers: Sequence[Layer], *, whole: bool, compared: bool = False
) -> dict[str, Moment]:
    """Return by parameter name the means over columns of x, and of x xᵀ (whole) or x², over all ranks.

    x xᵀ is about the mean of x where the layer has a bias, which can make up for it. compared: what is
    returned serves to compare layers: so can the running mean of a batch norm behind a layer, and the Gram of
    few columns is drawn towards its diagonal (see `shrinkage`), for it would flatter its layer.
    The model runs in eval mode on the context's masked weights; of each layer about COLUMNS columns count.
    EvidenceError: an input of a layer is NaN or infinite.
    """
    sums = {layer.name: Moments(whole, compared) for layer in layers}
    modules = dict(named_modules(unwrapped(q.model)))
    examples = sum(examples_in(inputs) for inputs in inputs_of(q)) or 1

    def take(layer: Layer, x: Tensor) -> None:
        draws = stream(q.seed, "columns", layer.name, str(sums[layer.name].rows))
        share = share_of(layer, x, examples)
        for part, rows in sums[layer.name].parts(layer, x, examples):
            for piece in columns(layer, rows, share=share, draws=draws):
                part.add(piece)

    names = [layer.module_name for layer in layers] if compared else []
    with ranks.in_step(q), in_parts(q.model), norms_behind(modules, names) as behind:
        for inputs in inputs_of(q):
            args, kwargs = call_on(inputs, q.where())
            with (
                eval_mode(q.model),
                running(q, stand_ins_of(q)) as model,
                reading(model, layers, take),
                torch.no_grad(),
            ):
                model(*args, **kwargs)
    found = {}
    for layer in layers:
        norm = behind[layer.module_name] if whole else None
        found[layer.name] = _moment(q, layer, sums[layer.name], None if norm is None else modules[norm])
    return found


def _moment(q: ScoringContext, layer: Layer, of: Moments, norm: Any) -> Moment:
    """Return the means over the columns of all ranks; norm: the batch norm behind the layer, or None."""
    assert of.total is not None
    assert of.first is not None
    bias = bias_of(layer) if of.whole else None
    running_mean = norm.running_mean if bias is None and norm is not None else None
    centred = bias is not None or running_mean is not None
    every = used = _over_ranks(q, of.total, of.first, of.count)
    share = 0.0
    if of.compared:  # on every rank, for all wait for each other
        held = _over_ranks(q, *_held_out(of, used))
        if held[2]:
            share = likeliest_share(_mean(used, centred=centred), _mean(held, centred=centred))
            every = used[0] + held[0], used[1] + held[1], used[2] + held[2]
    square = _mean(every, centred=centred)
    check_finite(layer.name, square)
    square = towards_diagonal(square, share) if share else square
    return Moment(square, every[1] / every[2], bias, running_mean)


def _held_out(of: Moments, like: Summed) -> Summed:
    """Return the sums of the columns that Moments hold out; of none they are 0, shaped like others."""
    held = of.held
    if held is None or held.total is None or held.first is None:
        return torch.zeros_like(like[0]), torch.zeros_like(like[1]), 0
    return held.total, held.first, held.count


def _over_ranks(q: ScoringContext, total: Tensor, first: Tensor, count: float) -> Summed:
    """Return the sums of all ranks: x xᵀ or x², x, and their number."""
    sums = {"total": total, "first": first, "count": torch.tensor([count], dtype=torch.float64)}
    ranks.total(q, sums, 0.0, 1)
    return sums["total"], sums["first"], float(sums["count"])


def _mean(sums: Summed, *, centred: bool) -> Tensor:
    """Return the mean of x xᵀ or x², about the mean of x if `centred`."""
    total, first, count = sums
    mean = total / count
    return about_means(mean, first / count)[0] if centred else mean


def about_means(gram: Tensor, mean: Tensor) -> tuple[Tensor, Tensor]:
    """Return the means of x xᵀ (g, d, d) about the mean of x (g, d), and which inputs vary, (g, d).

    What single precision leaves of an input that does not vary is rounding: it becomes 0.
    """
    about = gram - mean[:, :, None] * mean[:, None]
    varies = about.diagonal(dim1=1, dim2=2) > _ROUNDING * gram.diagonal(dim1=1, dim2=2)
    return about * varies[:, None] * varies[:, :, None], varies


def input_norms(q: ScoringContext) -> dict[str, Tensor]:
    """Return the root mean square of what each weight multiplies, by parameter name, shaped like it."""
    norms = {}
    squares = moments(q, q.layers, whole=False)
    for layer in q.layers:
        matrix = matrix_of(layer)
        root = squares[layer.name].square.sqrt().float()[:, None]
        whole = root.expand(matrix.groups, matrix.outputs, matrix.inputs)
        norms[layer.name] = matrix.back(whole, tuple(layer.parameter.shape))
    return norms


def share_of(layer: Layer, x: Tensor, examples: int) -> float:
    """Return which share of a layer's columns counts: `examples` like those in x give about COLUMNS."""
    most = max(COLUMNS, 64 * matrix_of(layer).inputs)
    return min(1.0, most * len(x) / max(examples * column_count(layer, x), 1))


def has_few(layer: Layer, x: Tensor, examples: int) -> bool:
    """Return whether a layer's Gram has few columns, where `examples` like those in x are read in all."""
    count = share_of(layer, x, examples) * column_count(layer, x) * examples / max(len(x), 1)
    return count < FEW * matrix_of(layer).inputs


def check_finite(name: str, mean: Tensor) -> None:
    """Raise EvidenceError where what enters a layer is NaN or infinite."""
    if not bool(mean.isfinite().all()):
        found = "some are NaN or infinite, or their squares are"
        raise EvidenceError(f"the inputs of {name!r}", found, "look for NaN in the inputs and weights")


def examples_in(inputs: Any) -> int:
    """Return how many examples a batch of inputs holds: the length of its first tensor."""
    values = inputs.values() if isinstance(inputs, Mapping) else inputs
    tensors = [inputs] if isinstance(inputs, Tensor) else [v for v in values if isinstance(v, Tensor)]
    return len(tensors[0]) if tensors and tensors[0].ndim else 1
