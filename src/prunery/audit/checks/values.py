"""Checks of single values: chance, range, more than is credible, the other metric."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from prunery.audit.findings import CHECKS, Finding, finding, several
from prunery.audit.table import facts
from prunery.audit.table.numbers import median
from prunery.audit.table.sheet import Entry, Sheet, grouped

_NEAR = 0.05  # points from 100 k / C
_PRIOR = 0.015  # points from a class's share: one image of 10 000, and rounding
_GAIN = 2.0  # points above the table's own dense network that need an explanation
_ERRORS_LEFT = 0.7  # ... if less than this share of its errors is left


@CHECKS.add(says="accuracy at chance: 100/C, 500/C for top-5, or one class's share of the test set")
def chance(sheet: Sheet) -> Iterator[Finding]:
    """Constant predictions, one finding a row."""
    swapped = {id(e) for group in _swapped(sheet) for e in group}
    for row in grouped(_accuracies(sheet), _same_cells):
        collapsed = [(e, why) for e in row if id(e) not in swapped and (why := _chance(e))]
        collapsed = [(e, why) for e, why in collapsed if not _alone_at_top5(e, row)]
        if collapsed:
            entries = [e for e, _ in collapsed]
            listed = several(f"{e.column} {e.described}" if len(row) > 1 else e.described for e in entries)
            yield finding(
                "chance", entries, f"{listed} is {collapsed[0][1]}: constant predictions, collapsed"
            )


def _accuracies(sheet: Sheet) -> list[Entry]:
    return sheet.entries_of("accuracy")


def _alone_at_top5(entry: Entry, row: Sequence[Entry]) -> bool:
    """Return whether a top-5 accuracy is at a chance level so high that only top-1 beside it tells."""
    first = [e for e in row if (e.metric.k or 1) == 1]
    high = (entry.metric.k or 1) > 1 and (chance_level(entry) or 0) >= 10
    return high and not any(_chance(e) for e in first)


def _same_cells(entry: Entry) -> object:
    return entry.line, entry.metric.split, entry.method, entry.order


def _chance(entry: Entry) -> str | None:
    """Return the guess that an accuracy equals, or None; a mean over different seeds equals none."""
    if (entry.number.spread or 0) > _NEAR:
        return None
    level = chance_level(entry)
    if level is not None and level < 99 and abs(entry.value - level) <= min(_NEAR, level / 4) + 1e-9:
        return f"chance ({level:g} %{_over_classes(entry)})"
    if entry.data is None or (entry.metric.k or 1) != 1 or entry.metric.split in ("train", "validation"):
        return None
    shares = [(abs(entry.value - share), share, label) for label, share in entry.data.shares()]
    gap, share, label = min(shares, default=(1.0, 0.0, 0))
    return (
        f"the share of class {label} in {entry.data.name}'s test set ({share:.2f} %)"
        if gap <= _PRIOR
        else None
    )


def chance_level(entry: Entry) -> float | None:
    """Return the accuracy of guessing in %, as the table states it or the data set implies it."""
    if entry.known_chance is not None:
        return entry.known_chance
    return entry.data.chance(entry.metric.k or 1) if entry.data else None


def _over_classes(entry: Entry) -> str:
    k = entry.metric.k or 1
    return f" = {100 * k}/{entry.data.classes}" if entry.data and entry.known_chance is None else ""


def _swapped(sheet: Sheet) -> Iterator[list[Entry]]:
    """Groups of accuracies whose floor is the chance level of the other k."""
    for group in grouped(_accuracies(sheet), lambda e: (e.row.report, e.data, e.metric.k, e.family)):
        data, k = group[0].data, group[0].metric.k or 1
        if data is None or data.classes < 20 or k not in (1, 5):
            continue
        expected, other = data.chance(k), data.chance(6 - k)
        at_other = [e for e in group if abs(e.value - other) <= 0.025 and not e.number.spread]
        at_expected = [e for e in group if abs(e.value - expected) <= 0.025]
        lowest = min(e.value for e in group)
        if len(at_other) >= 2 and not at_expected and (k == 5 or lowest > other - 0.5):
            yield group


@CHECKS.add(says="values that fit the other metric: top-5 printed as top-1, or the reverse")
def wrong_metric(sheet: Sheet) -> Iterator[Finding]:
    """The floor of collapsed runs gives the metric away: 100/C for top-1, 500/C for top-5."""
    for group in _swapped(sheet):
        data, k = group[0].data, group[0].metric.k or 1
        assert data is not None
        floor = [e for e in group if abs(e.value - data.chance(6 - k)) <= _NEAR]
        says = f"top-{k}" if group[0].metric.k else "accuracy"
        yield finding(
            "wrong_metric",
            group,
            f"printed as {says} on {data.name}, but {len(floor)} of {len(group)} stand at "
            f"{data.chance(6 - k):g} % = {100 * (6 - k)}/{data.classes}, the floor of top-{6 - k}, and none "
            f"at {data.chance(k):g} %: these are top-{6 - k}",
        )
    for row in grouped(_accuracies(sheet), lambda e: (e.line, e.metric.split, e.method)):
        first, five = ([e for e in row if e.metric.k == k and not e.of_seeds] for k in (1, 5))
        if len(first) == len(five) == 1 and five[0].value < first[0].value - 1e-9:
            message = f"top-5 {five[0].described} is below top-1 {first[0].described}: exchanged"
            yield finding("wrong_metric", [first[0], five[0]], message)


@CHECKS.add(
    says="values outside what the metric can be: accuracy beyond 0-100 %, negative costs, sparsity beyond 1"
)
def out_of_range(sheet: Sheet) -> Iterator[Finding]:
    """Impossible values."""
    for entry in sheet.entries:
        high = {"accuracy": 100.0, "macs_fraction": 1.0}.get(entry.kind, math.inf)
        limit = 2 * high if entry.metric.flops else high
        if entry.kind == "other" or -1e-9 <= entry.value <= limit + entry.number.step / 2:
            continue
        unit = "%" if entry.kind == "accuracy" else "of the dense network" if high == 1 else "in its unit"
        bounds = f"0 to {high:g} {unit}" if high < math.inf else f"at least 0 {unit}"
        yield finding(
            "out_of_range", [entry], f"{entry.described} is no {_metric_name(entry)}: it is {bounds}"
        )
    yield from _no_sparsity(sheet)


def _metric_name(entry: Entry) -> str:
    return {"accuracy": "accuracy", "macs_fraction": "fraction of MACs"}.get(entry.kind, entry.metric.name)


def _no_sparsity(sheet: Sheet) -> Iterator[Finding]:
    columns = sheet.columns_of("sparsity", "density", "exponent", "ratio")
    for row in sheet.rows:
        for column in columns:
            if column in row.numbers and column not in row.stated:
                text, role = row.numbers[column].text, sheet.roles[column]
                where = ", ".join(t for t in row.labels.values() if t)
                yield Finding("out_of_range", (row.line,), column, where, f"{text} is no {role}")


@CHECKS.add(says="a fraction among percentages: 0.695 beside 69.8")
def mixed_units(sheet: Sheet) -> Iterator[Finding]:
    """An accuracy below one that times 100 lies among the others of its column."""
    for group in grouped(_accuracies(sheet), lambda e: (e.metric.name, e.family, e.data_name, e.model)):
        usual = [e.value for e in group if e.value > 1]
        curves = {arm[0].arm: arm for arm in grouped(group, lambda e: e.arm)}
        for entry in group if 2 * len(usual) > len(group) else ():
            fraction = 0 < entry.value <= 1 and entry.number.step <= 0.001 and not _chance(entry)
            fraction = fraction and min(usual) - 5 <= 100 * entry.value <= max(usual) + 5
            if fraction and not _fallen(entry, curves[entry.arm], max(usual)):
                message = f"{entry.printed} stands among percentages: {100 * entry.value:g} as a fraction"
                yield finding("mixed_units", [entry], message)


def _fallen(entry: Entry, curve: Sequence[Entry], top: float) -> bool:
    """Return whether the point before it on its curve had lost most already, so that it may be so low."""
    before = [e for e in curve if e.order is not None and e.order < (entry.order or 0.0)]
    last = max(before, key=lambda e: e.order or 0.0, default=None)
    return last is not None and last.value < 0.4 * top


@CHECKS.add(says="accuracy above what dense networks of that form reach, by two points or more")
def not_credible(sheet: Sheet) -> Iterator[Finding]:
    """Values above the published dense accuracy plus two points (fully connected on MNIST: 99.5)."""
    for entry in _accuracies(sheet):
        if (
            entry.data is None
            or entry.network is None
            or (entry.metric.k or 1) != 1
            or entry.metric.split == "train"
            or entry.special
        ):
            continue
        top = facts.credible(entry.data, entry.network)
        if top is not None and 100.0 >= entry.value > top:
            message = f"{entry.described} is above {top:g} %, more than a {entry.network} network reaches on "
            yield finding(
                "not_credible", [entry], f"{message}{entry.data.name}: check the metric and the label"
            )


@CHECKS.add(says="pruned accuracy above the table's own dense network by an implausible amount")
def above_dense(sheet: Sheet) -> Iterator[Finding]:
    """Pruned networks that leave less than 70 % of the errors of the dense one, and gain over two points."""
    pruned = [e for e in _accuracies(sheet) if e.metric.split != "train" and not e.dense]
    by_dense = grouped(pruned, lambda e: id(sheet.references.dense_of(e)))
    for group in by_dense if not (sheet.noisy or sheet.log) else ():
        if not (dense_entries := sheet.references.dense_of(group[0])):
            continue
        dense = median([d.value for d in dense_entries])
        above = [e for e in group if _gains(e, dense)]
        if len(above) == len(group) > 2:  # then the dense number is as likely to be wrong
            reference = dense_entries[0].described
            says = f"all {len(group)} pruned networks are more than {_GAIN:g} points above {reference}"
            yield finding("above_dense", [*dense_entries, *above], f"{says}, their own dense network")
            continue
        for entry in above:
            gain = f"{entry.value - dense:.2f} points above its own dense network ({dense:g})"
            yield finding("above_dense", [entry], f"{entry.described} is {gain}")


def _gains(entry: Entry, dense: float) -> bool:
    left = (100 - entry.value) / max(100 - dense, 1e-9)
    return 1 < dense < entry.value - _GAIN and entry.value <= 100 and left < _ERRORS_LEFT
