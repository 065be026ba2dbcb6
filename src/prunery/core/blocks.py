"""Blocks of a matrix as units."""

from __future__ import annotations

from prunery.core.context import ScoringContext
from prunery.core.coupled import check_norm
from prunery.core.layers import Layer
from prunery.core.units import Member, UnitSet
from prunery.errors import ChoiceError


def block_sets(context: ScoringContext, rows: int, columns: int, norm: str) -> list[UnitSet]:
    """Return a set of blocks for each layer."""
    check_norm(norm)
    for name, size in (("rows", rows), ("columns", columns)):
        if not isinstance(size, int) or isinstance(size, bool) or size < 1:
            raise ChoiceError(f"{name}={size!r} of granularity 'block'", "it is no number", "give, say, 4")
    return [_of_layer(layer, rows, columns, norm) for layer in context.layers]


def _of_layer(layer: Layer, rows: int, columns: int, norm: str) -> UnitSet:
    shape = tuple(layer.parameter.shape)
    down, across = -(-shape[0] // rows), -(-shape[1] // columns)
    view = (down, rows, across, columns, *shape[2:])
    member = Member(layer.name, shape, view, (0, 2))
    return UnitSet(layer.name, down * across, (member,), (layer,), norm)
