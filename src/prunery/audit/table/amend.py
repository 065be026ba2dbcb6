"""What the numbers of a table say about its columns once rows and dense networks are known."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations

from prunery.audit.table import roles
from prunery.audit.table.numbers import Number
from prunery.audit.table.sheet import Entry, grouped
from prunery.audit.table.words import plain

_WORSE = 1.02  # times the dense network's number
_SHARE = re.compile(r"percent|ratio|(^|_)pr(_|$)|prun|remov|masked|zero")
_PAIRS = 60  # so many rows are compared with each other
_COSTS = ("macs", "macs_fraction", "params", "time")


def amended(entries: list[Entry]) -> tuple[list[Entry], set[str]]:
    """Return the entries as their numbers say, and the columns of costs that are savings."""
    saved = _savings(entries)
    kept = [e for e in entries if e.column not in saved]
    return list(_units(_dense_costs(_scores(kept)))), saved


def _savings(entries: Sequence[Entry]) -> set[str]:
    """Return the columns of savings: the dense network is at 0 there, or the shares rise with sparsity."""
    costs = [e for e in entries if e.kind in _COSTS]
    zero = {
        g[0].column
        for g in grouped([e for e in costs if e.dense], lambda e: e.column)
        if all(e.number.value == 0 for e in g)
    }
    saved = {e.column for e in costs if e.column in zero and e.number.value > 0}
    for group in grouped(costs, lambda e: e.column):
        times = [e for e in group if e.kind == "macs_fraction" and e.metric.factor == 1]
        times = [e for e in times if e.number.unit != "%" and e.number.value > 1.5]
        if _rises(group) or 2 * len(times) > len(group):  # how many times less, or in another unit
            saved.add(group[0].column)
    return saved


def _rises(group: Sequence[Entry]) -> bool:
    """Return whether shares of a cost grow with sparsity: then they are shares removed."""
    shares = [e for e in group if e.order is not None and not e.metric.variant and not e.layer]
    shares = [e for e in shares if e.number.unit == "%" or _SHARE.search(plain(e.column))]
    up = down = 0
    for alike in grouped(shares, lambda e: (e.row.report, e.data_name, e.model)):
        for a, b in combinations(alike[:_PAIRS], 2):
            turn = ((b.order or 0.0) - (a.order or 0.0)) * (b.number.value - a.number.value)
            up, down = up + (turn > 0), down + (turn < 0)
    return up > down


def _scores(entries: list[Entry]) -> list[Entry]:
    """Return the entries; unnamed numbers lowest for the dense network are not accuracies (perplexity)."""
    unnamed = [e for e in entries if e.kind == "accuracy" and roles.metric(e.metric.name) is None]
    dense = {(e.column, e.model): e.number.value for e in unnamed if e.dense}
    pruned = [e for e in unnamed if not e.dense and (e.column, e.model) in dense]
    above = [e for e in pruned if e.number.value > _WORSE * dense[e.column, e.model] > 0]
    most = len(pruned) > 1 and len(above) >= 0.9 * len(pruned)
    bare = [
        e
        for e in unnamed
        if e.column.strip().lower() in ("test", "validation", "valid", "val", "dev", "value")
    ]
    top = max((e.order or 0.0 for e in pruned), default=0.0)
    last = bool(bare) and top > 0 and any(e.order == top for e in above)
    if not most and not last:
        return entries
    ids = {id(e) for e in (unnamed if most else bare)}
    return [replace(e, metric=replace(e.metric, kind="other")) if id(e) in ids else e for e in entries]


def _dense_costs(entries: list[Entry]) -> list[Entry]:
    """Return the entries; a cost that is the same at all sparsities of a network is the dense one's."""
    fixed: set[str] = set()
    for kind in ("macs", "params"):
        mine = [e for e in entries if e.kind == kind and not e.metric.variant and not e.layer]
        fixed |= _fixed(mine)
    return [
        replace(e, metric=replace(e.metric, variant="dense")) if e.column in fixed else e for e in entries
    ]


def _fixed(entries: Sequence[Entry]) -> set[str]:
    """Return the columns that have one value a network while others of the kind lie below, and move."""
    columns = {group[0].column: group for group in grouped(entries, lambda e: e.column)}
    highest = {g[0].line: _two_highest(g) for g in grouped(entries, lambda e: e.line)}
    return {column for column, group in columns.items() if _is_fixed(group, entries, highest)}


def _two_highest(entries: Sequence[Entry]) -> list[Entry]:
    """Return the highest entry of one line, and the highest in another column."""
    ordered = sorted(entries, key=lambda e: e.number.value, reverse=True)
    return [*ordered[:1], *(e for e in ordered[1:] if e.column != ordered[0].column)][:2]


def _is_fixed(group: Sequence[Entry], entries: Sequence[Entry], highest: Mapping[int, list[Entry]]) -> bool:
    entry_of = {e.line: e for e in group}
    networks = list(grouped(entry_of.values(), lambda e: (e.row.report, e.data_name, e.model)))
    if len(entry_of) <= len(networks) or any(len({e.number.value for e in g}) > 1 for g in networks):
        return False
    others = [e for line in entry_of for e in highest[line] if e.column != group[0].column]
    if not others or any(e.number.value > entry_of[e.line].number.value for e in others):
        return False
    values = set()
    for other in entries:
        if other.column != group[0].column and other.line in entry_of:
            values.add(other.number.value)
            if len(values) > len(networks):
                return True
    return False


def _units(entries: list[Entry]) -> list[Entry]:
    """Return the entries in %, MACs, weights or seconds; fractions and errors become accuracies in %."""
    named = grouped(entries, lambda e: e.metric.name)
    fractions = {group[0].metric.name for group in named if _is_fraction(group)}
    turned = []
    for entry in entries:
        number, metric = entry.number, entry.metric
        if metric.kind in ("macs", "macs_fraction") and number.unit == "%":
            metric = replace(metric, kind="macs_fraction", factor=0.01)
        factor = 1.0 if re.search("[mgkb]", number.unit) else metric.factor
        if metric.kind == "accuracy":
            factor = 100.0 if metric.name in fractions else 1.0
        number = number.scaled(factor)
        if metric.error:
            number = replace(number, value=100 - number.value)
        turned.append(replace(entry, number=number, metric=metric))
    return turned


def _is_fraction(entries: Sequence[Entry]) -> bool:
    """Return whether the accuracies of one name are printed between 0 and 1."""
    numbers: list[Number] = [e.number for e in entries]
    inside = sum(0 < n.value < 1 for n in numbers)
    if any(n.unit == "%" for n in numbers):
        return False
    if any(e.metric.error for e in entries):  # 0.8 may well be an error in %
        return inside == len(numbers) and any(n.step < 0.005 for n in numbers)
    return inside > 0.6 * len(numbers)
