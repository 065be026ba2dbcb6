"""Findings, the table of checks, and how a finding names the rows it speaks of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from prunery.audit.table.sheet import Entry, Row
from prunery.registry import Registry

CHECKS = Registry("check")  # (sheet) -> findings; fact `says`: what is found, in one line
_SHOWN = 6


@dataclass(frozen=True)
class Finding:
    """One thing that is odd: which check, which lines of the file, which column, and why."""

    check: str
    lines: tuple[int, ...]
    column: str
    where: str
    message: str
    file: str = "table"  # or "claims"

    def __str__(self) -> str:
        """Return the finding as one line of text."""
        file = "claims " if self.file == "claims" else ""
        column = f", {self.column}" if self.column else ""
        where = f" [{self.where}]" if self.where else ""
        return f"{file}{listed_lines(self.lines)}{column}{where}: {self.message} ({self.check})"

    def plain(self) -> dict[str, Any]:
        """Return the finding as plain data for JSON."""
        return {**asdict(self), "lines": list(self.lines)}


def listed_lines(lines: Sequence[int]) -> str:
    """Return the lines as text: `line 3`, or `lines 3-5, 9`."""
    runs: list[list[int]] = []
    for line in sorted(set(lines)):
        if runs and line == runs[-1][1] + 1:
            runs[-1][1] = line
        else:
            runs.append([line, line])
    texts = [f"{a}" if a == b else f"{a}-{b}" for a, b in runs]
    more = f" and {len(texts) - 2 * _SHOWN} more" if len(texts) > 2 * _SHOWN else ""
    single = len(runs) == 1 and runs[0][0] == runs[0][1]
    return ("line " if single else "lines ") + ", ".join(texts[: 2 * _SHOWN]) + more


def finding(check: str, entries: Sequence[Entry], message: str) -> Finding:
    """Return a finding about these entries, placed by what they share."""
    columns = dict.fromkeys(e.column for e in entries)
    return Finding(
        check, tuple(dict.fromkeys(e.line for e in entries)), ", ".join(columns), shared(entries), message
    )


def in_row(check: str, row: Row, columns: Sequence[str], message: str) -> Finding:
    """Return a finding about cells of one row."""
    levels = [f"sparsity {percent(s)}" for s in list(row.stated.values())[:1]]
    return Finding(check, (row.line,), ", ".join(columns), ", ".join([*_labels(row), *levels]), message)


def shared(entries: Sequence[Entry]) -> str:
    """Return the identifying cells that all of the entries have."""
    named = [_named(e) for e in entries]
    return ", ".join(text for text in (named[0] if named else []) if all(text in n for n in named[1:]))


def _named(entry: Entry) -> list[str]:
    texts = _labels(entry.row)
    texts += [entry.method] if entry.method and entry.method not in texts else []
    if entry.sparsity is not None:
        texts.append(f"sparsity {percent(entry.sparsity)}")
    if entry.seed is not None and not entry.of_seeds:
        texts.append(f"seed {entry.seed}")
    return list(dict.fromkeys(t for t in texts if t))


def _labels(row: Row) -> list[str]:
    texts = [row.report, f"table {row.table}" if row.table else ""]
    texts += [t for c, t in row.labels.items() if t != "-" and len(t) < 60 and c not in row.everywhere]
    return [t for t in texts if t]


def percent(sparsity: float) -> str:
    """Return a sparsity as text, in %."""
    return f"{round(100 * sparsity, 4):g} %"


def several(texts: Iterable[str]) -> str:
    """Return the first texts, and how many more."""
    unique = list(dict.fromkeys(texts))
    return ", ".join(unique[:_SHOWN]) + (f" and {len(unique) - _SHOWN} more" if len(unique) > _SHOWN else "")
