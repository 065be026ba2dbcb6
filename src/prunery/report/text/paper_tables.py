"""The tables that a course report or a paper needs, each with one caption: as Markdown, LaTeX and CSV."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from prunery.report.results.columns import TOP1, recorded
from prunery.report.results.groups import Group, arms, measured
from prunery.report.results.study import Loaded
from prunery.report.text import csv_rows, effects, formats, latex, layers, measured_tables, tables
from prunery.report.text.forms import forms
from prunery.report.text.texttable import TextTable, markdown

if TYPE_CHECKING:
    from prunery.lab.plan import Cell

_TIMES = {"training": ("train", "recover"), "scoring and pruning": ("prune",), "inference": ("measure",)}


def files(study: Loaded) -> dict[str, bytes]:
    """Return paper.md and paper.tex with all tables, and a CSV for each."""
    made = paper_tables(study)
    texts = {
        "paper.md": "\n".join(markdown(table) for table in made.values())[1:],
        "paper.tex": latex.document(list(made.values())),
    }
    texts |= {f"{name}.csv": _csv(table) for name, table in made.items()}
    return {name: text.encode() for name, text in texts.items()}


def paper_tables(study: Loaded) -> dict[str, TextTable]:
    """Return the tables by the name of their file, without those that have no row."""
    made = {"accuracy": tables.accuracy(study.frame, study.groups)}
    for metric in recorded(study.frame, study.columns):
        if metric.split == "test" and metric != TOP1:
            groups = study.groups_by(metric)
            made[metric.name.removeprefix("test_")] = tables.accuracy(study.frame, groups, metric=metric)
    found = {
        "effects": effects.table(study.effects),
        "dense_difference": tables.differences(study.groups, "dense"),
        "sizes": measured_tables.sizes(study),
        "bytes": measured_tables.bytes_of_forms(study),
        "layers": per_layer(study),
        "cuts": cuts(study),
        "retraining": measured_tables.retraining(study, ("test", "validation", "train")),
        "times": times(study),
        "forms": forms(study),
    }
    return made | {name: table for name, table in found.items() if table is not None and table.rows}


def per_layer(study: Loaded) -> TextTable | None:
    """Return what is left of each layer's weights, and its MACs and FLOPs, by method and sparsity."""
    pruned = [group for group in study.groups if group.role == "pruned"]
    rows = []
    for row in layers.rows(pruned, study.store):
        at = formats.percent(float(row["sparsity_requested"]))
        left = formats.percent(1 - float(row["density"])) if row["density"] else formats.NOTHING
        macs = float(row["macs_kept"])
        counts = [formats.thousands(float(row["params_kept"])), left]
        rows.append((row["method"], at, row["layer"], *counts, *map(formats.thousands, (macs, 2 * macs))))
    header = ("method", "sparsity", "layer", "weights kept", "sparsity of it", "MACs kept", "FLOPs kept")
    caption = ("Each layer after pruning: means over the measured seeds; MACs and FLOPs per example.",)
    return (
        TextTable("Sparsity and MACs per layer", header, tuple(rows), caption, (), fixed=7) if rows else None
    )


def cuts(study: Loaded) -> TextTable | None:
    """Return every cut of chains of cuts, with what its retraining reached; None without a chain."""
    rows = []
    for method in arms(study.groups, "pruned"):
        cells = [c for c in study.plan.cells if (c.method, c.role) == (method, "pruned")]
        longest = max((cell.sparsity for cell in cells), default=0.0)
        chains = [list(_cuts(study, cell)) for cell in cells if cell.sparsity == longest]
        if chains and len(chains[0]) > 1:
            rows += [_cut_row(method, i, [c[i] for c in chains if i < len(c)]) for i in range(len(chains[0]))]
    header = ("method", "cut", "sparsity", "weights kept", "epochs", "train top-1, %", "validation top-1, %")
    caption = (
        "Each cut on the way to the highest sparsity, and what the retraining after it reached; means.",
    )
    return TextTable("Every cut", header, tuple(rows), caption, (), fixed=7) if rows else None


def _cuts(study: Loaded, cell: Cell) -> Iterator[dict[str, float]]:
    """Return the numbers of each cut of a cell: sparsity, kept, epochs, accuracies after it."""
    found: dict[str, float] = {}
    for key in cell.path:
        record = study.store.record(key) if study.store.has(key) else None
        if record is None:
            continue
        if record.kind == "prune":
            if found:
                yield found
            names = {"sparsity": "sparsity_achieved", "kept": "kept"}
            numbers = {name: record.number(column) for name, column in names.items()}
            found = {
                name: number.value for name, number in numbers.items() if number and number.value is not None
            }
        if found and (epochs := record.tables.get("epochs")):
            found |= {"epochs": float(len(epochs)), **_reached(epochs[-1])}
    if found:
        yield found


def _reached(row: Mapping[str, Any]) -> dict[str, float]:
    counts = {
        split: (row.get(f"{split}_correct"), row.get(f"{split}_total")) for split in ("train", "validation")
    }
    return {
        split: 100 * right / total for split, (right, total) in counts.items() if total and right is not None
    }


def _cut_row(method: str, place: int, found: list[dict[str, float]]) -> tuple[str, ...]:
    def mean(name: str) -> float | None:
        values = [each[name] for each in found if name in each]
        return statistics.fmean(values) if values else None

    sparsity, kept = mean("sparsity"), mean("kept")
    about = (
        formats.NOTHING if sparsity is None else formats.percent(round(sparsity, 6)),
        formats.NOTHING if kept is None else formats.thousands(kept),
    )
    rest = [formats.plain(mean(name), 2) or formats.NOTHING for name in ("epochs", "train", "validation")]
    return (method, str(place + 1), *about, *rest)


def times(study: Loaded) -> TextTable | None:
    """Return seconds of training, of scoring and pruning, and of inference apart, with device and threads."""
    rows = []
    for group in study.groups:
        spent = [
            formats.ranged(float(f"{v:.3g}") for v in _seconds(study, group, kinds))
            for kinds in _TIMES.values()
        ]
        if group.role in ("dense", "pruned") and set(spent) != {formats.NOTHING}:
            where = (
                f"{group.first('device') or formats.NOTHING}, {int(group.first('threads') or 1)} thread(s)"
            )
            rows.append((group.method, formats.percent(group.sparsity), *spent, where))
    header = ("method", "sparsity", *(f"{name}, s" for name in _TIMES), "where")
    caption = (
        "Seconds along the path of one network from its initial weights, as a range over seeds; inference: "
        "reading the test split once.",
    )
    return TextTable("Times", header, tuple(rows), caption, (), fixed=len(header)) if rows else None


def _seconds(study: Loaded, group: Group, kinds: tuple[str, ...]) -> list[float]:
    """Return the seconds that steps of these kinds took, of each measured run."""
    paths = {cell.key: cell.path for cell in study.plan.cells}
    name = "seconds_test" if kinds == ("measure",) else "seconds"
    found = []
    for run in measured(group):
        records = [study.store.record(key) for key in paths.get(run.key, ()) if study.store.has(key)]
        spent = [r.cost[name] for r in records if r.kind in kinds and r.cost.get(name) is not None]
        found += [sum(spent)] if spent else []
    return found


def _csv(table: TextTable) -> str:
    """Return a table as CSV; a name that stands twice in its header is told apart by a number."""
    names: list[str] = []
    for name in table.header:
        names.append(f"{name} ({names.count(name) + 1})" if name in names else name)
    return csv_rows.csv_text([dict(zip(names, row, strict=True)) for row in table.rows])
