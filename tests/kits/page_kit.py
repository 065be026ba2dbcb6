"""Synthetic studies for the page's tests: epochs, 21 layers, histograms, and every way a cell can end."""

from __future__ import annotations

import math
from dataclasses import replace

import report_case as case

from prunery.data.samples import samples
from prunery.data.sets import load
from prunery.lab import spec as specs
from prunery.lab.plan import plan as plan_of
from prunery.report.results.frame import frame
from prunery.report.results.published import Published
from prunery.report.results.study import Loaded

_BLOCKS = [f"stage{1 + i // 7}.block{i % 7}.conv.weight" for i in range(20)]
LAYERS = (*_BLOCKS, "head.weight")
METHODS = ("random", "magnitude", "snip", "grasp", "synflow")


def study(methods=METHODS, *, sparsities=(0.5, 0.9, 0.98), seeds=3, broken=True, bare=False, published=()):
    """A loaded study whose records are whole; `broken` adds bad ends, `bare` leaves every table out."""
    spec = case.spec(methods, sparsities=sparsities, seeds=seeds, retrain=4)
    plan = plan_of(spec)
    failures, without, notes = _bad_ends(plan) if broken else ([], set(), {})
    kept = case.store(plan, _correct(spec), without=without, failures=failures, notes=notes)
    if not bare:
        kept.records = {key: with_tables(record, plan.steps[key]) for key, record in kept.records.items()}
    return study_of(spec.name, specs.plain(spec), plan, kept, published=published)


def study_of(name, spec, plan, store, *, published=()):
    made = Loaded(name, spec, plan, store, frame(plan, store))
    made.__dict__["published"] = [Published(**row) for row in published]
    return made


def framed(study, table):
    """The study with another frame, and so with other groups."""
    made = Loaded(study.name, study.spec, study.plan, study.store, table)
    made.__dict__["published"] = study.published
    return made


def _correct(spec):
    """Right answers of a cell: they fall with the sparsity, differently for each method."""
    order = {method.name: i for i, method in enumerate(spec.methods)}
    collapsed = spec.methods[0].name

    def right(cell):
        if cell.role != "pruned":
            return 9810 + 7 * cell.seed + (12 if cell.role == "dense_extra" else 0)
        if cell.method == collapsed and cell.sparsity == max(spec.sparsities) and cell.seed == 1:
            return 1135
        lost = (3 + len(order) - order[cell.method]) * 20 * -(math.log10(1 - cell.sparsity) ** 2)
        return round(9815 + lost + 9 * cell.seed - 4 * order[cell.method])

    return right


def _bad_ends(plan):
    """A collapsed, a diverged, a failed and a missing cell, in the methods in their order."""
    names = list(dict.fromkeys(c.method for c in plan.cells if c.role == "pruned"))
    top = max(c.sparsity for c in plan.cells)
    first = case.cell_of(plan, names[0], top, 1)
    notes = {first.key: ("test: predicts class 1 for every image",)}
    failures, without = [], set()
    if len(names) > 3:
        diverged = case.cell_of(plan, names[3], top, 2)
        notes[diverged.path[-2]] = ("diverged: the loss was not finite in step 7 of epoch 2",)
        failure, lost = case.failure(
            plan, case.cell_of(plan, names[2], top, 0), "prune", "GraSP: <no memory>"
        )
        failures, without = [failure], lost | {case.cell_of(plan, names[1], top, 2).key}
    return failures, without, notes


def with_tables(record, step):
    """The record with the tables that a record of its kind has."""
    if record.kind == "init":
        return replace(record, tables={"samples": samples(load("digits"))})
    if record.kind in ("train", "recover"):
        return replace(record, tables={"epochs": _epochs(step)})
    if record.kind == "measure":
        seed = step.args["seed"]
        return replace(
            record, tables={"layers": _layers(record.key, seed), "histograms": _histograms(record.key)}
        )
    return record


def _epochs(step):
    rows = []
    for epoch in range(1, step.epochs + 1):
        right = 6000 - round(900 / epoch) - (int(step.key[:2], 16) % 40)
        row = {"epoch": epoch, "train_loss": 0.6 / epoch + 0.01, "train_correct": 9 * right}
        row |= {"train_total": 54_000, "validation_correct": right, "validation_total": 6000}
        rows.append(row)
    return rows


def density(key, layer):
    """The part of a layer that a synthetic cell keeps; the last cells of a study empty one layer."""
    return min(1.0, (1 + int(key[layer % 16], 16)) / 40 + 0.4 * (layer in (0, len(LAYERS) - 1)))


def _layers(key, seed):
    rows = []
    for i, name in enumerate(LAYERS):
        dense = 400 * (i + 2)
        kept = round(dense * density(key, i)) + seed
        row = {"name": name, "params_dense": dense, "params_kept": kept, "params_effective": kept - i}
        rows.append(row | {f"macs_{k}": 64 * row[f"params_{k}"] for k in ("dense", "kept", "effective")})
    return rows


def _histograms(key):
    rows = []
    for i, name in enumerate(LAYERS):
        high, gap = 0.5 / (1 + i / 4), 0.2 * (int(key[i % 16], 16) / 15)
        at = [abs(-1 + (b + 0.5) / 30) for b in range(60)]
        counts = [0 if x < gap else round(900 * math.exp(-((x / 0.45) ** 2))) for x in at]
        kept = sum(counts)
        row = {"layer": name, "low": -high, "high": high, "counts": counts, "kept": kept, "total": 2 * kept}
        rows.append(row | {"nonfinite": 0})
    return rows


def published(method="magnitude"):
    """Two published values, one under a metric that is not ours."""
    common = {"method": method, "n": 1, "report": "example-2020"}
    return [
        common | {"sparsity": 0.9, "metric": "test_top1", "value": 98.0, "note": "table 2"},
        common | {"sparsity": 0.98, "metric": "test_top1_max", "value": 97.5, "note": "best epoch on test"},
    ]
