"""A table of finished text, for Markdown and the terminal.

Every format prints the same `TextTable`, so they cannot differ.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prunery.inert import inert

if TYPE_CHECKING:
    from rich.table import Table

_HTML = re.compile(r"<(?=[A-Za-z/!?])|&(?=#?\w+;)")
_WRITTEN = {"<": "&lt;", "&": "&amp;"}
ROLES = ("dense", "dense_extra", "pruned", "sanity")
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


def markdown(table: TextTable) -> str:
    """Return the table in Markdown, its caption above and its footnotes below."""
    rows = [[shown(cell).replace("|", "\\|") for cell in row] for row in (table.header, *table.rows)]
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    lines.insert(1, "|---|" + "--:|" * (len(table.header) - 1))
    parts = [f"## {shown(table.title)}", shown(" ".join(table.caption)), "\n".join(lines)]
    if table.footnotes:
        parts.append("  \n".join(map(shown, table.footnotes)))
    return "\n\n".join(parts) + "\n"


def shown(text: str) -> str:
    """Return a line of Markdown in which nothing is HTML, a line end, or obeyed by a terminal."""
    return _HTML.sub(lambda found: _WRITTEN[found[0]], inert(" ".join(text.split("\n"))))


def terminal(table: TextTable, *, width: int = 100) -> list[Table]:
    """Return the table for a terminal: as many pieces, side columns repeated, as fit into `width`."""
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


def _width(table: TextTable, column: int) -> int:
    """Return the width that a column takes: that of its longest cell, longer ones are broken at blanks."""
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
