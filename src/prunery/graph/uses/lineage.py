"""Which elements of which parameter a tensor holds, and from uses of the tensor back to the parameter's.

A view lies in its parameter's memory; its offset and strides say where. A tensor that an operation made from
weights alone (a copy, a weight in another precision, a masked or standardised weight) remembers what it came
from. Uses are counted per element: one number where all are the same, as they mostly are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import prod

import torch
from torch import Tensor

Uses = (
    int | Tensor
)  # of each element; int64 on the CPU, with an axis for each, of size 1 where all are the same
Back = Callable[[Uses], Uses]


@dataclass(eq=False)
class Watched:
    """A parameter whose uses are counted, and what else became of it."""

    name: str
    parameter: Tensor
    prunable: bool
    uses: Uses | None = None  # None: no product with it was counted
    entered: set[str] = field(default_factory=set)  # other operations that it went into
    unknown: set[str] = field(default_factory=set)  # operations that multiply it in a way nothing here counts
    remade: bool = False  # something was computed from it, and that is a weight of its own
    derived: bool = False  # something was computed from it, and multiplied with values of the input

    def add(self, uses: Uses) -> None:
        """Add uses to those counted so far."""
        self.uses = uses if self.uses is None else self.uses + uses


@dataclass(eq=False)
class Part:
    """Elements of a parameter that a tensor holds; `back` turns uses of the tensor into the parameter's."""

    source: Watched
    back: Back
    direct: bool  # a view of the parameter, not a copy
    chosen: bool = False  # gathered by indices that depend on the input

    def behind(self, back: Back, *, copied: bool = False, chosen: bool = False) -> Part:
        """This part as a tensor holds it whose uses `back` turns into those of the tensor before."""
        before = self.back
        direct, chosen = self.direct and not copied, self.chosen or chosen
        return Part(self.source, lambda uses: before(back(uses)), direct, chosen)


@dataclass(eq=False)
class Held:
    """Memory whose content comes from weights and constants alone."""

    tensor: Tensor  # as it was first seen: it keeps the memory, and says how the elements lie in it
    parts: tuple[Part, ...]  # empty: computed from weights so that their elements are no longer apart
    made_from: frozenset[Watched]

    def parts_of(self, view: Tensor) -> tuple[Part, ...]:
        """The parts that a view of this memory holds; none where elements are not apart."""
        if same_layout(view, self.tensor):
            return self.parts
        if not self.parts or view.element_size() > self.tensor.element_size():
            return ()
        back = through_view(view, self.tensor)
        return tuple(part.behind(back) for part in self.parts)


def span(tensor: Tensor) -> tuple[int, int]:
    """The first byte of its memory that a tensor reads, and the one behind the last."""
    size = tensor.element_size()
    start = int(tensor.storage_offset()) * size
    last = sum((n - 1) * step for n, step in zip(tensor.shape, tensor.stride(), strict=True))
    return start, start + (int(last) + 1) * size if tensor.numel() else start


def same_layout(view: Tensor, base: Tensor) -> bool:
    """Whether two tensors in one memory hold the same elements in the same order."""
    return (
        view.shape == base.shape
        and view.stride() == base.stride()
        and view.storage_offset() == base.storage_offset()
        and view.element_size() == base.element_size()
    )


def through_view(view: Tensor, base: Tensor) -> Back:
    """From uses of a view of `base` to uses of `base`."""
    repeated = {
        axis: n for axis, (n, step) in enumerate(zip(view.shape, view.stride(), strict=True)) if not step
    }
    once = (
        view[tuple(0 if axis in repeated else slice(None) for axis in range(view.ndim))] if repeated else view
    )

    def back(uses: Uses) -> Uses:
        for axis in sorted(repeated, reverse=True):
            uses = _summed(uses, axis, repeated[axis])
        in_rows = _by_rows(uses, once, base)
        return _by_elements(uses, once, base) if in_rows is None else in_rows

    return back


def _summed(uses: Uses, axis: int, size: int) -> Uses:
    """Uses without an axis along which one element stands `size` times."""
    if isinstance(uses, int) or uses.shape[axis] == 1:
        return uses * size if isinstance(uses, int) else uses.squeeze(axis) * size
    return uses.sum(axis)


def _by_rows(uses: Uses, view: Tensor, base: Tensor) -> Uses | None:
    """Uses of whole rows of `base`, one for each row; None where a view does not hold whole rows.

    Each step of the view's first axis is to hold whole rows, and the uses of it are to be the same; a view
    whose uses are all the same is one such step.
    """
    times = base.element_size() // view.element_size()  # a complex element is read as two real ones
    (start, end), (first, last) = span(view), span(base)
    if isinstance(uses, int) and (start, end) == (first, last) and dense(view):
        return uses * times
    varied = isinstance(uses, Tensor) and uses.numel() > uses.shape[0]  # along other axes than the first
    if varied or not base.ndim or not base.is_contiguous():
        return None
    block, step = (
        (view, end - start) if isinstance(uses, int) else (view[0], view.stride(0) * view.element_size())
    )
    row = (last - first) // base.shape[0]
    begin, stop = span(block)
    if (start - first) % row or step % row or stop - begin != step or not dense(block):
        return None
    values = torch.full((1,), uses) if isinstance(uses, int) else uses.reshape(-1)
    values = (values * times).repeat_interleave(step // row)
    total = torch.zeros(base.shape[0], dtype=torch.int64)
    total[(start - first) // row :][: len(values)] = values
    return total.reshape(-1, *(1,) * (base.ndim - 1))


def dense(view: Tensor) -> bool:
    """Whether a view holds each element between its first and its last exactly once."""
    expected = 1
    for step, size in sorted((s, n) for n, s in zip(view.shape, view.stride(), strict=True) if n > 1):
        if step != expected:
            return False
        expected *= size
    return True


def _by_elements(uses: Uses, view: Tensor, base: Tensor) -> Uses:
    """Uses of each element of `base`, whatever the view."""
    offset = span(view)[0] - span(base)[0]
    read = (_places(view) * view.element_size() + offset) // base.element_size()
    places = _places(base)
    number = torch.zeros(int(places.max()) + 1, dtype=torch.int64)
    number[places] = torch.arange(base.numel())
    return _added_up(number[read], uses, tuple(view.shape), base.numel()).view(base.shape)


def _added_up(elements: Tensor, uses: Uses, shape: tuple[int, ...], count: int) -> Tensor:
    """Uses of `count` elements, from those of a tensor of this shape that holds them by number."""
    spread = torch.full(shape, uses) if isinstance(uses, int) else uses.expand(shape)
    return torch.zeros(count, dtype=torch.int64).index_add_(0, elements, spread.reshape(-1))


def _places(tensor: Tensor) -> Tensor:
    """How many elements each element lies behind the first one in memory."""
    place = torch.zeros((1,) * tensor.ndim, dtype=torch.int64)
    for axis, (n, step) in enumerate(zip(tensor.shape, tensor.stride(), strict=True)):
        place = place + (torch.arange(n) * step).view([-1 if i == axis else 1 for i in range(tensor.ndim)])
    return place.expand(tensor.shape).reshape(-1)


def through_equal(ndim: int) -> Back:
    """From a result computed element by element to an operand with so many axes, the result's last ones."""
    return lambda uses: uses if isinstance(uses, int) else uses.reshape(uses.shape[uses.ndim - ndim :])


def through_move(move: Callable[[Tensor], Tensor], shape: tuple[int, ...]) -> Back:
    """From a result that holds elements of an operand in other places to the operand, shaped `shape`.

    move: the operation on a stand-in for the operand that holds the numbers from 1 on; what is not one of
    them in the result is 0.
    """

    def back(uses: Uses) -> Uses:
        numbers = move(torch.arange(1, prod(shape) + 1).reshape(shape))
        total = _added_up(numbers.reshape(-1), uses, tuple(numbers.shape), prod(shape) + 1)
        return total[1:].view(shape)

    return back


def through_rows(rows: Tensor, shape: tuple[int, ...]) -> Back:
    """From rows of an operand, taken by an index tensor, to the operand, shaped `shape`."""
    rows = rows.detach().cpu().clone() % shape[0]

    def back(uses: Uses) -> Uses:
        if isinstance(uses, Tensor):
            if uses.numel() > prod(uses.shape[: rows.ndim]):
                return through_move(lambda numbers: numbers[rows], shape)(uses)
            uses = uses.reshape(uses.shape[: rows.ndim])
        total = _added_up(rows.reshape(-1), uses, tuple(rows.shape), shape[0])
        return total.view(-1, *(1,) * (len(shape) - 1))

    return back
