"""Columns that a user's own rows declare: their facts checked, and what their functions return."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

from prunery.errors import ChoiceError
from prunery.registry import BoundEntry, nearest
from prunery.report.results.cell_records import CellRecords
from prunery.report.results.columns import Column, column

_LAST = 9  # their rank: after the library's own
_ANY: tuple[str, ...] = ()
_FACTS = {
    **dict.fromkeys(("label", "unit", "decimals", "rank", "head", "scale", "csv", "summary"), _ANY),
    "better": ("higher", "lower", "none"),
    "tables": ("own", "cost"),
    "figures": ("cost",),
}
"""The facts that a row may have, with the words that stand for choices."""


def columns_of(rows: Iterable[str]) -> tuple[Column, ...]:
    """Return the columns that rows of a user's own declare, each written `module:row`."""
    return tuple(_column(column.bind(row)) for row in dict.fromkeys(rows))


def _column(row: BoundEntry) -> Column:
    options = ", ".join(f"{option}={value!r}" for option, value in row.given.items())
    name = f"{row.name}({options})" if options else row.name
    given = {fact: value for fact, value in row.facts.items() if fact != "name"}
    facts: dict[str, Any] = {"label": name, "tables": ("own",), "summary": True, "rank": _LAST}
    facts |= {fact: _checked(row.name, fact, value) for fact, value in given.items()}
    return Column(name, partial(_value, row), **facts)


def _checked(row: str, fact: str, value: Any) -> Any:
    """Return the fact's value, one word of several as a tuple; ChoiceError if it cannot be."""
    if fact not in _FACTS:
        problem = f"there is no such fact{nearest(fact, _FACTS)}"
        raise ChoiceError(f"the fact {fact!r} of column {row!r}", problem, f"use {', '.join(_FACTS)}")
    words = (value,) if isinstance(value, str) else value
    wrong = [word for word in words if word not in _FACTS[fact]] if _FACTS[fact] else []
    if wrong:
        do = f"choose from: {', '.join(_FACTS[fact])}"
        raise ChoiceError(f"the fact {fact!r} of column {row!r}", f"it is {wrong[0]!r}", do)
    return tuple(words) if fact in ("tables", "figures") else value


def _value(row: BoundEntry, cell: CellRecords) -> float | None:
    """Return what the row gives for a cell that is measured; ChoiceError if that is no number."""
    if cell.measured is None:
        return None
    try:
        value = row(cell)
        return None if value is None else float(value)
    except Exception as error:  # whatever the user's function raises
        where = f"{cell.cell.method} at sparsity {cell.cell.sparsity:g}, seed {cell.cell.seed}"
        problem = f"it raises {type(error).__name__}: {error}"
        do = "return a number, or None where there is none"
        raise ChoiceError(f"column {row.name!r} of {where} ({cell.cell.key})", problem, do) from error
