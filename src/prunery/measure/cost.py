"""What a model costs: weights, and multiply-accumulates (MACs) in weights for one example.

Each count stands three times. dense: of all weights. kept: of those that the masks keep. effective: of
those kept weights that some live path from input to output uses.

Only prunable weights are counted; the additions of biases, norms, activations and the products of
attention scores have no weight. FLOPs are 2 MACs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from prunery.core.forward import placed
from prunery.core.layers import Layer, parameter_of, prunable
from prunery.core.masks import Masks
from prunery.core.wrappers import unwrapped
from prunery.measure.macs import uses_of
from prunery.measure.reachability import live_weights


@dataclass(frozen=True)
class Amount:
    """One quantity, counted over all weights, over the kept ones, and over the kept ones on a live path."""

    dense: int
    kept: int
    effective: int

    def __add__(self, other: Amount) -> Amount:
        return Amount(self.dense + other.dense, self.kept + other.kept, self.effective + other.effective)


@dataclass(frozen=True)
class LayerCost:
    """The cost of one prunable weight: parameters, and MACs for one example."""

    name: str
    shape: tuple[int, ...]
    params: Amount
    macs: Amount


@dataclass(frozen=True)
class Cost:
    """The cost of a model for one example; `str` gives a table."""

    layers: tuple[LayerCost, ...]
    other_params: int  # biases, norms, embeddings: what is not prunable
    notes: tuple[str, ...] = ()  # what the counts leave open

    @property
    def params(self) -> Amount:
        """Prunable weights."""
        return sum((layer.params for layer in self.layers), Amount(0, 0, 0))

    @property
    def macs(self) -> Amount:
        """MACs for one example."""
        return sum((layer.macs for layer in self.layers), Amount(0, 0, 0))

    def __str__(self) -> str:
        pruned = self.params.dense != self.params.effective
        columns = ("dense", "kept", "effective") if pruned else ("dense",)
        head = ("layer", "shape", *(f"{what} {which}" for what in ("weights", "MACs") for which in columns))
        rows = [_row(x.name, "x".join(map(str, x.shape)), (x.params, x.macs), columns) for x in self.layers]
        lines = _aligned([head, *rows, _row("total", "", (self.params, self.macs), columns)])
        lines.append(f"and {self.other_params:,} other parameters (biases, norms, ...)")
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes)])


def cost(
    model: nn.Module, example: Any, masks: Mapping[str, Tensor] | None = None, *, batch: int | None = None
) -> Cost:
    """Weights, and MACs for one example, of every prunable weight of `model`.

    `example` is what the model is called with: a tensor, a tuple of arguments or a mapping of keywords. Its
    size sets the MACs. `batch`: how many examples it holds; by default the leading axis of its first tensor
    (the second axis where a module with batch_first=False is called on it; 1 where the model is called
    without a batch axis). Tied parameters are counted once in weights, and at each use in MACs.

    Without masks kept and effective equal dense. With masks, effective leaves out what no live path uses: a
    removed filter's slice of the next layer, a filter that nothing reads, all of it where no path is left
    (see `prunery.measure.reachability`). Where that cannot be found out, as on the meta device, effective
    equals kept and a note says why. Nothing about the model changes, and it may be in any mode.

    ModelError: no prunable weight; the model cannot be called with `example`; a batch that does not divide
    the uses. MasksError: a mask that fits no parameter.
    """
    model = unwrapped(model)
    layers = prunable(model)
    masks = Masks(masks or {})
    masks.check(model)
    example = placed(example, model)
    uses = uses_of(model, example, batch=batch)
    live, notes = live_weights(model, layers, example, masks) if masks else ({}, ())
    idle = [layer.name for layer in layers if id(layer.parameter) not in uses]
    if idle:
        notes = (f"0 MACs for {', '.join(idle)}: the model never calls it", *notes)
    keep = {id(parameter_of(model, name)): mask for name, mask in masks.items()}
    none = torch.tensor(0)
    rows = tuple(
        _layer_cost(
            layer, uses.get(id(layer.parameter), none), keep.get(id(layer.parameter)), live.get(layer.name)
        )
        for layer in layers
    )
    everything = sum(parameter.numel() for parameter in model.parameters())
    return Cost(rows, everything - sum(row.params.dense for row in rows), notes)


def training_macs(cost: Cost, samples: int) -> int:
    """MACs of training on `samples` examples: three dense forward passes each.

    One forward; backward one product for the gradient of the inputs and one for that of the weights. Dense,
    because masked training multiplies by the zeros too. (The first layer needs no gradient of its inputs:
    that part is counted although it is not done.)
    """
    return 3 * cost.macs.dense * samples


def _layer_cost(layer: Layer, uses: Tensor, mask: Tensor | None, live: Tensor | None) -> LayerCost:
    shape = tuple(layer.parameter.shape)
    dense = torch.full(shape[:1], layer.parameter[0].numel())
    kept = dense if mask is None else _per_row(mask)
    effective = kept if live is None else _per_row(live if mask is None else live & mask.to(live.device))
    rows = (dense, kept, effective)
    params = Amount(*(int(row.sum()) for row in rows))
    return LayerCost(layer.name, shape, params, Amount(*(int((row * uses).sum()) for row in rows)))


def _per_row(mask: Tensor) -> Tensor:
    return mask.flatten(1).sum(1).cpu()


def _row(name: str, shape: str, amounts: Sequence[Amount], columns: Sequence[str]) -> tuple[str, ...]:
    return (name, shape, *(f"{getattr(amount, column):,}" for amount in amounts for column in columns))


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """One line per row: names to the left, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            t.ljust(w) if i < 2 else t.rjust(w) for i, (t, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
