"""A study's own values beside published ones: tables by metric, and sentences where ours are below.

Only equal metrics are subtracted: a top-1 accuracy chosen on the test split, or a top-5 accuracy that was
printed as top-1, stands beside ours under its own name. Published values are single runs.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from prunery.report.results.columns import BEST_ON_TEST, NAMED, TOP1, TOP5, Column
from prunery.report.results.groups import BROKEN, Group, groups_of
from prunery.report.results.published import Published, protocol
from prunery.report.text import formats
from prunery.report.text.texttable import TextTable

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class _Kind:
    """A metric as reports print it: our nearest column, its words, and why it is not ours (empty: it is)."""

    column: Column
    words: str
    why: str = ""

    @property
    def same(self) -> bool:
        """Return whether the metric is ours."""
        return not self.why


_NO_CHOICE = "ours is that of the chosen epoch, which the test split had no part in choosing"
_COUNTED = "ours counts multiplications of weights, theirs also biases"
KINDS = {
    "test_top1": _Kind(TOP1, TOP1.words),
    "test_top1_max": _Kind(TOP1, "top-1 accuracy of the best epoch on the test split", _NO_CHOICE),
    "test_top5": _Kind(TOP5, TOP5.words),
    **{name: _Kind(NAMED[name], NAMED[name].label, _COUNTED) for name in ("macs_fraction", "macs_millions")},
}
ACCURACIES = tuple(name for name in KINDS if name.startswith("test_"))


@dataclass(frozen=True)
class Pair:
    """One published value and our group beside it, in the nearest metric that we have."""

    published: Published
    group: Group
    kind: _Kind

    @property
    def difference(self) -> float | None:
        """Return ours minus the published value; None where the metrics differ or ours is not whole."""
        summary = self.group.summary
        if not self.kind.same or not self.group.sound or summary is None:
            return None
        return summary.mean - self.published.value

    @property
    def below(self) -> bool:
        """Return whether ours is below by more than our interval; with one seed or bad ones, below at all."""
        summary = self.group.summary
        if not self.kind.same:
            return False
        if summary is not None and self.group.sound:
            return (summary.mean if summary.high is None else summary.high) < self.published.value
        values = [r.value for status in BROKEN for r in self.group.having(status) if r.value is not None]
        return bool(values) and statistics.fmean(values) < self.published.value - 0.5 * self.group.step


def pairs(frame: pd.DataFrame, published: Sequence[Published]) -> list[Pair]:
    """Return each published value with our group of that method and sparsity, under the nearest metric."""
    matched: list[Pair] = []
    for metric in KINDS:
        values = [p for p in published if p.metric == metric]
        kind = _kind(frame, metric)
        groups = _groups_by_place(frame, kind.column) if values else {}
        matched += [
            Pair(p, groups[p.method, p.sparsity], kind) for p in values if (p.method, p.sparsity) in groups
        ]
    return matched


def tables(pairs: Sequence[Pair]) -> list[TextTable]:
    """Return a table for each published metric: ours, theirs, n, and the difference if it means something."""
    return [
        _table(name, same) for name in KINDS if (same := [p for p in pairs if p.published.metric == name])
    ]


def below(pairs: Sequence[Pair]) -> list[str]:
    """Return a sentence for each cell of ours below the published value, with what differs in protocol."""
    return [_below(pair) for pair in pairs if pair.below]


def _kind(frame: pd.DataFrame, metric: str) -> _Kind:
    """Return the kind; a best epoch on the test split is subtracted where the study recorded its own."""
    if metric == "test_top1_max" and "test_top1_max" in frame and frame["test_top1_max"].notna().any():
        return replace(KINDS[metric], column=BEST_ON_TEST, why="")
    return KINDS[metric]


def _groups_by_place(frame: pd.DataFrame, column: Column) -> dict[tuple[str, float], Group]:
    groups = groups_of(frame, metric=column)
    return {(g.method, g.sparsity): g for g in groups if g.role in ("dense", "pruned")}


def _table(name: str, pairs: Sequence[Pair]) -> TextTable:
    kind, notes = pairs[0].kind, formats.Footnotes()
    rows = tuple(_row(pair, notes) for pair in pairs)
    unit = f", {kind.column.unit}" if kind.column.unit else ""
    header = ("method", "sparsity", "ours", "published", "n", "ours − published", "report")
    lines = tuple(notes.lines())
    return TextTable(
        f"Beside published values: {kind.words}{unit}", header, rows, _caption(kind, pairs), lines
    )


def _row(pair: Pair, notes: formats.Footnotes) -> tuple[str, ...]:
    published, decimals = pair.published, pair.kind.column.decimals
    ours = formats.NOTHING
    if pair.group.summary is not None or any(pair.group.having(s) for s in BROKEN):
        ours = formats.cell(pair.group, usual_n=None, footnotes=formats.Footnotes(), decimals=decimals)
        ours = ours.split(" [")[0]
    mark = f" {notes.mark(published.note)}" if published.note else ""
    difference = formats.NOTHING if pair.difference is None else formats.signed(pair.difference)
    value = f"{published.value:.{decimals}f}{mark}"
    place = formats.percent(published.sparsity) if pair.group.role == "pruned" else formats.NOTHING
    return (published.method, place, ours, value, str(published.n), difference, published.report)


def _caption(kind: _Kind, pairs: Sequence[Pair]) -> tuple[str, ...]:
    reports = sorted({p.published.report for p in pairs})
    counts = sorted({p.published.n for p in pairs})
    each = (
        f"n = {formats.ranged(map(float, counts))} run{'s' if counts != [1] else ''} each, without interval"
    )
    sentences = [f"Published values: as printed in the report{'s' if len(reports) > 1 else ''} "]
    sentences[0] += f"{formats.listed(reports)}, {each}."
    if not kind.same:
        sentences.append(f"Not subtracted: it is another metric than ours ({kind.why}).")
    if any(p.published.note for p in pairs):
        sentences.append("What is known of them, and what is wrong with them, stands in the notes below.")
    return tuple(sentences)


def _below(pair: Pair) -> str:
    published, summary = pair.published, pair.group.summary
    name = pair.group.method
    if pair.group.role == "pruned":
        name += f" at {formats.percent(published.sparsity)}"
    if not pair.group.sound or summary is None:
        ours, how = "ours " + formats.count(pair.group, next(s for s in BROKEN if pair.group.having(s))), ""
    else:
        ours = f"{formats.values(pair.group)} {pair.kind.column.unit}"
        how = " (too few seeds for an interval)" if summary.half is None else " by more than our interval"
    differs = "; ".join(_differs(pair))
    why = f" (what differs: {differs})" if differs else ""
    theirs = (
        f"the {published.value:.{pair.kind.column.decimals}f} {pair.kind.column.unit} of {published.report}"
    )
    return f"Below the published value{how}: {name}, {ours} against {theirs}{why}."


def _differs(pair: Pair) -> Iterator[str]:
    """Return what the published protocol is known to have done otherwise."""
    row = pair.group.runs[0].row
    theirs = protocol(pair.published, row)
    if theirs is None:
        return
    if pair.group.epochs is not None:
        before, after = map(str, pair.group.epochs)
        if (before, after) != (theirs.epochs_before, theirs.epochs_after):
            yield f"{theirs.epochs_before}+{theirs.epochs_after} epochs there, {before}+{after} here"
    optimizer = row.get("optimizer")
    if optimizer and theirs.optimizer and optimizer != theirs.optimizer:
        yield f"{theirs.optimizer} there, {optimizer} here"
    for column in ("learning_rate", "batch"):
        known, ours = getattr(theirs, column), row.get(column)
        if known and ours is not None and float(known) != ours:
            yield f"{column.replace('_', ' ')} {known} there, {ours:g} here"
    if row.get("images") is not None:
        yield f"{formats.thousands(row['images'])} training images here"
    if "test split" in theirs.selection and pair.kind.column is not BEST_ON_TEST:
        yield f"theirs is the {theirs.selection}"
