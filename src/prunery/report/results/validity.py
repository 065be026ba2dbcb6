"""The MACs that a network can have at its density; what lies outside was counted wrongly and is refused.

A network that keeps K of its weights has the fewest MACs when they lie in the layers with the fewest MACs
per weight, the most when they lie in those with the most: both by filling layers one after the other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from prunery.errors import StoreError
from prunery.stats import filled

if TYPE_CHECKING:
    from prunery.lab.plan import Plan
    from prunery.lab.record import Record
    from prunery.report.results.cell_records import Records

Layer = Mapping[str, Any]
_ROUNDING = 1e-9


def check(plan: Plan, store: Records) -> None:
    """Raise StoreError for the first cell whose MACs cannot be those of a network of its density."""
    for cell in plan.cells:
        if store.has(cell.key):
            problem = wrong(store.record(cell.key))
            if problem:
                raise StoreError(
                    f"the MACs of {cell.method} at sparsity {cell.sparsity:g}, seed {cell.seed} ({cell.key})",
                    problem,
                    "they were counted wrongly or the record was altered: measure it again",
                )


def wrong(record: Record) -> str | None:
    """Return what is impossible about a measure record's MACs, or None."""
    layers = record.tables.get("layers", [])
    numbers = {n.name: n.value for n in record.numbers}
    kept, effective = numbers.get("macs_kept"), numbers.get("macs_effective")
    if not layers or kept is None:
        return None
    low, high = between(layers, numbers["params_kept"])
    slack = _ROUNDING * high
    if not low - slack <= kept <= high + slack:
        return f"{kept:.0f} are kept, and a network with these weights has {low:.0f} to {high:.0f}"
    if effective is not None and effective > kept + slack:
        return f"{effective:.0f} are effective, more than the {kept:.0f} that are kept"
    return None


def between(layers: Sequence[Layer], kept: float) -> tuple[float, float]:
    """Return the fewest and the most MACs of a network with these layers that keeps so many weights in all.

    Where the rows of a layer are used unequally often (keys and queries of different lengths), its MACs are
    no multiple of its weights, and all that is sure is that MACs lie between none and all.
    """
    if any(layer["params_dense"] and layer["macs_dense"] % layer["params_dense"] for layer in layers):
        return 0.0, float(sum(layer["macs_dense"] for layer in layers))
    weighed = [layer for layer in layers if layer["params_dense"]]
    return filled([(float(x["params_dense"]), x["macs_dense"] / x["params_dense"]) for x in weighed], kept)
