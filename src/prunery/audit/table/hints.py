"""What the cells of a column, and the columns beside it, say that its name does not."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise

from prunery.audit.table import facts, levels, roles
from prunery.audit.table.numbers import Number, median
from prunery.audit.table.words import plain

BEFORE = ("base", "dense", "baseline", "original", "unpruned", "before")
_COUNTS = re.compile(
    r"(^|_)(rank|number|papers|counts?|norm|trace|epochs?|iter|iterations?|steps?|id|year)(_|$)"
)
_STEPS = re.compile(r"(global_)?(epoch|step|iter|iteration)")
Cells = Mapping[str, Sequence[str]]
Numbers = Mapping[str, Sequence[Number]]


def correct(role_of: dict[str, str], cells: Cells, numbers: Numbers, numeric: set[str]) -> None:
    """Change the roles that the names gave where the cells say otherwise."""
    _before_and_after(role_of)
    _origins(role_of, cells)
    for column, role in list(role_of.items()):
        lettered = sum(re.search("[^\\W\\d_]{2}", t) is not None for t in cells[column])
        words = column not in numeric and 2 * lettered > len(cells[column])
        if role in levels.ROLES and words and "method" not in role_of.values():
            role_of[column] = "method"  # `Pruning ratio` above the names of methods
        if role in ("epochs", "cost") and re.search(r"[=@]\s*\d+$", column) and column in numeric:
            role_of[column] = "open"  # `epochs=40`: what was measured after them
        if role_of[column] == "open" and _is_error_bar(column, role_of, numbers):
            role_of[column] = "spread"
    _metric_rows(role_of, cells, numeric)
    _logs(role_of, numbers)


def _before_and_after(role_of: dict[str, str]) -> None:
    """`base` and `pruned` side by side are two accuracies, not a sparsity; `loss` is their difference."""
    bare = {c: re.sub("_(percent|pct)$", "", plain(c)) for c in role_of}
    base = [c for c, r in role_of.items() if r == "open" and bare[c] in BEFORE]
    if base:
        for column in [c for c in role_of if bare[c] == "pruned"]:
            role_of[column] = "open"
    known = [m for c in role_of if (m := roles.metric(c)) and m.kind == "accuracy"]
    if base or {m.variant for m in known} >= {"", "dense"}:
        for column in [c for c, r in role_of.items() if r == "open" and bare[c] == "loss"]:
            role_of[column] = "delta"


def _origins(role_of: dict[str, str], cells: Cells) -> None:
    """Mark a column of data sets called source as what the networks were trained on before."""
    for column in [c for c in role_of if plain(c) in ("source", "init", "initialization", "weights")]:
        texts = [t for t in cells[column] if t]
        if texts and 2 * sum(facts.data_in(t) is not None for t in texts) >= len(texts):
            role_of[column] = "origin"


def _is_error_bar(column: str, role_of: Mapping[str, str], numbers: Numbers) -> bool:
    """Return whether what is called an error is far too small to be what an accuracy beside it leaves."""
    kind = roles.metric(column)
    if kind is None or not kind.error or not numbers[column]:
        return False
    beside = [
        c
        for c, r in role_of.items()
        if c != column
        and r in ("open", "mean", "value")
        and (m := roles.metric(c)) is not None
        and m.kind == "accuracy"
        and not m.error
        and (m.k or 1) == (kind.k or 1)
        and m.split in (kind.split, "test")
    ]
    if len(beside) != 1 or not numbers[beside[0]]:
        return False
    accuracies = [n.value for n in numbers[beside[0]]]
    whole = 1.0 if max(accuracies) <= 1 else 100.0
    errors = [n.value for n in numbers[column]]
    return max(errors) <= 0.05 * whole and 3 * median(errors) < whole - median(accuracies)


def _metric_rows(role_of: dict[str, str], cells: Cells, numeric: set[str]) -> None:
    """Mark a transposed table: the first column holds the names of metrics, the others are networks."""
    first = next(iter(cells))
    known = sum(roles.metric(t) is not None and not roles.role(t) for t in cells[first])
    free = role_of[first] in ("label", "method", "note", "model", "dataset")
    across = len([c for c in role_of if c in numeric]) >= 0.8 * (len(role_of) - 1)
    if free and across and len(cells[first]) > 1 and known == len(cells[first]):
        role_of[first] = "metric"


def _logs(role_of: dict[str, str], numbers: Numbers) -> None:
    """Mark a column of epochs or steps that counts up from row to row: the rows are moments of one run."""
    for column in [c for c in role_of if _STEPS.fullmatch(plain(c))]:
        values = [n.value for n in numbers[column]]
        steps = [b - a for a, b in pairwise(values)]
        usual = median(steps) if steps else 0.0
        if len(values) > 4 and usual > 0 and sum(s == usual for s in steps) >= 0.7 * len(steps):
            role_of[column] = "log"


def is_log(column: str, role: str, sparsities: Sequence[float]) -> bool:
    """Return whether a counting column is of one run: iterations that prune at each count are networks."""
    same = sum(a == b for a, b in pairwise(sparsities))
    return role == "log" and ("epoch" in plain(column) or 2 * same >= len(sparsities) - 1)


def is_count(column: str, numbers: Sequence[Number], *, named: bool) -> bool:
    """Return whether a header that names a method or a data set, or nothing, stands above something counted.

    `named`: another column is called accuracy.
    """
    whole = all(n.step >= 1 and n.unit != "%" for n in numbers)
    counted = _COUNTS.search(plain(column)) is not None and not re.search(r"^\d|[=@]\s*\d+$", column)
    return bool(numbers) and (counted or (whole and named))
