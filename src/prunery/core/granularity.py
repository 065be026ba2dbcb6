"""What lives or dies together.

A granularity turns layers into `UnitSet`s: each says how many units it has, and which slices of which
parameters each unit owns. One `UnitSet` drives scoring, masking and counting, so the three cannot disagree.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

from prunery.core.layers import Layer, matched
from prunery.errors import ChoiceError
from prunery.registry import Registry

if TYPE_CHECKING:
    import torch

    from prunery.core.context import ScoringContext


granularity = Registry("granularity")


@dataclass(frozen=True)
class Member:
    """The slices of one parameter that the units of a set own.

    The parameter is viewed as `view`; unit i owns the slice at index i, flattened, of `axes`.
    axes None: every element is a unit of its own.
    """

    name: str
    shape: tuple[int, ...]
    view: tuple[int, ...] = ()
    axes: tuple[int, ...] | None = None
    counted: bool = True

    def expand(self, keep: torch.Tensor) -> torch.Tensor:
        """The mask shaped like the parameter, from keep of shape (units,)."""
        if self.axes is None:
            return keep.view(self.shape)
        sizes = [n if axis in self.axes else 1 for axis, n in enumerate(self.view)]
        return keep.view(sizes).expand(self.view).reshape(self.shape)

    def reduce(self, values: torch.Tensor, how: Callable[..., torch.Tensor]) -> torch.Tensor:
        """One value per unit, shape (units,), from values shaped like the parameter."""
        if self.axes is None:
            return values.reshape(-1)
        others = [axis for axis in range(len(self.view)) if axis not in self.axes]
        return how(values.reshape(self.view), others).reshape(-1)


@dataclass(frozen=True)
class UnitSet:
    """The units of one layer: how many, and what each owns. The first member is the one that is scored."""

    layer: Layer
    count: int
    members: tuple[Member, ...]
    norm: str | None = None  # how scores of weights become the score of a unit; None: they are the same


@granularity.add(source="LeCun et al. 1990 (unstructured)")
def weight(context: ScoringContext) -> list[UnitSet]:
    """One unit per weight."""
    return [
        UnitSet(layer, layer.parameter.numel(), (Member(layer.name, tuple(layer.parameter.shape)),))
        for layer in context.layers
    ]


@granularity.add(source="Li et al. 2017, section 3.1 (filters by L1 norm)")
def filter(context: ScoringContext, *, norm: str = "l1") -> list[UnitSet]:
    """One unit per output filter: a row of a Linear, an output channel of a convolution.

    A removed filter's bias and the scale and shift of the batch norm that follows it go too; they are
    masked, and not counted. norm "l1": the sum of the scores (the L1 norm where the score is the
    magnitude); "l2": the root of the sum of their squares.
    """
    from prunery.core.norms import followers

    if norm not in ("l1", "l2"):
        raise ChoiceError(f"norm {norm!r} of granularity 'filter'", "it is neither", "choose 'l1' or 'l2'")
    after = followers(context)
    sets = []
    for layer in context.layers:
        scored = _filters_of(layer)
        count = prod(scored.view[axis] for axis in scored.axes or ())
        riders = [*_bias_of(layer, count), *after.get(layer.name, [])]
        riders = [name for name in riders if not any(matched(name, p) for p in context.exclude)]
        others = tuple(Member(name, (count,), (count,), (0,), counted=False) for name in riders)
        sets.append(UnitSet(layer, count, (scored, *others), norm))
    return sets


def _filters_of(layer: Layer) -> Member:
    shape = tuple(layer.parameter.shape)
    if not getattr(layer.module, "transposed", False):
        return Member(layer.name, shape, shape, (0,))
    groups = int(layer.module.groups)  # type: ignore[arg-type]
    view = (groups, shape[0] // groups, *shape[1:])  # (group, in per group, out per group, kernel ...)
    return Member(layer.name, shape, view, (0, 2))


def _bias_of(layer: Layer, count: int) -> list[str]:
    name = layer.name.replace("weight", "bias")  # in_proj_weight -> in_proj_bias, weight_ih_l0 -> bias_ih_l0
    own = dict(layer.module.named_parameters(recurse=False))
    bias = own.get(name.rpartition(".")[2])
    return [name] if bias is not None and tuple(bias.shape) == (count,) else []
