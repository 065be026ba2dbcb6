"""What the records of single steps add to the page: curves, layers and histograms, each record read once."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from prunery.report.page.contents import Study, measured
from prunery.report.page.strict import significant
from prunery.report.text.layers import means

if TYPE_CHECKING:
    from prunery.lab.plan import Cell
    from prunery.lab.record import Record

Rows = Sequence[Mapping[str, Any]]

MOST_CURVES = 60_000  # numbers of curves in one page
MOST_BINS = 400_000  # bins of histograms in one page
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
SIZES = ("params_kept", "params_effective", "macs_kept", "macs_effective")
DENSE = ("params_dense", "macs_dense")


def curves(study: Study) -> dict[str, Any]:
    """Return the training curves of each cell: a path of cuts and of places in `steps`, seed by seed.

    Seeds come in until the page has `MOST_CURVES` numbers; `left_out` names the others.
    """
    steps: dict[str, dict[str, Any]] = {}
    paths: list[list[Any]] = []
    left_out: list[int] = []
    for seed in sorted({cell.seed for cell in study.plan.cells}):
        if sum(3 * len(s["loss"]) for s in steps.values()) > MOST_CURVES:
            left_out.append(seed)
            continue
        for cell in study.plan.cells:
            place = study.index(cell.method, cell.role, cell.sparsity)
            if cell.seed == seed and place is not None:
                paths.append([place, seed, list(_path(study, cell, steps))])
    order = {key: i for i, key in enumerate(steps)}
    numbered = [[p, s, [order.get(x, x) if isinstance(x, str) else x for x in path]] for p, s, path in paths]
    return {"steps": list(steps.values()), "paths": [p for p in numbered if p[2]], "left_out": left_out}


def _path(study: Study, cell: Cell, steps: dict[str, dict[str, Any]]) -> Iterator[Any]:
    """Return the cell's path as keys of trainings and `{"cut": sparsity}`, as far as there are records."""
    for key in cell.path:
        step = study.plan.steps[key]
        if step.kind == "prune":
            yield {"cut": step.args.get("sparsity")}
        if step.kind in ("train", "recover") or "training" in step.args:
            if key not in steps:
                record = study.record(key)
                if record is None:
                    return
                steps[key] = _curve(record.tables.get("epochs", []))
            yield key


def _curve(rows: Rows) -> dict[str, Any]:
    test = [_percent(row.get("test_correct"), row.get("test_total")) for row in rows]
    return {
        "loss": [significant(row.get("train_loss")) for row in rows],
        "top1": [_percent(row.get("validation_correct"), row.get("validation_total")) for row in rows],
        **({"test": test} if any(value is not None for value in test) else {}),
    }


def _percent(correct: Any, total: Any) -> float | None:
    return round(100 * correct / total, 2) if total and correct is not None else None


def layers_and_histograms(study: Study) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the layers and the histograms of all measured cells."""
    layers: dict[str, Any] = {"names": [], "dense": {}, "groups": {}}
    chosen: dict[int, tuple[int, Rows]] = {}
    for place, group in enumerate(study.groups):
        measures = [(run.seed, record) for run in measured(group) if (record := study.record(run.key))]
        _add_layers(layers, place, [record for _, record in measures])
        shown = next(((s, rows) for s, r in measures if (rows := r.tables.get("histograms"))), None)
        if shown is not None:
            chosen[place] = shown
    return layers, _histograms(chosen)


def _add_layers(layers: dict[str, Any], place: int, records: Sequence[Record]) -> None:
    """Add the means over seeds of one group's layers, by place in `names`; the first record names them."""
    tables = [table for record in records if (table := record.tables.get("layers"))]
    if not tables:
        return
    if not layers["names"]:
        layers["names"] = [str(row["name"]) for row in tables[0]]
        layers["dense"] = {c: [row.get(c) for row in tables[0]] for c in DENSE}
    by_layer = means(tables)
    values = {c: [_rounded(by_layer.get(name, {}).get(c)) for name in layers["names"]] for c in SIZES}
    layers["groups"][place] = {"n": len(tables), **values}


def _rounded(value: float | None) -> float | None:
    return None if value is None else significant(value, 6)


def _histograms(chosen: Mapping[int, tuple[int, Rows]]) -> dict[str, Any]:
    """Return, by group, the seed that is shown and its layers: name, low, high, heights, kept, total.

    Heights are relative to the layer's highest bin: one letter of `ALPHABET` each, never A for a bin that
    holds something. Neighbouring bins are joined where the page would hold more than `MOST_BINS`.
    """
    bins = sum(len(row["counts"]) for _, rows in chosen.values() for row in rows)
    join = max(1, math.ceil(bins / MOST_BINS))
    return {
        str(place): {"seed": seed, "layers": [_ridge(row, join) for row in rows]}
        for place, (seed, rows) in chosen.items()
    }


def _ridge(row: Mapping[str, Any], join: int) -> list[Any]:
    counts = [sum(row["counts"][i : i + join]) for i in range(0, len(row["counts"]), join)]
    ends = [significant(row[end]) for end in ("low", "high")]
    odd = row.get("nonfinite", 0)
    return [str(row["layer"]), *ends, heights(counts), row["kept"], row["total"], odd]


def heights(counts: Sequence[int]) -> str:
    """Return counts relative to the largest in 63 steps, as letters; only 0 is the lowest letter."""
    top = max(counts, default=0)
    steps = len(ALPHABET) - 1
    return "".join(ALPHABET[max(1, round(steps * c / top)) if c else 0] for c in counts)
