"""The report's CSV: one row per cell, and one row per method and sparsity; everything as text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from prunery.report.results.cell_records import NOTE_BREAK
from prunery.report.results.columns import COLUMNS, TOP1, Column
from prunery.report.results.groups import ABSENT, BROKEN, REFERENCES, Against, Group, absent, groups_of
from prunery.report.results.published import Published
from prunery.report.text import formats
from prunery.report.text.published_tables import ACCURACIES
from prunery.stats import Summary

if TYPE_CHECKING:
    import pandas as pd


def summary_rows(
    frame: pd.DataFrame,
    groups: Sequence[Group],
    published: Sequence[Published] = (),
    columns: Sequence[Column] = COLUMNS,
) -> list[dict[str, str]]:
    """Return one row of text per method and sparsity: for CSV, with the same columns in each row."""
    task = frame.iloc[0]
    rows = []
    for group in groups:
        beside = [p for p in published if (p.method, p.sparsity) == (group.method, group.sparsity)]
        rows.append(_summary_row(task, group) | _published_columns(group, beside))
    for column in (c for c in columns if c.summary):
        for row, group in zip(rows, groups_of(frame, metric=column), strict=True):
            row |= _mean_columns(column.name, group.summary)
    return rows


def cell_rows(frame: pd.DataFrame, columns: Sequence[Column] = COLUMNS) -> list[dict[str, str]]:
    """Return one row of text per cell: for CSV."""
    hidden = {c.name for c in columns if not c.csv}
    rows = frame.to_dict("records")
    return [{str(k): _text(v) for k, v in row.items() if k not in hidden} for row in rows]


def csv_text(rows: Sequence[dict[str, str]]) -> str:
    """Return the rows as CSV with a header; the same rows always give the same bytes."""
    import csv
    import io

    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _unrun(value) for name, value in row.items()} for row in rows)
    return out.getvalue()


def _unrun(text: str) -> str:
    """Return the cell, behind an apostrophe where a spreadsheet would take a text for a formula."""
    if len(text) < 2 or text[0] not in "=+-@\t\r":
        return text
    try:
        float(text)
    except ValueError:
        return f"'{text}"
    return text


def _published_columns(group: Group, published: Sequence[Published]) -> dict[str, str]:
    """Return the published accuracies beside a group; several are separated as notes are."""
    accuracies = [p for p in published if p.metric in ACCURACIES and group.role in ("dense", "pruned")]
    same = [p for p in accuracies if p.metric == group.metric.name and group.sound]
    mean = group.summary.mean if group.summary else 0.0
    columns = {
        "published": [formats.plain(p.value) for p in accuracies],
        "published_metric": [p.metric.removeprefix("test_") for p in accuracies],
        "published_n": [str(p.n) for p in accuracies],
        "published_report": [p.report for p in accuracies],
        "published_note": [p.note for p in accuracies],
        "minus_published": [formats.plain(mean - p.value) for p in same],
    }
    return {name: NOTE_BREAK.join(values) for name, values in columns.items()}


def _summary_row(task: Any, group: Group) -> dict[str, str]:
    summary = group.summary
    achieved = group.first("sparsity_achieved")
    row = {name: str(task[name]) for name in ("study", "model", "data")}
    row |= {"method": group.method, "role": group.role, "sparsity_requested": formats.plain(group.sparsity)}
    row |= {"sparsity_achieved": formats.plain(achieved, 8)}
    row |= {"metric": TOP1.name.removeprefix("test_"), "k": "1", "split": "test", "unit": TOP1.unit}
    row |= {"chance": formats.plain(group.first("chance_top1"))}
    row |= {"n": str(summary.n if summary else 0)}
    row |= {name: formats.plain(getattr(summary, field, None)) for name, field in _STATISTICS.items()}
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
    verdicts = {"_verdict": (against.verdict if against else None) or ""}
    columns = _mean_columns(f"to_{reference}", difference.summary if difference else None)
    return columns | {f"to_{reference}{suffix}": value for suffix, value in verdicts.items()}


def _mean_columns(name: str, summary: Summary | None) -> dict[str, str]:
    """Return a mean and its interval under that name."""
    columns = {
        "": formats.plain(summary.mean if summary else None),
        "_n": str(summary.n) if summary else "",
        "_low": formats.plain(summary.low if summary else None),
        "_high": formats.plain(summary.high if summary else None),
    }
    return {f"{name}{suffix}": value for suffix, value in columns.items()}


def _text(value: Any) -> str:
    if absent(value):
        return ""
    if isinstance(value, bool | str | int):
        return str(value)
    return formats.plain(float(value), 8)
