"""What a product reads: the channels that it sums up, and what of that matters."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from prunery.graph.channels import Ids
from prunery.graph.read_torch import Call

Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Weight:
    """A parameter that a product reads with.

    axis: the one that is summed. bias: the name of what is added to each row; it need not exist (`new_bias`).
    groups: of a convolution. editable: nothing else uses the parameter.
    """

    name: str
    axis: int
    bias: str | None = None
    new_bias: bool = False
    groups: int = 1
    editable: bool = True


@dataclass(frozen=True)
class Read:
    """A product: the unit of each place that it sums, that of each row of its result, and what is used.

    used: (rows, columns), whether a weight is not 0. known, value: what is constant at each place. folds:
    whether a constant can go into the bias.
    """

    call: Call
    columns: Ids
    rows: Ids
    used: Flags
    known: Flags
    value: NDArray[np.float64]
    weight: Weight | None = None
    folds: bool = False

    @cached_property
    def matters(self) -> Flags:
        """The columns that are used and not known to be 0."""
        return np.asarray(self.used.any(0) & ~(self.known & (self.value == 0)))


def made(
    call: Call,
    columns: Ids,
    rows: Ids,
    used: Tensor | None,
    constants: tuple[Tensor, Tensor],
    weight: Weight | None = None,
) -> Read:
    """Return a read. used: None for all. constants: what is known at each place, and its value."""
    matrix = np.ones((1, len(columns)), np.bool_) if used is None else used.cpu().numpy()
    known, value = constants
    return Read(
        call, columns, rows, matrix, known.cpu().numpy(), value.detach().double().cpu().numpy(), weight
    )


def both(one: Read, other: Read) -> Read:
    """Return two reads of one weight as one: what is constant is so in both."""
    known = one.known & other.known & (one.value == other.value)
    rows = np.where(one.rows == other.rows, one.rows, 0)
    return replace(one, known=known, folds=one.folds and other.folds, rows=rows)
