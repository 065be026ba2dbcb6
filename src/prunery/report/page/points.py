"""The groups of a study as data: their means and intervals, what they cost, and their records."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from prunery.report.page.contents import Study
from prunery.report.page.strict import significant
from prunery.report.results.columns import shown
from prunery.report.results.groups import AT_SPARSITY, Against, Group, Run, groups_of
from prunery.report.text import formats
from prunery.report.text.captions import named


def metrics(study: Study) -> list[dict[str, Any]]:
    """Return each accuracy that was measured: its name and chance level in %, and one point per group."""
    measured = []
    for column in shown(study.columns, figure="accuracy"):
        if study.has(column.name):
            name, chance = (
                column.words.removesuffix(" accuracy"),
                study.frame[f"chance_top{column.k}"].dropna(),
            )
            level = float(chance.iloc[0]) if len(chance) else None
            points = [_point(g) for g in groups_of(study.frame, metric=column)]
            measured.append({"id": column.name, "name": name, "chance": level, "points": points})
    return measured


def costs(study: Study) -> list[dict[str, Any]]:
    """Return each cost that was recorded: name, unit, and per group the mean over the cells that are done."""
    recorded = []
    for column in shown(study.columns, figure="cost"):
        if column.unit == "s" and study.places() > 1:
            continue  # seconds of different devices are not comparable
        values = [_mean(group, column.name) for group in study.groups]
        if any(value is not None and value > 0 for value in values):
            about = {"id": column.name, "name": column.label, "unit": column.unit}
            recorded.append({**about, "values": values})
    return recorded


def entries(study: Study) -> list[dict[str, Any]]:
    """Return the groups: what they are, their comparisons, and their runs with status, notes and keys."""
    return [_entry(group) for group in study.groups]


def _point(group: Group) -> dict[str, Any]:
    summary = group.summary
    runs = [[r.seed, r.value, r.status] for r in group.runs if r.value is not None]
    point: dict[str, Any] = {"runs": runs, "sound": group.sound}
    if summary is not None and group.sound:
        point |= {
            "n": summary.n,
            "mean": summary.mean,
            "low": summary.low,
            "high": summary.high,
            "sd": summary.sd,
        }
        point["text"] = formats.interval(summary)
    elif summary is not None:  # what a broken group has left is a selection: no interval
        point |= {"n": summary.n, "mean": summary.mean, "text": f"{summary.mean:.{formats.DECIMALS}f}"}
    return point


def _mean(group: Group, column: str) -> float | None:
    values = [r.row.get(column) for r in group.runs if r.status == "done"]
    numbers = [float(v) for v in values if v is not None]
    return significant(statistics.fmean(numbers), 6) if numbers else None


def _entry(group: Group) -> dict[str, Any]:
    return {
        "method": group.method,
        "role": group.role,
        "sparsity": group.sparsity,
        "at": formats.percent(group.sparsity) if group.role in AT_SPARSITY else "",
        "label": formats.label(group),
        "epochs": list(group.epochs or ()),
        "against": [_against(a) for a in group.against.values()],
        "runs": [_run(run) for run in group.runs],
    }


def _against(against: Against) -> list[Any]:
    summary = against.difference.summary
    return [named(against.reference), formats.signed(summary.mean), formats.ends(summary), against.verdict]


def _run(run: Run) -> dict[str, Any]:
    names: Sequence[str] = ("test_top1", "test_top5", "test_loss", "validation_top1", "epochs", "seconds")
    numbers = {name: significant(run.row.get(name), 6) for name in names}
    keys = {"key": run.key, "dense": run.dense_key, "extra": run.extra_key}
    return {"seed": run.seed, "status": run.status, **numbers, "notes": list(run.notes), **keys}
