"""The tables of the page: those of `report.tables`, with the group behind each cell, and a few more."""

from __future__ import annotations

import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from prunery.report.page.contents import Study
from prunery.report.results.columns import NAMED, recorded
from prunery.report.results.groups import (
    ABSENT,
    AT_SPARSITY,
    BROKEN,
    REFERENCES,
    Group,
    groups_of,
    sparsities,
)
from prunery.report.text import formats, published_tables, tables
from prunery.report.text.texttable import TextTable


@dataclass(frozen=True)
class Shown:
    """A table for the page; `links` has the group behind each cell, or None, in the shape of `rows`."""

    id: str
    table: TextTable
    links: tuple[tuple[int | None, ...], ...]

    @property
    def cells(self) -> list[list[tuple[str, int | None]]]:
        """Return the rows as pairs of a text and the group behind it."""
        pairs = zip(self.table.rows, self.links, strict=True)
        return [list(zip(row, links, strict=True)) for row, links in pairs]


def accuracy(study: Study) -> Shown:
    """Return the accuracy table: top-1 on the test split."""
    table = tables.accuracy(study.frame, study.groups)
    return _linked(study, "accuracy", table, tables.lines(study.groups))


def controls(study: Study) -> list[Shown]:
    """Return tables of the controls that are too many for the accuracy table."""
    made = []
    if (table := tables.dense_controls(study.groups)) is not None:
        places = [study.index(row[0], "dense_extra") for row in table.rows]
        made.append(Shown("controls", table, tuple((None, None, place) for place in places)))
    if (table := tables.arm_controls(study.groups)) is not None:
        made.append(_linked(study, "arms", table, [(row[0], "sanity") for row in table.rows]))
    return made


def others(study: Study) -> list[Shown]:
    """Return a table for each other metric that was measured, none of them in one with top-1."""
    made = []
    for metric in recorded(study.frame, study.columns) if study.groups else ():
        table = tables.accuracy(study.frame, groups_of(study.frame, metric=metric), metric=metric)
        lines = tables.lines(study.groups, folded=False)
        made.append(_linked(study, re.sub(r"[\W_]+", "-", metric.name), table, lines))
    return made


def differences(study: Study) -> list[Shown]:
    """Return a table of paired differences for each reference that something can be compared with."""
    made = []
    for reference in REFERENCES:
        table = tables.differences(study.groups, reference)
        if table is not None:
            lines = [(row[0], "pruned") for row in table.rows]
            made.append(_linked(study, f"to-{reference.replace('_', '-')}", table, lines))
    return made


def costs(study: Study) -> Shown:
    """Return what one cell costs."""
    return _plain("costs", tables.costs(study.groups, study.columns))


def sizes(study: Study) -> Shown | None:
    """Return weights and MACs that are left, per method and sparsity; None where nothing was measured."""
    rows, links = [], []
    for place, group in enumerate(study.groups):
        counts = {c: _mean(group, c) for c in _SIZES}
        if counts["macs_dense"] is not None and group.role != "dense_extra":
            rows.append((group.method, formats.percent(group.sparsity), *_counts(counts)))
            links.append((None, None, *[place] * 6))
    if not rows:
        return None
    header = (
        "method",
        "sparsity",
        *(NAMED[f"macs_{kind}"].head for kind in ("kept", "effective")),
        "effective, % of dense",
        *(NAMED[f"params_{kind}"].head for kind in ("kept", "effective")),
        "effective, % of dense weights",
    )
    caption = (
        "Means over the seeds that were measured, collapsed ones included. MACs: multiply-accumulates per "
        "example in prunable layers. Kept: of the weights that the masks keep. Effective: of those that some "
        "live path from input to output uses.",
    )
    table = TextTable("Size: weights and MACs", header, tuple(rows), caption, (), fixed=2)
    return Shown("sizes", table, tuple(links))


def retraining(study: Study) -> Shown | None:
    """Return accuracy before and after retraining; None where the frame does not have it."""
    splits = [s for s in ("test", "train") if study.has(f"before_{s}_top1")]
    if not splits:
        return None
    columns = [c for s in splits for c in (f"before_{s}_top1", f"{s}_top1")]
    by_column = {c: groups_of(study.frame, metric=NAMED[c]) for c in columns}
    rows, links, notes = [], [], formats.Footnotes()
    n = tables.usual_n(study.groups)
    for place, group in enumerate(study.groups):
        cells = [by_column[c][place] for c in columns]
        if group.role == "pruned" and any(g.values for g in cells):
            values = [formats.cell(g, usual_n=n, footnotes=notes) for g in cells]
            rows.append((group.method, formats.percent(group.sparsity), *values))
            links.append((None, None, *[place] * len(columns)))
    header = ("method", "sparsity", *(f"{w}, {s}" for s in splits for w in ("before", "after")))
    caption = (
        "Top-1 accuracy (k = 1) in %, of the network as the last cut left it and after its retraining, over "
        "the seeds that are done. Cells of which no seed is done are left out: the caveats name them.",
    )
    title, lines = "Before and after retraining", tuple(notes.lines())
    table = TextTable(title, header, tuple(rows), caption, lines, fixed=2)
    return Shown("retraining", table, tuple(links)) if rows else None


def problems(study: Study) -> Shown | None:
    """Return every cell that ended badly or has a note, with its reason and its key; None without any."""
    rows, links = [], []
    for place, group in enumerate(study.groups):
        for status in ("done", *BROKEN, *ABSENT):
            for run in group.having(status):
                if status != "done" or run.notes:
                    at = formats.percent(group.sparsity) if group.role in AT_SPARSITY else formats.NOTHING
                    reason = "; ".join(run.notes) or "no reason was recorded"
                    rows.append((group.method, at, str(run.seed), status, reason, run.key))
                    links.append((None, None, None, place, None, None))
    if not rows:
        return None
    header = ("method", "sparsity", "seed", "status", "reason", "measure step")
    caption = ("Only cells with the status done enter a mean.",)
    return Shown("problems", TextTable("By name", header, tuple(rows), caption, (), fixed=6), tuple(links))


def published(study: Study) -> list[Shown]:
    """Return published values beside ours, a table for each metric that was really published."""
    pairs = study.pairs()
    metrics = [m for m in published_tables.KINDS if any(p.published.metric == m for p in pairs)]
    made = []
    for metric, table in zip(metrics, published_tables.tables(pairs), strict=True):
        beside = [p.group for p in pairs if p.published.metric == metric]
        places = [study.index(g.method, g.role, g.sparsity) for g in beside]
        links = tuple((None, None, place, *[None] * (len(table.header) - 3)) for place in places)
        made.append(Shown(f"published-{metric.replace('_', '-')}", table, links))
    return made


_SIZES = ("macs_dense", "macs_kept", "macs_effective", "params_dense", "params_kept", "params_effective")


def _counts(counts: Mapping[str, float | None]) -> list[str]:
    texts = []
    for what in ("macs", "params"):
        dense, kept, used = (counts[f"{what}_{kind}"] for kind in ("dense", "kept", "effective"))
        texts += [formats.NOTHING if v is None else formats.thousands(v) for v in (kept, used)]
        texts.append(formats.plain(100 * used / dense, 3) if dense and used is not None else formats.NOTHING)
    return texts


def _mean(group: Group, column: str) -> float | None:
    values = [r.row.get(column) for r in group.runs]
    numbers = [float(v) for v in values if v is not None]
    return statistics.fmean(numbers) if numbers else None


def _plain(name: str, table: TextTable) -> Shown:
    return Shown(name, table, tuple((None,) * len(row) for row in table.rows))


def _linked(study: Study, name: str, table: TextTable, lines: Sequence[tuple[str, str]]) -> Shown:
    """Return the table with the group behind each cell of its columns of sparsities."""
    columns = sparsities(study.groups)
    links = []
    for method, role in lines:
        behind = [study.index(method, role, s if role in AT_SPARSITY else None) for s in columns]
        links.append((*[None] * table.fixed, *behind))
    return Shown(name, table, tuple(links))
