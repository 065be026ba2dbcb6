"""Checks of costs: MACs that a sparsity does not allow, times that tell of the run and not the method."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise

from prunery.audit.checks import nets
from prunery.audit.findings import CHECKS, Finding, finding, percent, several
from prunery.audit.table.numbers import median
from prunery.audit.table.roles import is_setting
from prunery.audit.table.sheet import Entry, Sheet, grouped
from prunery.audit.table.words import plain, removes_structure

_SLACK = 0.03  # biases, norms and an unpruned layer move MACs and weights by less
_LEFT_OUT = 0.1  # of the weights, that a pruning may leave out of its sparsity
_TIMES = 6  # at least so many times say what is usual
_BRIEF = 0.5  # seconds; shorter times stray by themselves
_USUAL, _TIGHT = 0.15, 0.05  # relative distance of usual times from their median; of half of all


@CHECKS.add(
    says="MACs outside what the sparsity allows for the network, or equal to the number of weights kept"
)
def macs_bounds(sheet: Sheet) -> Iterator[Finding]:
    """Every way of removing this share of the weights leaves MACs between two bounds."""
    entries = [
        e for e in sheet.entries_of("macs", "macs_fraction") if not e.layer and e.metric.variant != "dense"
    ]
    for group in grouped(entries, lambda e: (e.network, e.data, e.metric.name, e.family, e.model)):
        known = _net(group[0])
        known = known if known and _is_that_form(sheet, group[0], known) else None
        factor = _scale(group, known) if known else 1.0
        if known and not any(e.order == 0 for e in group) and _beyond(group, known.macs, factor):
            continue  # larger images, or another form of the network
        for entry in group:
            if known and entry.sparsity is not None and not _structured(entry) and not entry.special:
                yield from _outside(entry, known, factor, _stated_or_counted(sheet, entry, known))


def _stated_or_counted(sheet: Sheet, entry: Entry, known: nets.Net) -> float:
    """Return the sparsity over all weights, as counted in the row, else as stated."""
    assert entry.sparsity is not None
    row = sheet.by_line.get(entry.row.line, [])
    mine = [e for e in row if e.kind == "params" and not e.layer and e.metric.variant == entry.metric.variant]
    counted = 1 - mine[0].value / known.weights if len(mine) == 1 else entry.sparsity
    return counted if abs(counted - entry.sparsity) <= _LEFT_OUT else entry.sparsity


def _beyond(group: Sequence[Entry], dense: float, factor: float) -> bool:
    """Return whether pruned networks need more than the dense one is known to need."""
    return any(e.value * factor > 1.1 * dense * (1 + e.metric.flops) for e in group if e.kind == "macs")


def _net(entry: Entry) -> nets.Net | None:
    if entry.network == "fully connected":
        square = entry.data is not None and "MNIST" in entry.data.name  # other images, other first layer
        named = "lenet300" in re.sub(r"[-_\s]", "", entry.model.lower())
        return nets.lenet300() if square and named else None
    if entry.data is None or entry.network is None or not entry.data.name.startswith(("CIFAR", "SVHN")):
        return None
    return nets.net(entry.network, classes=entry.data.classes, side=32)


def _place(entry: Entry) -> tuple[str, ...]:
    return (entry.row.report, entry.data_name, entry.model)


def _is_that_form(sheet: Sheet, entry: Entry, known: nets.Net) -> bool:
    """Return whether the dense costs that the table states, if any, are the known ones of the network."""
    for other in sheet.entries_of("macs", "params"):
        if (
            _place(other) == _place(entry)
            and not other.layer
            and (other.metric.variant == "dense" or other.order == 0)
        ):
            expected = known.macs if other.kind == "macs" else known.weights
            ratio = other.value * (_scale([other], known) if other.kind == "macs" else 1) / expected
            twice = other.metric.flops and abs(ratio / 2 - 1) < 0.1
            if abs(ratio - 1) > 0.1 and not twice:
                return False
    return True


def _structured(entry: Entry) -> bool:
    texts = [*entry.labels.values(), *entry.row.stated]
    if any(
        re.match("prun(ing|e)_(ratio|rate)", plain(c)) for c in entry.row.stated
    ):  # of weights, or of filters
        return len(entry.row.stated) == 1
    return any(map(removes_structure, texts))


def _scale(group: Sequence[Entry], known: nets.Net) -> float:
    """Return what the printed numbers count: MACs, or millions or billions of them if the name is unclear."""
    top = max(e.value for e in group)
    if group[0].kind == "macs_fraction" or group[0].metric.factor != 1 or top > 1e5:
        return 1.0
    return next(
        (f for f in (1e6, 1e9) if top * f < 2.5 * known.macs and top * f > known.weights * 0.001), 1e6
    )


def _outside(entry: Entry, known: nets.Net, factor: float, sparsity: float) -> Iterator[Finding]:
    fraction = entry.kind == "macs_fraction"
    unit = 1 / known.macs if fraction else 1.0
    low, high = (bound * unit for bound in known.bounds(sparsity))
    value, step = entry.value * factor, entry.number.step * factor
    highest = high * (2 if entry.metric.flops else 1) * (1 + _SLACK) + step
    lowest = 0.0 if entry.metric.variant == "effective" else low * (1 - _SLACK) - step
    if lowest <= value <= highest:
        return
    kept = (1 - sparsity) * known.weights
    named = f"{known.name} at sparsity {percent(sparsity)} leaves {_text(low)} to {_text(high)}"
    message = f"{entry.printed} is outside what is possible: {named}"
    if not fraction:
        message += " MACs"
    if not fraction and abs(value - kept) <= 0.02 * kept + step:
        message += f"; it equals the number of weights kept ({_text(kept)}): wrong column"
    yield finding("macs_bounds", [entry], message)


def _text(value: float) -> str:
    return f"{value / 1e6:.4g} M" if value >= 1e5 else f"{value:.4g}"


@CHECKS.add(says="a cost above that of the dense network, effective above kept, MACs that repeat the weights")
def costs_in_order(sheet: Sheet) -> Iterator[Finding]:
    """Effective <= kept <= dense, within a row and against the dense rows of the same network."""
    costs = [e for e in sheet.entries_of("macs", "params") if not e.layer]
    for row in grouped(costs, lambda e: (e.line, e.kind)):
        ranked = [[e for e in row if e.metric.variant == v] for v in ("effective", "", "dense")]
        present = [alone[0] for alone in ranked if len(alone) == 1]
        for small, large in pairwise(present):
            if small.value > large.value * 1.0001 and small.metric.factor == large.metric.factor:
                message = f"{small.column} {small.printed} is more than {large.column} {large.printed}"
                yield finding("costs_in_order", [small, large], message)
    for group in grouped(costs, lambda e: (e.row.report, e.data_name, e.model, e.metric.name, e.family)):
        dense = [e.value for e in group if e.dense]
        for entry in group:
            if dense and not entry.dense and entry.value > max(dense) * 1.02:
                message = f"{entry.printed} is more than the {max(dense):g} of its own dense network"
                yield finding("costs_in_order", [entry], message)


@CHECKS.add(says="times far from all others of their table: stopped early, or two runs at once")
def times(sheet: Sheet) -> Iterator[Finding]:
    """Times that say something about the run, where most of a table's times agree; brief ones say nothing."""
    for group in grouped(sheet.entries_of("time"), _conditions):
        usual = median([e.value for e in group])
        if len(group) < _TIMES or usual < _BRIEF or not _agree(group, usual):
            continue
        odd = _faults(group, usual)
        short = [e for e in odd if e.value < 0.4 * usual]
        double = [e for e in odd if 1.7 * usual <= e.value <= 2.5 * usual]
        far = [e for e in odd if e.value > 2.5 * usual]
        majority = f"of {len(group)} times here most are within {100 * _USUAL:g} % of {usual:g}"
        for entry in short:
            yield finding(
                "times",
                [entry],
                f"{entry.printed} against {usual:g}: {majority}; this run ended early or crashed",
            )
        if double:
            listed = several(e.printed for e in double)
            yield finding(
                "times",
                double,
                f"{listed} are about twice {usual:g}: {majority}; two runs shared the machine",
            )
        for entry in far:
            yield finding(
                "times", [entry], f"{entry.printed} is {entry.value / usual:.1f} times {usual:g}: {majority}"
            )


def _faults(group: Sequence[Entry], usual: float) -> list[Entry]:
    """Return the entries whose method took the usual time in another run: another method may cost more.

    Where each method has one run, a method's cost and a run's fault look alike, and all are kept.
    """
    ways = list(grouped(group, lambda e: e.arm))
    if all(len(way) == 1 for way in ways):
        return list(group)
    like_others = [w for w in ways if any(abs(e.value - usual) <= _USUAL * usual for e in w)]
    alone = [w for w in ways if len(w) == 1 and w[0].value < usual]
    kept = {id(e) for way in [*like_others, *alone] for e in way}
    return [e for e in group if id(e) in kept]


def _conditions(entry: Entry) -> object:
    settings = [f"{c}={t}" for c, t in entry.labels.items() if is_setting(c)]
    return (*entry.place, *settings)


def _agree(group: Sequence[Entry], usual: float) -> bool:
    away = [abs(e.value - usual) / usual for e in group]
    return median(away) <= _TIGHT and sum(a <= _USUAL for a in away) >= 0.6 * len(away)
