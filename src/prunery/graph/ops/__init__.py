"""The rules of operations, by what they do; importing this package enters all of them."""

from prunery.graph.ops import (
    attention,
    lookups,
    moves,
    norms,
    parts,
    pointwise,
    products,
    recurrent,
    reductions,
    space,
)

__all__ = [
    "attention",
    "lookups",
    "moves",
    "norms",
    "parts",
    "pointwise",
    "products",
    "recurrent",
    "reductions",
    "space",
]
