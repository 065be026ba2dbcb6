"""From a file to a header and lines of cells; what is no table is refused."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from prunery.audit.table import roles
from prunery.errors import DataError

_SEPARATORS = ",;\t|"
# numbers that can be written with one decimal sign only: 93,5 and 1.234.567; 93.5 and 1,234,567
_COMMA = re.compile(r"\d+,(\d\d?|\d{4,})|0,\d+|\d{1,3}(\.\d{3}){2,}|\d{1,3}(\.\d{3})+,\d+")
_POINT = re.compile(r"\d+\.(\d\d?|\d{4,})|0\.\d+|\d{1,3}(,\d{3}){2,}|\d{1,3}(,\d{3})+\.\d+")
_DECLARED = re.compile(r'"?sep=.\"?', re.IGNORECASE)  # what Excel writes above a table
_LINK = re.compile(r"!?\[([^\[\]]*)\]\([^()\s]*\)")
_PAIR = re.compile(r"\s*(\d+(?:\.\d+)?\s*%?)\s*/\s*(\d+(?:\.\d+)?\s*%?)\s*")
_RULE = re.compile(r"\|(?:\s*:?-+:?\s*\|)+")  # below the header of a Markdown table
_LARGEST = 64 << 20  # bytes
_LONGEST = 500  # characters of a cell that are read: no name or number is longer
_MOST = 10_000  # columns


@dataclass(frozen=True)
class Raw:
    """A header, and each line's number with its cells (as many as the header has)."""

    name: str
    columns: tuple[str, ...]
    lines: tuple[tuple[int, tuple[str, ...]], ...]
    ragged: tuple[tuple[int, int], ...]  # (line, number of cells) of lines that were left out
    commas: frozenset[str]  # columns whose decimals are written with a comma


def load(path: Path) -> Raw:
    """Return the table in a file with commas, semicolons, tabs or pipes, or the first table in Markdown."""
    text = _first_table(_text(path))
    separator = _separator(text)
    records = _untitled(list(_records(text, separator)))
    if len(records) < 2 or len(records[0][1]) < 2:
        problem = f"it has {len(records)} lines" if len(records) < 2 else "its first line is one cell"
        raise _refused(path, problem)
    if len(records[0][1]) > _MOST:
        raise _refused(path, f"it has {len(records[0][1])} columns, more than {_MOST}")
    columns = _columns(records[0][1])
    whole = [(line, tuple(cells)) for line, cells in records[1:] if len(cells) == len(columns)]
    ragged = [(line, len(cells)) for line, cells in records[1:] if len(cells) != len(columns)]
    if len(ragged) > len(whole):
        raise _refused(path, f"{len(ragged)} of {len(records) - 1} lines are not as long as the first")
    columns, rows = _pairs(columns, [cells for _, cells in whole])
    lines = tuple((line, cells) for (line, _), cells in zip(whole, rows, strict=True))
    return Raw(path.stem, columns, lines, tuple(ragged), _commas(columns, rows))


def _text(path: Path) -> str:
    if path.is_dir():
        raise DataError(f"table {path}", "it is a directory", "give the path of a CSV file in it")
    if not path.is_file():
        raise DataError(f"table {path}", "there is no such file", "give the path of a CSV file")
    if path.stat().st_size > _LARGEST:
        raise _refused(path, f"it has {path.stat().st_size} bytes")
    text = _decoded(path.read_bytes())
    if text is None:
        raise _refused(path, "it is not text in UTF-8, UTF-16 or Latin-1")
    if not text.strip() or "\0" in text:
        raise _refused(path, "it is empty" if not text.strip() else "it is not text")
    return text


def _decoded(data: bytes) -> str | None:
    """Text in UTF-8, UTF-16 or Latin-1; None if it has control characters, which no text has."""
    is_utf16 = data.startswith((b"\xff\xfe", b"\xfe\xff"))
    try:
        return data.decode("utf-16" if is_utf16 else "utf-8-sig")
    except UnicodeDecodeError:
        text = "\0" if is_utf16 else data.decode("latin-1")
        return None if re.search("[\x00-\x08\x0e-\x1f\x7f-\x9f]", text.replace("\x96", "-")) else text


def _refused(path: Path, problem: str) -> DataError:
    return DataError(
        f"table {path}", problem, "give a CSV file with a header line and at least one line below"
    )


def _first_table(text: str) -> str:
    """Return a Markdown text with only its first table, on its lines; any other text as it is."""
    lines = text.splitlines()
    rules = (i for i, line in enumerate(lines) if i and _RULE.fullmatch(line.strip()))
    start = next((i - 1 for i in rules if lines[i - 1].lstrip().startswith("|")), None)
    if start is None:
        return text
    end = next((i for i in range(start, len(lines)) if not lines[i].lstrip().startswith("|")), len(lines))
    return "\n".join(line if start <= i < end else "" for i, line in enumerate(lines))


def _separator(text: str) -> str:
    """Return the separator of the first line that holds one; a comma where none does."""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    lines = [line for line in lines if not _DECLARED.fullmatch(line)] or lines
    first = next((line for line in lines if any(s in line for s in _SEPARATORS)), lines[0])
    if first.lstrip().startswith("|"):
        return "|"
    return max(_SEPARATORS, key=first.count)


def _records(text: str, separator: str) -> Iterator[tuple[int, list[str]]]:
    """(line where the record begins, its cells); blank lines, comments and Markdown's rule are left out."""
    csv.field_size_limit(_LARGEST)
    reader, line = csv.reader(text.splitlines(keepends=True), delimiter=separator), 1
    for cells in reader:
        cells = [cell if len(cell) <= _LONGEST else f"{cell[:_LONGEST]}…" for cell in cells]
        cells = [_LINK.sub(r"\1", cell).strip() if "](" in cell else cell.strip() for cell in cells]
        if separator == "|" and len(cells) > 2 and cells[0] == cells[-1] == "":
            cells = cells[1:-1]
        rule = all(re.fullmatch(r":?-+:?", cell) for cell in cells)
        if any(cells) and not cells[0].startswith("#") and not rule:
            yield line, cells
        line = reader.line_num + 1


def _untitled(records: list[tuple[int, list[str]]]) -> list[tuple[int, list[str]]]:
    """Return the records without a declared separator and title: first lines with one cell."""
    while len(records) > 2 and sum(map(bool, records[0][1])) == 1 and len(records[1][1]) > 1:
        records = records[1:]
    return records


def _pairs(
    columns: tuple[str, ...], rows: list[tuple[str, ...]]
) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Return the table with pairs like 67.7/78.5 in two columns if the header names both, else the first."""
    named: list[str] = []
    cut: list[tuple[int, int]] = []
    for i, column in enumerate(columns):
        texts = [row[i] for row in rows if row[i]]
        pairs = [pair for text in texts if (pair := _PAIR.fullmatch(text))]
        if not pairs or 2 * len(pairs) < len(texts) or not any("." in p[0] for p in pairs):
            named, cut = [*named, column], [*cut, (i, 0)]
            continue
        halves = re.search(r"([^\s/]+)\s*/\s*([^\s/]+)", column)
        names = (
            [column[: halves.start()] + halves[k] + column[halves.end() :] for k in (1, 2)]
            if halves
            else [column]
        )
        named, cut = [*named, *names], [*cut, *((i, k) for k in range(1, len(names) + 1))]
    return _columns(named), [tuple(_part(row[i], k) for i, k in cut) for row in rows]


def _part(text: str, which: int) -> str:
    pair = _PAIR.fullmatch(text) if which else None
    return pair[which] if pair else text


def _commas(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> frozenset[str]:
    """Return the columns with decimal commas: all or none, by what most numbers show.

    Three digits after a single comma are thousands, but in a column of accuracies.
    """
    votes = 0
    for cell in (cell for row in rows for cell in row if "," in cell or "." in cell):
        if not re.search("[A-Za-z]{2}", cell):
            for number in re.findall(r"\d[\d.,]*\d", cell):
                votes += (_COMMA.fullmatch(number) is not None) - (_POINT.fullmatch(number) is not None)
    if votes > 0:
        return frozenset(columns)
    return frozenset(c for i, c in enumerate(columns) if _shares(c, [row[i] for row in rows if row[i]]))


def _shares(column: str, texts: Sequence[str]) -> bool:
    """Return whether a column of accuracies prints each of them like 93,413."""
    measured = roles.metric(column)
    if measured is None or measured.kind != "accuracy":
        return False
    return bool(texts) and all(re.fullmatch(r"\d\d?,\d{3}\s*%?", text) for text in texts)


def _columns(cells: list[str]) -> tuple[str, ...]:
    """Return the header's names, each once: a name that comes again gets its position."""
    named: dict[str, None] = {}
    for position, cell in enumerate(cells, 1):
        name = cell or f"column {position}"
        named[f"{name} (column {position})" if name in named else name] = None
    return tuple(named)
