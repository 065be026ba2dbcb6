"""Unit sets: which slices of which parameters live or die together.

A `UnitSet` says how many units it has; each of its `Member`s, which slices of one parameter they own. One
`UnitSet` drives scoring, masking and counting, so the three cannot disagree.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from math import prod
from typing import TYPE_CHECKING

from prunery.core.layers import Layer

if TYPE_CHECKING:
    import torch

Reduce = Callable[["torch.Tensor", list[int]], "torch.Tensor"]


@dataclass(frozen=True)
class Member:
    """The slices of one parameter that the units of a set own.

    The parameter is viewed as `view`; unit i owns the slice at index start + i, flattened, of `axes`. axes
    None: every element is a unit. `index`, instead of a view: the unit of each element, -1 where it has none.
    `order`: the places along one axis, unit by unit, equally many of each; other places have no unit.
    counted: its elements are prunable weights, not riders such as a bias. scored: the criterion scores it.
    """

    name: str
    shape: tuple[int, ...]
    view: tuple[int, ...] = ()
    axes: tuple[int, ...] | None = None
    start: int = 0
    index: torch.Tensor | None = field(default=None, compare=False)
    order: torch.Tensor | None = field(default=None, compare=False)
    counted: bool = True
    scored: bool = True

    def expand(self, keep: torch.Tensor) -> torch.Tensor:
        """Return the mask shaped like the parameter, from keep of shape (units,); True where no unit is."""
        if self.index is not None:
            index = self.index.to(keep.device)
            return (keep[index.clamp(min=0)] | (index < 0)).view(self.shape)
        if self.axes is None:
            return keep.view(self.shape)
        sizes = [n if axis in self.axes else 1 for axis, n in enumerate(self.view)]
        return self._cropped(self._placed(keep).view(sizes).expand(self.view))

    def line(self, keep: torch.Tensor) -> torch.Tensor | None:
        """Return which places of the one axis stay, shape (places,); None where units are no slices of it."""
        if self.index is not None or self.axes is None or len(self.axes) > 1 or self.view != self.shape:
            return None
        return self._placed(keep)

    def share(self, count: int) -> float:
        """Return the share of the parameter's elements that one of `count` units owns."""
        if self.order is None:
            return 1 / count
        return len(self.order) / count / self.view[(self.axes or (0,))[0]]

    def reduce(self, values: torch.Tensor, how: Reduce, count: int) -> torch.Tensor:
        """Return one value per unit, shape (count,), from values shaped like the parameter."""
        if self.axes is None:
            return values.reshape(-1)
        if self.order is not None:
            return self._by_order(values, how, count)
        others = [axis for axis in range(len(self.view)) if axis not in self.axes]
        reduced = how(self._viewed(values), others).reshape(-1)[self.start : self.start + count]
        return reduced if not self._has_edges else self._without_edges(reduced, how, others)

    def by_unit(self, values: torch.Tensor, count: int) -> torch.Tensor:
        """Return the values as a matrix (count, elements of a unit)."""
        axes = self.axes or ()
        others = [axis for axis in range(len(self.view)) if axis not in axes]
        rows = prod(self.view[axis] for axis in axes)
        return self._viewed(values).permute(*axes, *others).reshape(rows, -1)[self.start :][:count]

    def numbers(self, device: torch.device) -> torch.Tensor:
        """Return the unit of each element, counted from 1, shaped like the parameter (float)."""
        import torch

        sizes = [n if axis in (self.axes or ()) else 1 for axis, n in enumerate(self.view)]
        units = torch.arange(1.0, 1.0 + prod(sizes), device=device)
        return units.view(sizes).expand(self.view).reshape(self.shape)

    @property
    def _has_edges(self) -> bool:
        """Whether the view is larger than the parameter: blocks that do not divide a matrix reach over it."""
        return prod(self.view) > prod(self.shape)

    def _viewed(self, values: torch.Tensor) -> torch.Tensor:
        """Return values in the shape of the view, 0 beyond the edges of the matrix."""
        if not self._has_edges:
            return values.reshape(self.view)
        from torch.nn.functional import pad

        down, across = (self.view[2 * i] * self.view[2 * i + 1] - self.shape[i] for i in (0, 1))
        beyond = [0, 0] * (len(self.shape) - 2) + [0, across, 0, down]
        return pad(values.reshape(self.shape), beyond).reshape(self.view)

    def _cropped(self, values: torch.Tensor) -> torch.Tensor:
        """Return values in the shape of the parameter, from those in the shape of the view."""
        if not self._has_edges:
            return values.reshape(self.shape)
        down, across = (self.view[2 * i] * self.view[2 * i + 1] for i in (0, 1))
        return values.reshape(down, across, *self.shape[2:])[: self.shape[0], : self.shape[1]].contiguous()

    def _without_edges(self, reduced: torch.Tensor, how: Reduce, others: list[int]) -> torch.Tensor:
        """Return means over the elements that there are: places beyond the edges counted as 0."""
        import torch

        if how is not torch.mean:
            return reduced
        there = self._viewed(torch.ones(self.shape, dtype=reduced.dtype, device=reduced.device))
        return reduced / how(there, others).reshape(-1)

    def _by_order(self, values: torch.Tensor, how: Reduce, count: int) -> torch.Tensor:
        """Return one value per unit from values at places that are told one by one."""
        (axis,), order = self.axes or (0,), self._order(values)
        shape = (*self.view[:axis], count, len(order) // count, *self.view[axis + 1 :])
        places = values.reshape(self.view).index_select(axis, order).reshape(shape)
        return how(places, [i for i in range(places.ndim) if i != axis]).reshape(-1)

    def _in_order(self, keep: torch.Tensor) -> torch.Tensor:
        """Return keep of each place along the axis, from that of each unit."""
        import torch

        order = self._order(keep)
        line = torch.ones(self.view[(self.axes or (0,))[0]], dtype=torch.bool, device=keep.device)
        line[order] = keep.repeat_interleave(len(order) // len(keep))
        return line

    def _order(self, like: torch.Tensor) -> torch.Tensor:
        assert self.order is not None
        return self.order.to(like.device)

    def _placed(self, keep: torch.Tensor) -> torch.Tensor:
        """Return `keep` at its place among all positions along the axes."""
        import torch

        if self.order is not None:
            return self._in_order(keep)
        positions = prod(self.view[axis] for axis in self.axes or ())
        if len(keep) == positions:
            return keep
        placed = torch.ones(positions, dtype=torch.bool, device=keep.device)
        placed[self.start : self.start + len(keep)] = keep
        return placed


@dataclass(frozen=True)
class UnitSet:
    """Some units that are alike: how many, and what each owns.

    name: its own; by custom the name of the first parameter that is scored. layers: those that it prunes.
    norm: how scores of weights become the score of a unit ("l1", "l2", "mean", "max"); None: each weight is a
    unit. even: each member's scores are divided by their root mean square first. multiple: as many units as a
    multiple of it are kept.
    """

    name: str
    count: int
    members: tuple[Member, ...]
    layers: tuple[Layer, ...]
    norm: str | None = None
    even: bool = False
    multiple: int = 1

    @property
    def scored(self) -> tuple[Member, ...]:
        """The members that the criterion scores."""
        return tuple(member for member in self.members if member.scored)

    def matches(self, pattern: str) -> bool:
        """Whether `pattern` (fnmatch) names the set or one of its layers."""
        return fnmatchcase(self.name, pattern) or any(layer.matches(pattern) for layer in self.layers)

    def live(self, masks: Mapping[str, torch.Tensor]) -> torch.Tensor | None:
        """Return which units have a weight left, shape (count,); None where no mask says anything."""
        import torch

        counted = [member for member in self.members if member.counted]
        if not any(member.name in masks for member in counted):
            return None
        if not all(member.name in masks for member in counted):  # a weight without a mask is there
            return torch.ones(self.count, dtype=torch.bool, device=self.layers[0].parameter.device)
        left = [member.reduce(masks[member.name], torch.any, self.count) for member in counted]
        return left[0] if len(left) == 1 else torch.stack(left).any(0)

    def live_count(self, masks: Mapping[str, torch.Tensor]) -> int:
        """Return how many units have a weight left."""
        live = self.live(masks)
        return self.count if live is None else int(live.count_nonzero())


def unit_counts(units: Sequence[UnitSet], masks: Mapping[str, torch.Tensor]) -> list[tuple[int, int]]:
    """Return (kept, all) units of each set, counted from the masks."""
    return [(unit_set.live_count(masks), unit_set.count) for unit_set in units]
