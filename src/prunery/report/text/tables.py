"""The tables of a study: methods down, sparsities across, dense on top, costs beside."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from prunery.report.results.columns import TOP1, Column
from prunery.report.results.groups import AT_SPARSITY, Against, Group, arms, sparsities
from prunery.report.text import formats
from prunery.report.text.captions import accuracy_caption, difference_caption, folded, named, task
from prunery.report.text.costs import costs
from prunery.report.text.texttable import ROLES, TextTable, markdown, terminal

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "ROLES",
    "TextTable",
    "accuracy",
    "arm_controls",
    "costs",
    "dense_controls",
    "differences",
    "lines",
    "markdown",
    "terminal",
    "usual_n",
]


def accuracy(frame: pd.DataFrame, groups: Sequence[Group], *, metric: Column = TOP1) -> TextTable:
    """Return a metric over seeds, by default top-1 on test: methods x sparsities, and epochs.

    `groups` are the frame's groups under that metric.
    """
    notes, n = formats.Footnotes(), usual_n(groups)
    rows = _rows(groups, lines(groups, fold=metric == TOP1), notes, metric)
    header = ("method", "epochs", *map(formats.percent, sparsities(groups)))
    caption = accuracy_caption(frame, groups, n, metric)
    title = f"{frame['study'].iloc[0]}: {task(frame)}" if metric == TOP1 else metric.label
    return TextTable(title, header, rows, caption, tuple(notes.lines()))


def lines(groups: Sequence[Group], *, fold: bool = True) -> list[tuple[str, str]]:
    """Return method and role of each row of a table; `fold`: many controls have tables of their own."""
    roles = [role for role in ROLES if not (fold and folded(groups, role))]
    return [(method, role) for role in roles for method in arms(groups, role)]


def dense_controls(groups: Sequence[Group]) -> TextTable | None:
    """Return a table of the dense controls' top-1 where they are many; None where they are not."""
    if not folded(groups, "dense_extra"):
        return None
    notes, n = formats.Footnotes(), usual_n(groups)
    controls = [g for g in groups if g.role == "dense_extra"]
    rows = [(g.method, _epochs([g]), _cell(g, n, notes, TOP1)) for g in controls]
    caption = ("Dense networks trained for as long as a pruned one, before and after its first cut.",)
    header = ("control", "epochs", f"{TOP1.label}, {TOP1.unit}")
    return TextTable("Dense controls", header, tuple(rows), caption, tuple(notes.lines()))


def arm_controls(groups: Sequence[Group]) -> TextTable | None:
    """Return a table of the sanity arms' top-1 where they are many; None where they are not."""
    if not folded(groups, "sanity"):
        return None
    notes = formats.Footnotes()
    rows = _rows(groups, [(method, "sanity") for method in arms(groups, "sanity")], notes, TOP1)
    caption = (
        f"{TOP1.label} on the test split, in {TOP1.unit}, of what a method is worth without its choice of "
        "weights. Shuffled in each layer: random pruning with the method's own layer ratios.",
    )
    header = ("method", "epochs", *map(formats.percent, sparsities(groups)))
    return TextTable("Shuffled and other sanity arms", header, rows, caption, tuple(notes.lines()))


def _rows(
    groups: Sequence[Group], wanted: Sequence[tuple[str, str]], notes: formats.Footnotes, metric: Column
) -> tuple[tuple[str, ...], ...]:
    """Return a row for each method and role: its name, its epochs, and its cell at each sparsity."""
    n, columns, rows = usual_n(groups), sparsities(groups), []
    for method, role in wanted:
        by_sparsity = {g.sparsity: g for g in groups if (g.method, g.role) == (method, role)}
        across = [
            by_sparsity.get(s) if role in AT_SPARSITY else next(iter(by_sparsity.values())) for s in columns
        ]
        cells = [formats.NOTHING if g is None else _cell(g, n, notes, metric) for g in across]
        rows.append((method, _epochs(list(by_sparsity.values())), *cells))
    return tuple(rows)


def differences(groups: Sequence[Group], reference: str) -> TextTable | None:
    """Return paired differences to a reference in points, with verdicts; None where there are none."""
    columns = sparsities(groups)
    rows = []
    for method in arms(groups, "pruned"):
        by_sparsity = {
            g.sparsity: g.against.get(reference) for g in groups if (g.method, g.role) == (method, "pruned")
        }
        if any(by_sparsity.values()):
            rows.append((method, *(_difference(by_sparsity.get(s)) for s in columns)))
    if not rows:
        return None
    header = ("method", *map(formats.percent, columns))
    caption = difference_caption(groups, reference)
    return TextTable(f"Difference to {named(reference)}", header, tuple(rows), caption, (), fixed=1)


def usual_n(groups: Sequence[Group]) -> int | None:
    """Return the number of seeds behind most cells; None where no cell is done."""
    counts = [g.summary.n for g in groups if g.summary is not None and g.sound]
    return max(sorted(set(counts), reverse=True), key=counts.count) if counts else None


def _cell(group: Group, n: int | None, notes: formats.Footnotes, metric: Column) -> str:
    text = formats.cell(group, usual_n=n, footnotes=notes, decimals=metric.decimals)
    return text or formats.NOTHING


def _epochs(groups: Sequence[Group]) -> str:
    pairs = [g.epochs for g in groups if g.epochs is not None]
    if not pairs:
        return formats.NOTHING
    before, after = (formats.ranged(float(e[i]) for e in pairs) for i in (0, 1))
    return f"{before}+{after}"


def _difference(against: Against | None) -> str:
    if against is None:
        return formats.NOTHING
    summary = against.difference.summary
    if summary.half is None or against.verdict is None:
        return ", ".join(map(formats.signed, against.singles))
    return f"{formats.signed(summary.mean)} ±{summary.half:.{formats.DECIMALS}f} {against.verdict}"
