"""The table of what a pruned network ships as: milliseconds and bytes of each form that a study timed."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from prunery.report.results.groups import Group
from prunery.report.results.study import Loaded
from prunery.report.text import formats
from prunery.report.text.texttable import TextTable

Row = Mapping[str, Any]
_HEADER = ("method", "sparsity", "form", "ms", "times as fast", "bytes", "file")


def forms(study: Loaded) -> TextTable | None:
    """Return each timed form by method and sparsity, means over seeds; None where none was timed."""
    rows, said, clocks, missing = list[tuple[str, ...]](), list[str](), set[str](), set[str]()
    for group in study.groups:
        found = list(_measured(study, group, "forms"))
        for name in dict.fromkeys(str(row["form"]) for rows_ in found for row in rows_):
            same = [row for rows_ in found for row in rows_ if row["form"] == name]
            missing |= {f"{name}: {row['missing']}" for row in same if "missing" in row}
            timed = [row for row in same if "missing" not in row]
            clocks |= {str(row["clock"]) for row in timed}
            if timed:
                rows.append((group.method, formats.percent(group.sparsity), name, *_cells(timed)))
        for first in list(_measured(study, group, "forms_said"))[:1]:
            said.append(f"{formats.label(group)}: {first[0]['said']}")
    if not rows:
        return None
    notes = (*said, *(f"Not there: {reason}" for reason in sorted(missing)))
    return TextTable("Forms to ship", _HEADER, tuple(rows), _caption(clocks), notes, fixed=3)


def _measured(study: Loaded, group: Group, table: str) -> Iterator[Sequence[Row]]:
    """Yield the rows of each network of the group that has the table."""
    for run in group.runs:
        there = group.role == "pruned" and study.store.has(run.key)
        if there and (rows := study.store.record(run.key).tables.get(table)):
            yield rows


def _cells(rows: Sequence[Row]) -> tuple[str, ...]:
    mean = {name: statistics.fmean(row[name] for row in rows) for name in ("ms", "times", "bytes")}
    if len(rows) == 1:
        low, high = rows[0]["low"], rows[0]["high"]
    else:
        low, high = (pick(row["times"] for row in rows) for pick in (min, max))
    times = f"{mean['times']:.2f}" + ("" if low == high else f" ({low:.2f}-{high:.2f})")
    return f"{mean['ms']:.3g}", times, formats.thousands(round(mean["bytes"])), str(rows[0]["file"])


def _caption(clocks: set[str]) -> tuple[str, ...]:
    busy = "processor's time, for other work shared the machine" if "cpu" in clocks else "clock's time"
    return (
        "One image at a time. A form computes what the masked network does, within 1e-4 of the largest "
        "output. Times as fast: against the dense network in torch, by the "
        f"{busy}; in brackets the 95 % interval of one network, or the range over seeds.",
    )
