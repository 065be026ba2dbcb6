"""What a model costs: weights, and multiply-accumulates (MACs) in weights for one example.

Each count stands three times. dense: of all weights. kept: of those that the masks keep. effective: of
those kept weights that some live path from input to output uses.

Only prunable weights are counted; the additions of biases, norms, activations and the products of
attention scores have no weight. FLOPs are 2 MACs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from glob import escape
from math import prod
from typing import Any

from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter

from prunery.core.layers import Layer, all_layers, prunable
from prunery.core.masks import Masks
from prunery.core.validate import listed
from prunery.errors import ModelError
from prunery.forward import placed
from prunery.graph.uses.lineage import Uses
from prunery.measure.cost_notes import notes_on
from prunery.measure.macs import Counted, count_uses
from prunery.measure.reachability import live_weights
from prunery.wrappers import parameter_of, unwrapped


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
class OutsideCost:
    """The MACs for one example of a parameter that is not prunable and is multiplied with the input."""

    name: str
    shape: tuple[int, ...]
    macs: int


@dataclass(frozen=True)
class Cost:
    """The cost of a model for one example; `str` gives a table."""

    layers: tuple[LayerCost, ...]
    other_params: int  # biases, norms, embeddings: what is not prunable
    notes: tuple[str, ...] = ()  # what the counts leave open
    outside: tuple[OutsideCost, ...] = ()  # weights that are not prunable: their MACs are in no total

    @property
    def params(self) -> Amount:
        """Prunable weights."""
        return sum((layer.params for layer in self.layers), Amount(0, 0, 0))

    @property
    def macs(self) -> Amount:
        """MACs for one example, of prunable weights."""
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
    model: nn.Module,
    example: Any,
    masks: Mapping[str, Tensor] | None = None,
    *,
    batch: int | None = None,
    include: Sequence[str] = (),
) -> Cost:
    """Return the weights, and the MACs for one example, of every prunable weight of `model`.

    `example` is what the model is called with: a tensor, a tuple of arguments or a mapping of keywords. Its
    size sets the MACs. `batch`: how many examples it holds; by default the leading axis of its first tensor
    (the second axis where a module with batch_first=False is called on it; 1 where the model is called
    without a batch axis). `include`: patterns of parameters that are prunable beside the usual ones, as
    `prune` takes them; those that have a mask are. Tied parameters are counted once in weights, and at each
    use in MACs.

    Uses are counted where a parameter takes part in a product, however the model is written. What is not
    prunable and takes part (an embedding as output layer, a weight behind a parametrization, an adapter)
    stands in `outside`; what cannot be counted is named in `notes`.

    Without masks kept and effective equal dense. With masks, effective leaves out what no live path uses: a
    removed filter's slice of the next layer, a filter that nothing reads, all of it where no path is left
    (see `prunery.measure.reachability`). Where that cannot be found out, as on the meta device, effective
    equals kept and a note says why. Nothing about the model changes, and it may be in any mode.

    ModelError: no prunable weight; the model cannot be called with `example`; a batch that does not divide
    the uses. MasksError: a mask that fits no parameter.
    """
    if not isinstance(model, nn.Module):
        found = f"the model is of type {type(model).__name__}"
        raise ModelError("the cost of a model", found, "give an instance of torch.nn.Module")
    if batch is not None and (not isinstance(batch, int) or batch < 1):
        found = "it is no number of examples"
        raise ModelError(
            f"the cost with batch={batch!r}", found, "give a whole number from 1 on, or leave it out"
        )
    model, include = unwrapped(model), listed(include)
    masks = masks if isinstance(masks, Masks) else Masks(masks or {})
    masks.check(model)
    layers = _layers(model, masks, include)
    example = placed(example, model)
    counted = count_uses(model, layers, example, batch=batch)
    live, notes = live_weights(model, layers, example, masks) if masks and layers else ({}, ())
    keep = {id(parameter_of(model, name)): mask for name, mask in masks.items()}
    rows = tuple(
        _layer_cost(layer, uses, keep.get(id(layer.parameter)), live.get(layer.name))
        for layer, uses in zip(layers, counted.of_layers(), strict=True)
    )
    everything = sum(parameter.numel() for parameter in model.parameters())
    other = everything - sum(row.params.dense for row in rows)
    outside = tuple(_outside(counted))
    return Cost(rows, other, (*notes_on(counted, {x.name: x.macs for x in outside}), *notes), outside)


def _layers(model: nn.Module, masks: Masks, include: Sequence[str]) -> list[Layer]:
    """Every prunable weight, those asked for by pattern or by a mask too; what is hidden is left out."""
    usual, hidden = all_layers(model)
    lazy = hidden and any(isinstance(parameter, UninitializedParameter) for parameter in model.parameters())
    if lazy or not (usual or hidden or include or masks):
        return prunable(model)  # which says what is wrong
    known = {id(layer.parameter) for layer in usual}
    named = [name for name in masks if name not in masks.uncounted]
    named = [name for name in named if id(parameter_of(model, name)) not in known]
    named = [escape(name) for name in named if parameter_of(model, name).ndim > 1]
    return all_layers(model, [*include, *named])[0] if include or named else usual


def training_macs(cost: Cost, samples: int) -> int:
    """MACs of training on `samples` examples: three dense forward passes each.

    One forward; backward one product for the gradient of the inputs and one for that of the weights. Dense,
    because masked training multiplies by the zeros too. (The first layer needs no gradient of its inputs:
    that part is counted although it is not done.)
    """
    return 3 * cost.macs.dense * samples


def _outside(counted: Counted) -> Iterator[OutsideCost]:
    for weight, uses in counted.per_example.items():
        if not weight.prunable:
            shape = tuple(weight.parameter.shape)
            yield OutsideCost(weight.name, shape, _times(uses, None, shape))


def _layer_cost(layer: Layer, uses: Uses, mask: Tensor | None, live: Tensor | None) -> LayerCost:
    shape = tuple(layer.parameter.shape)
    effective = mask if mask is None or live is None else live & mask.to(live.device)
    effective = live if mask is None else effective
    params, macs = (_amount(n, mask, effective, shape) for n in (1, uses))
    return LayerCost(layer.name, shape, params, macs)


def _amount(uses: Uses, mask: Tensor | None, effective: Tensor | None, shape: tuple[int, ...]) -> Amount:
    dense = _times(uses, None, shape)
    kept = dense if mask is None else _times(uses, mask, shape)
    return Amount(dense, kept, kept if effective is mask else _times(uses, effective, shape))


def _times(uses: Uses, kept: Tensor | None, shape: tuple[int, ...]) -> int:
    """The uses of those elements that are kept (None: of all), added up."""
    if isinstance(uses, int):
        return uses * (prod(shape) if kept is None else int(kept.count_nonzero()))
    if kept is None:
        return int(uses.sum()) * prod(shape) // uses.numel()
    if uses.numel() == uses.shape[0]:
        return int((kept.flatten(1).sum(1).cpu() * uses.flatten()).sum())
    return int((kept.cpu() * uses).sum())


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
