"""From a file to a header and lines of cells; what is no table is refused."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from prunery.errors import DataError

_SEPARATORS = ",;\t|"
_LARGEST = 64 << 20  # bytes


@dataclass(frozen=True)
class Raw:
    """A header, and each line's number with its cells (as many as the header has)."""

    name: str
    columns: tuple[str, ...]
    lines: tuple[tuple[int, tuple[str, ...]], ...]
    ragged: tuple[tuple[int, int], ...]  # (line, number of cells) of lines that were left out
    comma: bool  # decimals may be written with a comma


def load(path: Path) -> Raw:
    """The table in a file: comma, semicolon, tab or pipe separated, one header line."""
    text = _text(path)
    separator = _separator(text)
    records = list(_records(text, separator))
    if len(records) < 2 or len(records[0][1]) < 2:
        found = f"it has {len(records)} lines" if len(records) < 2 else "its first line is one cell"
        raise _refused(path, found)
    columns = _columns(records[0][1])
    whole = [(line, tuple(cells)) for line, cells in records[1:] if len(cells) == len(columns)]
    ragged = [(line, len(cells)) for line, cells in records[1:] if len(cells) != len(columns)]
    if len(ragged) > len(whole):
        raise _refused(path, f"{len(ragged)} of {len(records) - 1} lines are not as long as the first")
    return Raw(path.stem, columns, tuple(whole), tuple(ragged), separator != ",")


def _text(path: Path) -> str:
    if not path.is_file():
        raise DataError(f"table {path}", "there is no such file", "give the path of a CSV file")
    if path.stat().st_size > _LARGEST:
        raise _refused(path, f"it has {path.stat().st_size} bytes")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise _refused(path, "it is not text in UTF-8") from error
    if not text.strip() or "\0" in text:
        raise _refused(path, "it is empty" if not text.strip() else "it is not text")
    return text


def _refused(path: Path, found: str) -> DataError:
    return DataError(f"table {path}", found, "give a CSV file with a header line and at least one line below")


def _separator(text: str) -> str:
    """The separator of the first line that holds one; a comma where none does."""
    first = next(line for line in text.splitlines() if line.strip() and not line.startswith("#"))
    if first.lstrip().startswith("|"):
        return "|"
    return max(_SEPARATORS, key=first.count)


def _records(text: str, separator: str) -> Iterator[tuple[int, list[str]]]:
    """(line where the record begins, its cells); blank lines, comments and Markdown's rule are left out."""
    csv.field_size_limit(_LARGEST)
    reader, line = csv.reader(text.splitlines(keepends=True), delimiter=separator), 1
    for cells in reader:
        cells = [cell.strip() for cell in cells]
        if separator == "|" and len(cells) > 2 and cells[0] == cells[-1] == "":
            cells = cells[1:-1]
        rule = all(re.fullmatch(r":?-{2,}:?", cell) for cell in cells)
        if any(cells) and not cells[0].startswith("#") and not rule:
            yield line, cells
        line = reader.line_num + 1


def _columns(cells: list[str]) -> tuple[str, ...]:
    """The header's names, each once: a name that comes again gets its position."""
    named: list[str] = []
    for position, cell in enumerate(cells, 1):
        name = cell or f"column {position}"
        named.append(f"{name} (column {position})" if name in named else name)
    return tuple(named)
