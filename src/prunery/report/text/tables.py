"""The tables of a study: methods down, sparsities across, dense on top, costs beside."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from prunery.report.results.columns import TOP1, Metric
from prunery.report.results.groups import AT_SPARSITY, Against, Group, arms, sparsities
from prunery.report.text import formats
from prunery.report.text.captions import accuracy_caption, difference_caption, named, task
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

FEW_CONTROLS = 3


def accuracy(frame: pd.DataFrame, found: Sequence[Group], *, metric: Metric = TOP1) -> TextTable:
    """A metric over seeds, by default top-1 on test: methods x sparsities, with the epochs around the cut.

    `found` are the frame's groups under that metric.
    """
    notes, n = formats.Footnotes(), usual_n(found)
    rows = _rows(found, lines(found, folded=metric == TOP1), notes, metric)
    header = ("method", "epochs", *map(formats.percent, sparsities(found)))
    caption = accuracy_caption(frame, found, n, metric)
    title = f"{frame['study'].iloc[0]}: {task(frame)}" if metric == TOP1 else metric.name
    return TextTable(title, header, rows, caption, tuple(notes.lines()))


def lines(found: Sequence[Group], *, folded: bool = True) -> list[tuple[str, str]]:
    """Method and role of each row of a table; `folded`: many controls have tables of their own."""
    roles = [role for role in ROLES if not (folded and _folded(found, role))]
    return [(method, role) for role in roles for method in arms(found, role)]


def dense_controls(found: Sequence[Group]) -> TextTable | None:
    """Top-1 of the dense controls in a table of their own, where they are many; None where they are not."""
    if not _folded(found, "dense_extra"):
        return None
    notes, n = formats.Footnotes(), usual_n(found)
    own = [g for g in found if g.role == "dense_extra"]
    rows = [(g.method, _epochs([g]), _cell(g, n, notes, TOP1)) for g in own]
    caption = ("Dense networks trained for as long as a pruned one, before and after its first cut.",)
    header = ("control", "epochs", f"{TOP1.name}, {TOP1.unit}")
    return TextTable("Dense controls", header, tuple(rows), caption, tuple(notes.lines()))


def arm_controls(found: Sequence[Group]) -> TextTable | None:
    """Top-1 of the shuffled and other sanity arms in a table of their own, where they are many; else None."""
    if not _folded(found, "sanity"):
        return None
    notes = formats.Footnotes()
    rows = _rows(found, [(method, "sanity") for method in arms(found, "sanity")], notes, TOP1)
    caption = (
        f"{TOP1.name} on the test split, in {TOP1.unit}, of what a method is worth without its choice of "
        "weights. Shuffled in each layer: random pruning with the method's own layer ratios.",
    )
    header = ("method", "epochs", *map(formats.percent, sparsities(found)))
    return TextTable("Shuffled and other sanity arms", header, rows, caption, tuple(notes.lines()))


def _folded(found: Sequence[Group], role: str) -> bool:
    return role in ("dense_extra", "sanity") and len(arms(found, role)) > FEW_CONTROLS


def _rows(
    found: Sequence[Group], wanted: Sequence[tuple[str, str]], notes: formats.Footnotes, metric: Metric
) -> tuple[tuple[str, ...], ...]:
    """A row for each method and role: its name, its epochs, and its cell at each sparsity."""
    n, columns, rows = usual_n(found), sparsities(found), []
    for method, role in wanted:
        own = {g.sparsity: g for g in found if (g.method, g.role) == (method, role)}
        of = [own.get(s) if role in AT_SPARSITY else next(iter(own.values())) for s in columns]
        cells = [formats.NOTHING if g is None else _cell(g, n, notes, metric) for g in of]
        rows.append((method, _epochs(list(own.values())), *cells))
    return tuple(rows)


def differences(found: Sequence[Group], reference: str) -> TextTable | None:
    """Paired differences to a reference in points, with verdicts; None where nothing can be compared."""
    columns = sparsities(found)
    rows = []
    for method in arms(found, "pruned"):
        own = {
            g.sparsity: g.against.get(reference) for g in found if (g.method, g.role) == (method, "pruned")
        }
        if any(own.values()):
            rows.append((method, *(_difference(own.get(s)) for s in columns)))
    if not rows:
        return None
    header = ("method", *map(formats.percent, columns))
    caption = difference_caption(found, reference)
    return TextTable(f"Difference to {named(reference)}", header, tuple(rows), caption, (), fixed=1)


def usual_n(found: Sequence[Group]) -> int | None:
    """The number of seeds behind most cells; None where no cell is done."""
    counts = [g.summary.n for g in found if g.summary is not None and g.sound]
    return max(sorted(set(counts), reverse=True), key=counts.count) if counts else None


def _cell(group: Group, n: int | None, notes: formats.Footnotes, metric: Metric) -> str:
    return formats.cell(group, usual_n=n, footnotes=notes, decimals=metric.decimals)


def _epochs(own: Sequence[Group]) -> str:
    found = [g.epochs for g in own if g.epochs is not None]
    if not found:
        return formats.NOTHING
    before, after = (formats.ranged(float(e[i]) for e in found) for i in (0, 1))
    return f"{before}+{after}"


def _difference(against: Against | None) -> str:
    if against is None:
        return formats.NOTHING
    found = against.difference.summary
    if found.half is None or against.verdict is None:
        return formats.signed(found.mean)
    return f"{formats.signed(found.mean)} ±{found.half:.{formats.DECIMALS}f} {against.verdict}"
