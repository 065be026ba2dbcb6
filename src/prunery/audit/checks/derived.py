"""Checks of numbers that follow from others of their row: means, intervals, differences, sparsities."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from prunery.audit.checks.spreads import behind
from prunery.audit.findings import CHECKS, Finding, in_row, percent
from prunery.audit.table.numbers import Number, agree, mean, sd
from prunery.audit.table.sheet import Row, Sheet
from prunery.audit.table.words import plain, removes_structure
from prunery.stats import t_quantile

_MOST = 0.6  # a relation that holds in so many rows is meant to hold in all
_ASKED = 0.005  # sparsity asked for and reached differ by rounding, not by more


@dataclass(frozen=True)
class Case:
    """Whether a relation holds in a row; `telling` where it could have failed."""

    row: Row
    ok: bool
    telling: bool
    message: str


def exceptions(
    check: str, columns: Sequence[str], cases: Sequence[Case], *, sure: bool = False, most: float = _MOST
) -> Iterator[Finding]:
    """Yield the rows that break a relation which most rows keep (or which holds by its name: `sure`)."""
    telling = [case for case in cases if case.telling]
    kept = sum(case.ok for case in telling)
    if sure or (kept >= 2 and kept >= most * len(telling)):
        for case in cases:
            if not case.ok:
                yield in_row(check, case.row, columns, case.message)


@CHECKS.add(says="a mean or standard deviation that the seeds of its row do not give")
def seeds_against_mean(sheet: Sheet) -> Iterator[Finding]:
    """Mean and SD (of the sample, or of the population) against the seeds' own columns."""
    for check in (_mean_case, _sd_case):
        checked = [(c, case) for row in sheet.rows if (made := check(sheet, row)) for c, case in [made]]
        columns = checked[0][0] if checked else []
        yield from exceptions("seeds_against_mean", columns, [case for _, case in checked])


def _mean_case(sheet: Sheet, row: Row) -> tuple[list[str], Case] | None:
    seeds, stated = _seeds(sheet, row)
    if len(seeds) < 2 or stated is None:
        return None
    number = row.numbers[stated]
    computed = mean([n.value for n in seeds.values()])
    ok = agree(computed, number.value, number.step / 2 + max(n.step for n in seeds.values()) / 2)
    message = f"{number.text} is stated as the mean, {_listed(seeds)} have the mean {computed:.5g}"
    return [stated, *seeds], Case(row, ok, True, message)


def _sd_case(sheet: Sheet, row: Row) -> tuple[list[str], Case] | None:
    seeds, stated = _seeds(sheet, row)
    columns = [c for c in sheet.columns_of("spread") if re.search("sd|std", plain(c)) and c in row.numbers]
    if len(seeds) < 2 or stated is None:
        return None
    inside = behind(row.numbers[stated])
    if len(columns) != 1 and (columns or inside is None):
        return None
    number = row.numbers[columns[0]] if columns else inside
    assert number is not None
    values = [n.value for n in seeds.values()]
    slack = number.step / 2 + max(n.step for n in seeds.values()) * 0.75
    usual = [sd(values), sd(values, whole=True)]
    if inside is not None:  # ± may be a standard error or an interval as well
        error = sd(values) / math.sqrt(len(values))
        usual += [error, 1.96 * error, t_quantile(len(values) - 1) * error]
        usual.append((max(values) - min(values)) / 2)
    ok = any(agree(one, number.value, slack) for one in usual)
    message = f"{number.text} is stated as the SD, {_listed(seeds)} have the SD {sd(values):.4g}"
    return [columns[0] if columns else stated, *seeds], Case(row, ok, True, message)


def _seeds(sheet: Sheet, row: Row) -> tuple[dict[str, Number], str | None]:
    """Return the seeds' columns of a row, and the one column of the same metric that is none of them."""
    mine = [e for e in sheet.by_line.get(row.line, []) if e.kind == "accuracy"]
    others = [e.column for e in mine if not e.of_seeds and e.metric.split != "train"]
    seeds = {e.column: row.numbers[e.column] for e in mine if e.of_seeds}
    return seeds, others[0] if len(others) == 1 else None


def _listed(numbers: dict[str, Number]) -> str:
    return ", ".join(n.text for n in numbers.values())


@CHECKS.add(says="ends of an interval that its mean and half-width do not give")
def intervals(sheet: Sheet) -> Iterator[Finding]:
    """low = mean - half-width, high = mean + half-width, half-width = t SD / sqrt(n)."""
    yield from _midpoints(sheet)
    centres = [c for c in sheet.columns_of("measured") if plain(c) in ("mean", "average", "avg")]
    halves = [c for c in sheet.columns_of("spread") if re.search("half_width|ci95?$|pm", plain(c))]
    if len(centres) != 1 or len(halves) != 1:
        return
    for end, sign in (("low", -1), ("lower", -1), ("high", 1), ("upper", 1)):
        for column in (c for c in sheet.columns_of("bound") if plain(c) == end):
            rows = [r for r in sheet.rows if r.numbers.keys() >= {column, centres[0], halves[0]}]
            cases = [
                _end(r.numbers[centres[0]], r.numbers[halves[0]], r.numbers[column], sign, r) for r in rows
            ]
            yield from exceptions("intervals", [column, centres[0], halves[0]], cases)
    yield from _half_widths(sheet, halves[0])


def _midpoints(sheet: Sheet) -> Iterator[Finding]:
    """x between x_low and x_high, for every x that has both."""
    for column in sheet.columns:
        ends = [f"{column}_low", f"{column}_high"]
        rows = [r for r in sheet.rows if r.numbers.keys() >= {column, *ends}]
        cases = []
        for row in rows:
            (low, high), stated = (row.numbers[e] for e in ends), row.numbers[column]
            computed = (low.value + high.value) / 2
            ok = agree(computed, stated.value, (low.step + high.step + stated.step) / 2)
            message = f"{stated.text} is no middle of {low.text} and {high.text}"
            cases.append(Case(row, ok, low.value != high.value, message))
        yield from exceptions("intervals", [column, *ends], cases)


def _end(centre: Number, half: Number, end: Number, sign: int, row: Row) -> Case:
    computed = centre.value + sign * half.value
    ok = agree(computed, end.value, (centre.step + half.step + end.step) / 2 + 1e-6)
    message = f"{end.text} is stated, {centre.text} {'+' if sign > 0 else '-'} {half.text} is {computed:.6g}"
    return Case(row, ok, half.value != 0, message)


def _half_widths(sheet: Sheet, half: str) -> Iterator[Finding]:
    deviations = [c for c in sheet.columns_of("spread") if plain(c) in ("sd", "std")]
    if len(deviations) != 1 or "n" not in sheet.columns:
        return
    cases = []
    for row in (r for r in sheet.rows if {half, deviations[0], "n"} <= set(r.numbers)):
        n, stated, deviation = int(row.numbers["n"].value), row.numbers[half], row.numbers[deviations[0]]
        if 2 <= n <= 16:  # of more, t and normal intervals hardly differ
            computed = t_quantile(n - 1) * deviation.value / math.sqrt(n)
            ok = agree(computed, stated.value, stated.step + 3 * deviation.step + 5e-4 * computed)
            message = f"{stated.text} is stated, SD {deviation.text} over n = {n} gives {computed:.4g}"
            cases.append(Case(row, ok, deviation.value != 0, message))
    yield from exceptions("intervals", [half, deviations[0]], cases)


@CHECKS.add(
    says="two statements of one sparsity that differ, or a sparsity that was asked for and not reached"
)
def sparsity_statements(sheet: Sheet) -> Iterator[Finding]:
    """Sparsity, density, exponent, ratio and kept / total of a row must say the same."""
    columns = sheet.columns_of("sparsity", "density", "exponent", "ratio", "compression")
    for i, first in enumerate(columns):
        for second in columns[i + 1 :]:
            asked = any(re.search("request|target|asked", plain(c)) for c in (first, second))
            rows = [r for r in sheet.rows if first in r.stated and second in r.stated]
            if asked:  # a share of channels, which is another one of the weights
                rows = [r for r in rows if not any(map(removes_structure, r.labels.values()))]
            cases = [_stated(sheet, row, first, second) for row in rows]
            if not (asked and sheet.columns_of("layer")):  # what a network was asked is not of each layer
                yield from exceptions("sparsity_statements", [first, second], cases, sure=asked)
    for kept in sheet.columns_of("kept"):
        for total in sheet.columns_of("total") or _all_weights(sheet):
            for column in columns:
                rows = [r for r in sheet.rows if column in r.stated and r.numbers.keys() >= {kept, total}]
                cases = [_counted(row, column, row.numbers[kept], row.numbers[total]) for row in rows]
                yield from exceptions("sparsity_statements", [column, kept, total], cases)

    yield from _cost_shares(sheet)


def _all_weights(sheet: Sheet) -> list[str]:
    """Return the one column of weights, which stands beside those kept."""
    columns = dict.fromkeys(e.column for e in sheet.entries_of("params") if e.metric.variant != "effective")
    return list(columns) if len(columns) == 1 else []


def _cost_shares(sheet: Sheet) -> Iterator[Finding]:
    """Weights (and MACs, where every weight is used once) kept of all, against the stated sparsity."""
    for kind in ("params", "macs"):
        cases, columns = [], []
        for row in sheet.rows:
            mine = [e for e in sheet.by_line.get(row.line, []) if e.kind == kind and not e.layer]
            kept, dense = ([e for e in mine if e.metric.variant == v] for v in ("", "dense"))
            if kind == "params" and len(kept) == 1 and not dense:
                column = kept[0].column
                references = sheet.references.dense_of(kept[0])
                dense = list(islice((d for d in references if d.column == column), 1))
            once = kind == "params" or (kept and kept[0].network == "fully connected")
            if once and len(kept) == len(dense) == 1 and kept[0].sparsity is not None and dense[0].value:
                columns = [kept[0].column, dense[0].column]
                removed = 1 - kept[0].value / dense[0].value
                message = f"{kept[0].printed} of {dense[0].printed} is sparsity {percent(removed)}, "
                message += f"{percent(kept[0].sparsity)} is stated"
                cases.append(Case(row, agree(removed, kept[0].sparsity, 0.002), removed > 0, message))
        yield from exceptions("sparsity_statements", columns, cases)


def _stated(sheet: Sheet, row: Row, first: str, second: str) -> Case:
    a, b = row.stated[first], row.stated[second]
    slack = _ASKED if sheet.roles[first] == sheet.roles[second] else 0.0006 + 0.002 * (1 - max(a, b))
    slack += sum(row.numbers[c].step * (0.01 if row.numbers[c].value > 1 else 1) for c in (first, second)) / 2
    slack = min(slack, 0.02)
    for number in (row.numbers[c] for c in (first, second) if sheet.roles[c] in ("ratio", "compression")):
        slack += number.step / max(number.value, 1.0) ** 2  # some cut digits off
    texts = [f"{c} {row.numbers[c].text} is {percent(row.stated[c])}" for c in (first, second)]
    return Case(row, agree(a, b, slack), a > 0 or b > 0, ", ".join(texts))


def _counted(row: Row, column: str, kept: Number, total: Number) -> Case:
    removed = 1 - kept.value / total.value if total.value else 0.0
    message = f"{row.numbers[column].text} is stated, {kept.text} of {total.text} kept is {percent(removed)}"
    return Case(row, agree(removed, row.stated[column], 0.002), True, message)


@CHECKS.add(says="an accuracy that no number of right answers over its number of images gives")
def whole_images(sheet: Sheet) -> Iterator[Finding]:
    """Accuracy times images is a whole number, where one run is printed finely enough to tell."""
    columns = sheet.columns_of("images")
    for entry in sheet.entries_of("accuracy"):
        numbers = [entry.row.numbers[c] for c in columns if c in entry.row.numbers]
        mean_of_runs = entry.number.spread is not None or "n" in entry.row.numbers
        if len(numbers) != 1 or entry.metric.split not in ("test", "") or mean_of_runs:
            continue
        right = entry.value * numbers[0].value / 100
        slack = entry.number.step / 2 * numbers[0].value / 100
        if slack < 0.25 and abs(right - round(right)) > slack + 1e-3:
            message = f"{entry.printed} of {numbers[0].text} images would be {right:.2f} right answers"
            yield in_row("whole_images", entry.row, [entry.column], message)
