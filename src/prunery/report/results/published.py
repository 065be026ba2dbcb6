"""Values that others published, beside which a study's own are shown: package data, matched by what was done.

A study is matched with a report by the beginning of its name; a published value is matched with a group by
data set, model, criterion, granularity, scope, schedule, whether anything was retrained, and sparsity.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

NEAR = 0.0005  # sparsities that differ by more are different ones: 0.5217 is not 0.5


@dataclass(frozen=True)
class Published:
    """One published value beside one of our groups; `method` and `sparsity` are ours."""

    method: str
    sparsity: float
    metric: str
    value: float
    n: int
    report: str
    note: str


@dataclass(frozen=True)
class Protocol:
    """How a published value was reached, as far as its report says; empty where it does not."""

    epochs_before: str
    epochs_after: str
    optimizer: str
    learning_rate: str
    batch: str
    selection: str


def rows(study_name: str, frame: pd.DataFrame) -> list[Published]:
    """Return the published values that belong beside the groups of a study's frame, in the frame's order."""
    known = [r for r in _table("published") if r["value"] and _named_after(study_name, r["report"])]
    matches = []
    for group in _groups(frame) if known else ():
        for row in known:
            if _same(row, group):
                value, n = float(row["value"]), int(row["n"])
                place = (str(group["method"]), float(group["sparsity_requested"]))
                matches.append(Published(*place, row["metric"], value, n, row["report"], row["note"]))
    return matches


def protocol(published: Published, group: Mapping[str, Any]) -> Protocol | None:
    """Return how the published value beside a group (a row of the frame) was reached, or None."""
    for row in _table("published_protocols"):
        same = row["report"] == published.report and group["data"] in row["dataset"].split()
        if (
            same
            and _criterion(group) in row["criterion"].split()
            and row["schedule"] in ("-", _schedule(group))
        ):
            return Protocol(*(row[name] for name in Protocol.__dataclass_fields__))
    return None


def reference(model: str, data: str) -> tuple[float, str] | None:
    """Return a known top-1 accuracy of the dense network in %, and who reached it; or None."""
    for row in _table("references"):
        if (row["model"], row["data"]) == (model, data):
            return float(row["top1"]), row["source"]
    return None


def _named_after(study: str, report: str) -> bool:
    return study == report or study.startswith(f"{report}-")


def _groups(frame: pd.DataFrame) -> Iterable[Mapping[str, Any]]:
    """Return the first row of each group that a published value may stand beside."""
    seen: dict[tuple[str, float], Mapping[str, Any]] = {}
    for row in frame.to_dict("records"):
        if row["role"] in ("dense", "pruned"):
            seen.setdefault((row["method"], row["sparsity_requested"]), {str(k): v for k, v in row.items()})
    return seen.values()


def _same(row: Mapping[str, str], group: Mapping[str, Any]) -> bool:
    whole = not isinstance(group.get("classes"), int)  # published values are of all classes
    task = (row["dataset"], row["model"]) == (group["data"], group["model"])
    if not (task and whole) or row["criterion"] != _criterion(group):
        return False
    if group["role"] == "dense":
        return True
    choices = all(row[axis] == group[axis] for axis in ("granularity", "scope"))
    kind = row["schedule"].split()[0] == _schedule(group)
    near = abs(float(row["sparsity"]) - group["sparsity_requested"]) <= NEAR
    return choices and kind and near and _retrained(row["recovery"], group["recovery"])


def _criterion(group: Mapping[str, Any]) -> str:
    return "none" if group["role"] == "dense" else str(group["criterion"])


def _schedule(group: Mapping[str, Any]) -> str:
    """Return the kind of schedule; several one-shot cuts with training between them are an iterative one."""
    cuts = group.get("cuts")
    several = isinstance(cuts, int | float) and cuts > 1  # NA and NaN are not
    return "iterative" if several and group["schedule"] == "one_shot" else str(group["schedule"])


def _retrained(published: str, ours: str) -> bool:
    """Return whether both were retrained or neither; nothing published only estimated norms."""
    return published == "-" or ours == ("none" if published == "none" else "retrained")


@lru_cache(maxsize=4)
def _table(name: str) -> tuple[Mapping[str, str], ...]:
    path = resources.files("prunery.report") / "data" / f"{name}.csv"
    return tuple(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))
