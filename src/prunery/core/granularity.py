"""What lives or dies together: a row turns the layers of a context into `UnitSet`s (see `units`).

`weights` says that each weight is a unit, `removable` that units can be cut out of the model; `scope` and
`exclude` are what a call that names neither gets.
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


_COUPLED = {"scope": "layer(least=1)", "exclude": (), "removable": True}


@granularity.add(**_COUPLED, source="Fang et al. 2023 (DepGraph), section 3 (groups of coupled channels)")
def channel(
    context: ScoringContext, *, norm: str = "l1", even: bool = False, multiple: int = 1
) -> list[UnitSet]:
    """Return one set for each group of channels, heads or hidden units that go together.

    Those of the model's inputs and outputs stay, and those that the model cannot do without (see
    `prunery.couplings`). A unit owns rows, columns and what rides along, so what is removed can be cut out.
    norm: how the scores of all its weights become its own: "l1" their sum, "l2" the root of their squares'
    sum, "mean" or "max". even: each parameter's scores are divided by their root mean square first (after
    Molchanov et al. 2017, section 2.2, normalisation by layer). multiple: each set keeps a multiple of it.

    ModelError: nothing can be removed; it gives the reasons.
    """
    from prunery.core.coupled import coupled_sets

    return coupled_sets(context, ("channel", "head", "unit"), norm=norm, even=even, multiple=multiple)


@granularity.add(**_COUPLED, source="Michel et al. 2019, section 2.3 (whole heads of attention)")
def head(
    context: ScoringContext, *, norm: str = "l1", even: bool = False, multiple: int = 1
) -> list[UnitSet]:
    """Return one set for each attention; a unit is a head, or a key/value head with all its queries."""
    from prunery.core.coupled import coupled_sets

    return coupled_sets(context, ("head",), norm=norm, even=even, multiple=multiple)


@granularity.add(**_COUPLED, source="Wen et al. 2018, section 3 (intrinsic sparse structures of LSTM)")
def unit(
    context: ScoringContext, *, norm: str = "l1", even: bool = False, multiple: int = 1
) -> list[UnitSet]:
    """Return one set for each recurrent layer; a unit is a hidden unit: all its gates, all that reads it."""
    from prunery.core.coupled import coupled_sets

    return coupled_sets(context, ("unit",), norm=norm, even=even, multiple=multiple)


@granularity.add(source="Narang et al. 2017, section 3.1 (block-sparse matrices)")
def block(context: ScoringContext, *, rows: int = 4, columns: int = 4, norm: str = "l1") -> list[UnitSet]:
    """Return one set a layer; a unit is a block of rows x columns of its matrix (of the first two axes).

    A block holds all positions of a convolution's kernel. At the edges of a matrix that it does not divide,
    blocks are smaller. norm: as for channels. ChoiceError: sizes that are no numbers of rows or columns.
    """
    from prunery.core.blocks import block_sets

    return block_sets(context, rows, columns, norm)
