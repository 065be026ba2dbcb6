"""The tables of a study: methods down, sparsities across, dense on top, costs beside.

A `TextTable` holds finished text, and the terminal and Markdown print the same one, so they cannot differ.
CSV comes twice: one row per cell, and one row per method and sparsity.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from prunery.report import text
from prunery.report.captions import accuracy_caption, difference_caption, named, task
from prunery.report.compare import ABSENT, BROKEN, REFERENCES, Against, Group, absent, arms, sparsities

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table

ROLES = ("dense", "dense_extra", "pruned")
NOTHING = "-"
_WIDEST_CELL, _WIDEST_NAME = 12, 26


@dataclass(frozen=True)
class TextTable:
    """A finished table: `fixed` leading columns, then one per sparsity."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: tuple[str, ...]
    footnotes: tuple[str, ...]
    fixed: int = 2


def accuracy(frame: pd.DataFrame, found: Sequence[Group]) -> TextTable:
    """Test top-1 accuracy in % over seeds: methods x sparsities, with the epochs before and after the cut."""
    notes, n = text.Footnotes(), usual_n(found)
    columns = sparsities(found)
    rows = []
    for role in ROLES:
        for method in arms(found, role):
            own = {g.sparsity: g for g in found if (g.method, g.role) == (method, role)}
            of = [own.get(s) if role == "pruned" else next(iter(own.values())) for s in columns]
            cells = [NOTHING if g is None else text.cell(g, usual_n=n, footnotes=notes) for g in of]
            rows.append((method, _epochs(list(own.values())), *cells))
    header = ("method", "epochs", *map(text.percent, columns))
    caption = accuracy_caption(frame, found, n)
    return TextTable(
        f"{frame['study'].iloc[0]}: {task(frame)}", header, tuple(rows), caption, tuple(notes.lines())
    )


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
    header = ("method", *map(text.percent, columns))
    caption = difference_caption(found, reference)
    return TextTable(f"Difference to {named(reference)}", header, tuple(rows), caption, (), fixed=1)


def costs(found: Sequence[Group]) -> TextTable:
    """What it takes to reach one cell from the initial weights, as a range over sparsities and seeds."""
    columns: dict[str, Callable[[float], float]] = {
        "epochs_before": float,
        "epochs_after": float,
        "samples": lambda v: v / 1e6,
        "training_macs": lambda v: v / 1e9,
        "scoring_macs": lambda v: v / 1e9,
        "seconds": lambda v: float(f"{v:.3g}"),
    }
    header = ("method", "epochs before", "after", "M samples", "training GMACs", "scoring GMACs", "seconds")
    rows = []
    for role in ROLES:
        for method in arms(found, role):
            runs = [r.row for g in found if (g.method, g.role) == (method, role) for r in g.runs]
            cells = [
                text.ranged(scale(float(row[c])) for row in runs if row.get(c) is not None)
                for c, scale in columns.items()
            ]
            rows.append((method, *cells))
    caption = ("What one cell costs from its initial weights on; work that cells share counts in each.",)
    return TextTable("Cost", header, tuple(rows), caption, (), fixed=len(header))


def usual_n(found: Sequence[Group]) -> int | None:
    """The number of seeds behind most cells; None where no cell is done."""
    counts = [g.summary.n for g in found if g.summary is not None and g.sound]
    return max(sorted(set(counts), reverse=True), key=counts.count) if counts else None


def markdown(table: TextTable) -> str:
    """The table in Markdown, its caption above and its footnotes below."""
    lines = ["| " + " | ".join(row) + " |" for row in (table.header, *table.rows)]
    lines.insert(1, "|---|" + "--:|" * (len(table.header) - 1))
    parts = [f"## {table.title}", " ".join(table.caption), "\n".join(lines)]
    if table.footnotes:
        parts.append("  \n".join(table.footnotes))
    return "\n\n".join(parts) + "\n"


def terminal(table: TextTable, *, width: int = 100) -> list[Table]:
    """The table for a terminal: as many pieces, side columns repeated, as fit into `width`."""
    lead = list(range(table.fixed))
    rest = list(range(table.fixed, len(table.header)))
    room = width - sum(_width(table, c) + 2 for c in lead)
    pieces: list[list[int]] = [[]]
    for column in rest:
        used = sum(_width(table, c) + 2 for c in pieces[-1])
        if pieces[-1] and used + _width(table, column) + 2 > room:
            pieces.append([])
        pieces[-1].append(column)
    return [_piece(table, lead + piece, first=i == 0) for i, piece in enumerate(pieces)]


def summary_rows(frame: pd.DataFrame, found: Sequence[Group]) -> list[dict[str, str]]:
    """One row of text per method and sparsity: for CSV, with the same columns in each row."""
    task = frame.iloc[0]
    return [_summary_row(task, group) for group in found]


def cell_rows(frame: pd.DataFrame) -> list[dict[str, str]]:
    """One row of text per cell: for CSV."""
    return [{str(k): _text(v) for k, v in row.items()} for row in frame.to_dict("records")]


def csv_text(rows: Sequence[dict[str, str]]) -> str:
    """The rows as CSV with a header; the same rows always give the same bytes."""
    import csv
    import io

    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def _epochs(own: Sequence[Group]) -> str:
    found = [g.epochs for g in own if g.epochs is not None]
    if not found:
        return NOTHING
    before, after = (text.ranged(float(e[i]) for e in found) for i in (0, 1))
    return f"{before}+{after}"


def _difference(against: Against | None) -> str:
    if against is None:
        return NOTHING
    found = against.difference.summary
    if found.half is None or against.verdict is None:
        return text.signed(found.mean)
    return f"{text.signed(found.mean)} ±{found.half:.{text.DECIMALS}f} {against.verdict}"


def _width(table: TextTable, column: int) -> int:
    """The width that a column takes: that of its longest cell, longer ones are broken at blanks."""
    limit = _WIDEST_NAME if column == 0 else _WIDEST_CELL
    longest = max(len(row[column]) for row in (table.header, *table.rows))
    word = max(len(word) for row in (table.header, *table.rows) for word in row[column].split() or [""])
    return max(min(longest, limit), min(word, _WIDEST_NAME))


def _piece(table: TextTable, columns: Sequence[int], *, first: bool) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    piece = Table(title=table.title if first else None, box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    for c in columns:
        piece.add_column(table.header[c], justify="left" if c == 0 else "right", width=_width(table, c))
    for row in table.rows:
        piece.add_row(*(Text(row[c]) for c in columns))
    return piece


def _summary_row(task: Any, group: Group) -> dict[str, str]:
    found = group.summary
    achieved = group.first("sparsity_achieved")
    row = {name: str(task[name]) for name in ("study", "model", "data")}
    row |= {"method": group.method, "role": group.role, "sparsity_requested": text.plain(group.sparsity)}
    row |= {"sparsity_achieved": text.plain(achieved, 8)}
    row |= {"metric": "top1", "k": "1", "split": "test", "unit": "%"}
    row |= {"chance": text.plain(group.first("chance_top1"))}
    row |= {"n": str(found.n if found else 0)}
    row |= {name: text.plain(getattr(found, of, None)) for name, of in _STATISTICS.items()}
    row |= {status: str(len(group.having(status))) for status in (*BROKEN, *ABSENT)}
    for reference in REFERENCES:
        row |= _against_columns(reference, group.against.get(reference))
    before, after = group.epochs or ("", "")
    row |= {"epochs_before": str(before), "epochs_after": str(after)}
    notes = dict.fromkeys(note for r in group.runs for note in r.notes)
    return row | {"notes": " | ".join(notes), "keys": " ".join(r.key for r in group.runs)}


_STATISTICS = {"mean": "mean", "sd": "sd", "half_width": "half", "low": "low", "high": "high"}


def _against_columns(reference: str, against: Against | None) -> dict[str, str]:
    difference = against.difference if against else None
    found = difference.summary if difference else None
    columns = {
        "": text.plain(found.mean if found else None),
        "_n": str(found.n) if found else "",
        "_low": text.plain(found.low if found else None),
        "_high": text.plain(found.high if found else None),
        "_p": _p_text(difference.p if difference else None),
        "_p_holm": _p_text(against.p_holm if against else None),
        "_verdict": (against.verdict if against else None) or "",
    }
    return {f"to_{reference}{suffix}": value for suffix, value in columns.items()}


def _p_text(p: float | None) -> str:
    return "" if p is None else f"{p:.4g}"


def _text(value: Any) -> str:
    if absent(value):
        return ""
    if isinstance(value, bool | str | int):
        return str(value)
    return text.plain(float(value), 8)
