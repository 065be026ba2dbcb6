"""What a reader must be warned of, as far as the records show it: one row of a table per rule of fairness.

A row is a function from the frame and its groups to sentences; `rule` names the rule in docs/protocol.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from prunery.registry import Registry
from prunery.report.results import published
from prunery.report.results.columns import TOP1
from prunery.report.results.groups import Group, absent, arms, sparsities
from prunery.report.text import formats
from prunery.report.text.captions import part

if TYPE_CHECKING:
    import pandas as pd

FEW_SEEDS = 3
FEW_POINTS = 5
BELOW = 1.0  # points under a known reference
RISING = 0.1  # points of train accuracy per epoch
FALLING = 0.01  # of the train loss per epoch
SEEN = 0.001  # nats per epoch: what a smaller fall could change does not show

caution = Registry("caution")


def cautions_of(frame: pd.DataFrame, groups: Sequence[Group]) -> list[str]:
    """Return all sentences of warning, in the order of the table."""
    return [sentence for name in caution for sentence in caution[name].function(frame, groups)]


@caution.add(rule="C1")
def seeds(frame: pd.DataFrame, groups: Sequence[Group]) -> list[str]:
    """Warn of fewer seeds than an interval needs."""
    count = frame["seed"].nunique()
    if count >= FEW_SEEDS:
        return []
    subject = "One seed says" if count == 1 else f"{count} seeds say"
    return [f"{subject} little about how runs differ: use {FEW_SEEDS} seeds or more, better five."]


@caution.add(rule="C1")
def one_start(frame: pd.DataFrame, groups: Sequence[Group]) -> list[str]:
    """Warn where all seeds start from one pretrained network, so that they spread by less."""
    if frame["seed"].nunique() < 2 or "pretrained" not in frame or not any(frame["pretrained"]):
        return []
    return [
        "All seeds start from one pretrained network: intervals tell how pruning and the training after it "
        "vary, not how networks that were trained apart do."
    ]


@caution.add(rule="C9")
def baselines(frame: pd.DataFrame, groups: Sequence[Group]) -> list[str]:
    """Warn of usual baselines that were not run beside the methods."""
    pruned = [g for g in groups if g.role == "pruned"]
    criteria = {g.first("criterion") for g in pruned}
    missing = []
    if criteria - {"random"} and not any(g.first("arm") == "shuffle" for g in groups):
        missing.append("random pruning with each method's own layer ratios")
    if pruned and "random" not in criteria:
        missing.append("random pruning over all layers alike")
    if pruned and ("magnitude", "trained") not in {(g.first("criterion"), g.first("at")) for g in pruned}:
        missing.append("magnitude of the trained network")
    scratch = {g.first("of") for g in groups if g.first("arm") == "scratch"}
    if any(g.first("granularity") != "weight" and g.method not in scratch for g in pruned):
        missing.append("small dense networks trained from scratch, for what removes structure")
    return [f"Baselines that were not run: {'; '.join(missing)}."] if missing else []


@caution.add(rule="C14")
def points(frame: pd.DataFrame, groups: Sequence[Group]) -> list[str]:
    """Warn of fewer operating points than a trade-off needs, by method."""
    methods = arms(groups, "pruned")
    counts = {m: len(sparsities(g for g in groups if g.method == m)) for m in methods}
    few = {m: n for m, n in counts.items() if n < FEW_POINTS}
    if not few:
        return []
    n = next(iter(few.values()))
    if few == dict.fromkeys(methods, n):
        subject = "One sparsity is" if n == 1 else f"{n} sparsities are"
    elif len(few) == len(methods):
        subject = f"{formats.ranged(map(float, few.values()))} sparsities a method are"
    else:
        whose = formats.listed([f"{m} has {n}" for m, n in few.items()])
        subject = f"The sparsities of some methods ({whose}) are"
    return [f"{subject} too few to show a trade-off: use {FEW_POINTS} or more, from harmless to extreme."]


@caution.add(rule="C15")
def general(frame: pd.DataFrame, groups: Sequence[Group]) -> list[str]:
    """Warn that a study of one network and one data set says nothing beyond them."""
    first = frame.iloc[0]
    return [f"One network ({first['model']}) on one data set ({first['data']}): nothing in general follows."]


@caution.add(rule="C16")
def baseline(frame: pd.DataFrame, groups: Sequence[Group]) -> list[str]:
    """Warn of dense below a known reference: gains over it may be those of more training."""
    dense = next((g for g in groups if g.role == "dense" and g.summary), None)
    first = frame.iloc[0]
    known = published.reference(str(first["model"]), str(first["data"]))
    if "classes" in frame and not absent(first["classes"]):
        return []  # what is known is of all classes
    if dense is None or dense.summary is None or known is None or dense.metric != TOP1:
        return []
    value, source = known
    short = value - dense.summary.mean
    if short <= BELOW:
        return []
    used = part(frame)
    fewer = f"; ours had {used}" if used else ""
    return [
        f"The dense baseline ({dense.summary.mean:.2f} %) is {short:.1f} points below a known one: "
        f"{value:.2f} %, {source}{fewer}."
    ]


@caution.add(rule="C19")
def still_moving(frame: pd.DataFrame, groups: Sequence[Group]) -> list[str]:
    """Warn of training that still made progress when it ended."""
    restless = [g for g in groups if g.role in ("dense", "pruned") and _moves(g)]
    if not restless:
        return []
    moving = [
        formats.place(method, [g for g in restless if g.method == method])
        for method in formats.methods(restless)
    ]
    return [
        f"Training stopped while it still made progress (over its last tenth, train accuracy rose by more "
        f"than {RISING:g} points an epoch, or train loss fell by more than {100 * FALLING:g} %): "
        f"{formats.listed(moving)}."
    ]


@caution.add(rule="C21")
def devices(frame: pd.DataFrame, groups: Sequence[Group]) -> list[str]:
    """Warn of several devices: their seconds stand in columns of their own, their arithmetic differs."""
    if "device" not in frame.columns:
        return []
    names = [name for name in dict.fromkeys(frame["device"]) if name]
    if len(names) < 2:
        return []
    return [
        f"Steps ran on {len(names)} kinds of device: seconds are not comparable between them, and sums are "
        "rounded otherwise."
    ]


@caution.add(rule="C27")
def floors(frame: pd.DataFrame, groups: Sequence[Group]) -> list[str]:
    """Say whether a floor kept every layer from being emptied, by method."""
    by_floor: dict[float, list[str]] = {}
    for method in arms(groups, "pruned"):
        floor = next(g for g in groups if (g.method, g.role) == (method, "pruned")).first("floor")
        if floor is not None:
            by_floor.setdefault(float(floor), []).append(method)
    if not by_floor:
        return []
    if set(by_floor) == {0.0}:
        return ["No floor on the density of a layer: pruning may empty one."]
    parts = [
        (f"at least {formats.percent(floor)} of each layer kept" if floor else "none")
        + f": {formats.listed(methods)}"
        for floor, methods in sorted(by_floor.items())
    ]
    return [f"Floor on the density of a layer: {'; '.join(parts)}."]


def _moves(group: Group) -> bool:
    """Return whether a run of the group still moved by more than shows."""
    rows = [run.row for run in group.runs if run.status == "done"]
    rises = [row["train_rise"] for row in rows if row.get("train_rise") is not None]
    falls = [(row["train_fall"], row.get("train_loss")) for row in rows if row.get("train_fall") is not None]
    fell = any(fall > SEEN and loss and fall > FALLING * loss for fall, loss in falls)
    return fell or any(rise > RISING for rise in rises)
