"""Tables of what each network is and was: sizes, before and after retraining, bad ends, every cell."""

from __future__ import annotations

from collections.abc import Sequence

from prunery.report.results.columns import NAMED
from prunery.report.results.groups import ABSENT, AT_SPARSITY, BROKEN, Group, mean_of
from prunery.report.results.study import Loaded
from prunery.report.text import formats, tables
from prunery.report.text.texttable import TextTable

_WEIGHTS = ("weights kept", "effective", "% of dense")
_BYTES = {
    "bytes_dense": "plain",
    "bytes_masked": "masked",
    "bytes_masked_memory": "masked, in memory",
    "bytes_zipped": "plain, zlib",
    "bytes_saved": "prunery.save",
}
_SIZES = ("macs_dense", "macs_kept", "macs_effective", "params_dense", "params_kept", "params_effective")


def sizes(study: Loaded) -> TextTable | None:
    """Return weights, MACs and FLOPs that are left, by method and sparsity; None where none was measured."""
    rows = []
    for group in study.groups:
        counts = [mean_of(group, column) for column in _SIZES]
        if counts[0] is not None and group.role in ("dense", "pruned"):
            rows.append((group.method, formats.percent(group.sparsity), _achieved(group), *_counts(counts)))
    header = ("method", "asked", "achieved", "MACs kept", "effective", "% of dense", "FLOPs kept", *_WEIGHTS)
    caption = (
        "Means over the measured seeds. MACs: multiply-accumulates per example in prunable layers; one is "
        "two FLOPs. Kept: of the weights that masks keep. Effective: of those that a live path from input "
        "to output uses; % of dense is theirs.",
    )
    return (
        TextTable("Weights and MACs that are left", header, tuple(rows), caption, (), fixed=2)
        if rows
        else None
    )


def bytes_of_forms(study: Loaded) -> TextTable | None:
    """Return the bytes of each form of a network, by method and sparsity; None where none are recorded."""
    rows = []
    for group in study.groups:
        counts = [mean_of(group, column) for column in _BYTES]
        if None not in counts and group.role in ("dense", "pruned"):
            texts = [formats.thousands(round(count)) for count in counts if count is not None]
            rows.append((group.method, formats.percent(group.sparsity), *texts))
    caption = (
        "Bytes of all parameters and buffers, means over the measured seeds, headers aside. Plain: a state "
        "dict, in which what was removed is stored as zeros. Masked: as torch.nn.utils.prune keeps it, with "
        "a mask beside each pruned tensor, and in memory their product too. prunery.save: the whole file.",
    )
    header = ("method", "asked", *_BYTES.values())
    return TextTable("Bytes of each form", header, tuple(rows), caption, (), fixed=2) if rows else None


def _achieved(group: Group) -> str:
    value = group.first("sparsity_achieved")
    return formats.NOTHING if value is None else formats.percent(round(float(value), 6))


def _counts(counts: Sequence[float | None]) -> list[str]:
    texts = []
    for place in (0, 3):
        dense, kept, used = counts[place : place + 3]
        texts += [formats.NOTHING if v is None else formats.thousands(v) for v in (kept, used)]
        texts.append(formats.plain(100 * used / dense, 3) if dense and used is not None else formats.NOTHING)
        if place == 0:
            texts.append(formats.NOTHING if kept is None else formats.thousands(2 * kept))
    return texts


def retraining(study: Loaded, splits: Sequence[str] = ("test", "train")) -> TextTable | None:
    """Return accuracy before and after retraining; None where it was not measured."""
    known = [s for s in splits if study.has(f"before_{s}_top1")]
    columns = [c for s in known for c in (f"before_{s}_top1", f"{s}_top1")]
    by_column = {c: study.groups_by(NAMED[c]) for c in columns}
    rows, notes, n = [], formats.Footnotes(), tables.usual_n(study.groups)
    for place, group in enumerate(study.groups):
        cells = [by_column[c][place] for c in columns]
        if group.role == "pruned" and any(g.values for g in cells):
            values = [formats.cell(g, usual_n=n, footnotes=notes) for g in cells]
            rows.append((group.method, formats.percent(group.sparsity), *values))
    header = ("method", "sparsity", *(f"{w}, {s}" for s in known for w in ("before", "after")))
    caption = (
        "Top-1 accuracy (k = 1) in %, of the network as the last cut left it and after its retraining, over "
        "the seeds that are done.",
    )
    title, lines = "Before and after retraining", tuple(notes.lines())
    return TextTable(title, header, tuple(rows), caption, lines, fixed=2) if rows else None


def problems(study: Loaded) -> TextTable | None:
    """Return every cell that ended badly or has a note, with its reason and its key; None without any."""
    rows = []
    for group in study.groups:
        for status in ("done", *BROKEN, *ABSENT):
            for run in group.having(status):
                if status != "done" or run.notes:
                    reason = "; ".join(run.notes) or "no reason was recorded"
                    rows.append((group.method, _at(group), str(run.seed), status, reason, run.key))
    header = ("method", "sparsity", "seed", "status", "reason", "measure step")
    caption = ("Only cells with the status done enter a mean.",)
    return TextTable("By name", header, tuple(rows), caption, (), fixed=6) if rows else None


def cells(study: Loaded) -> TextTable:
    """Return one row per cell: what became of it, its accuracy, what it cost, and its key."""
    rows = []
    for group in study.groups:
        for run in group.runs:
            value = formats.NOTHING if run.value is None else f"{run.value:.{formats.DECIMALS}f}"
            spent = [formats.plain(run.row.get(name), 1) or formats.NOTHING for name in ("epochs", "seconds")]
            rows.append((group.method, _at(group), str(run.seed), run.status, value, *spent, run.key))
    header = ("method", "sparsity", "seed", "status", "top-1, %", "epochs", "seconds", "key")
    caption = ("`prunery why KEY` shows a cell's record and the steps that it was made from.",)
    return TextTable("Every cell", header, tuple(rows), caption, (), fixed=8)


def _at(group: Group) -> str:
    return formats.percent(group.sparsity) if group.role in AT_SPARSITY else formats.NOTHING
