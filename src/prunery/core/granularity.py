"""What lives or dies together: a row turns the layers of a context into `UnitSet`s (see `units`).

`weights` says that each weight is a unit; `scope` and `exclude` are what a call that names neither gets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prunery.core.units import Member, UnitSet
from prunery.errors import ChoiceError
from prunery.registry import Registry

if TYPE_CHECKING:
    from prunery.core.context import ScoringContext

granularity = Registry("granularity", stand_in={})


@granularity.add(weights=True, source="LeCun et al. 1990 (unstructured)")
def weight(context: ScoringContext) -> list[UnitSet]:
    """Return one set a layer; each weight is a unit."""
    return [
        UnitSet(x.name, x.parameter.numel(), (Member(x.name, tuple(x.parameter.shape)),), (x,))
        for x in context.layers
    ]


@granularity.add(
    scope="layer(least=1)", exclude=("@output",), source="Li et al. 2017, section 3.1 (filters by L1 norm)"
)
def filter(context: ScoringContext, *, norm: str = "l1") -> list[UnitSet]:
    """Return one set a layer; a unit is an output: a row of a Linear, an output channel of a convolution.

    Of LSTM, GRU and RNN layers a unit is a hidden unit: its rows in all gates of both matrices. A removed
    unit's bias and the scale and shift of its norm go too; they are masked, and not counted. norm "l1": the
    sum of the scores (the L1 norm where the score is the magnitude); "l2": the root of their squares' sum.

    ModelError: a layer whose rows are no outputs of their own (packed attention, a parameter of `include`).
    """
    from prunery.core.filters import filter_sets

    if norm not in ("l1", "l2"):
        raise ChoiceError(f"norm {norm!r} of granularity 'filter'", "it is neither", "choose 'l1' or 'l2'")
    return filter_sets(context, norm)
