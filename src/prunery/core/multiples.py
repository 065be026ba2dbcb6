"""Widths that engines like: as many units of a set stay as a multiple of a number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from prunery.core.selection import Scores, keep_top
from prunery.core.units import UnitSet


def rounded(
    units: Sequence[UnitSet], scores: Sequence[Scores], kept: Mapping[int, Tensor]
) -> dict[int, Tensor]:
    """Return which units stay, by the number of their set: as many as a multiple that the set asks for.

    kept: those that the sparsity leaves. A set that is smaller than its multiple keeps all its units; no set
    is emptied.
    """
    result = {}
    for index, stay in kept.items():
        before = int(stay.count_nonzero())
        number = nearest(before, scores[index].live_count, units[index].multiple)
        result[index] = stay if number == before else keep_top([scores[index]], number)[0]
    return result


def nearest(number: int, most: int, multiple: int) -> int:
    """Return the multiple next to `number` that is at least one time it and at most `most`; else `most`."""
    if multiple == 1 or most < multiple:
        return number if multiple == 1 else most
    times = min(max(1, round(number / multiple)), most // multiple)
    return times * multiple
