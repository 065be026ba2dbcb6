"""Captions: what a table's numbers are, at what cost they were reached, and how verdicts were."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING

from prunery.comparisons import Difference
from prunery.report.results.columns import TOP1, Column
from prunery.report.results.groups import Group, absent, arms, sparsities
from prunery.report.text import formats
from prunery.stats import FEW, noise_floor

if TYPE_CHECKING:
    import pandas as pd

FEW_CONTROLS = 3  # rows of controls in the table of methods
_FEW = 4  # methods that a caption names; the answers name all
SPREADS = "spreads are pooled over methods and sparsities, as far as tests do not say that they differ."


def task(frame: pd.DataFrame) -> str:
    """Return `lenet300 on mnist (1 000 training images)`: what is unusual of data and precision behind it."""
    half = "precision" in frame and bool((frame["precision"] == "bfloat16").any())
    unusual = [text for text in (part(frame), "trained in bfloat16" if half else "") if text]
    return whole_task(frame) + (f" ({', '.join(unusual)})" if unusual else "")


def whole_task(frame: pd.DataFrame) -> str:
    """Return `lenet300 on mnist`: the model and the data of a study."""
    first = frame.iloc[0]
    return f"{first['model']} on {first['data']}"


def part(frame: pd.DataFrame) -> str:
    """Return `10 classes, 1 000 training images`: how much of the data set was used; empty where all."""
    first = frame.iloc[0]
    words = {"classes": "classes", "images": "training images"}
    used = {w: first[c] for c, w in words.items() if c in frame and not absent(first[c])}
    return ", ".join(f"{formats.thousands(int(n))} {words}" for words, n in used.items())


def accuracy_caption(
    frame: pd.DataFrame, groups: Sequence[Group], n: int | None, metric: Column = TOP1
) -> tuple[str, ...]:
    """Return sentences that say what a table's numbers are: metric, split, unit, n, chance, budgets."""
    sentences = (
        _metric(frame, metric),
        _spread(n),
        _floor(groups, metric),
        _columns(groups),
        _controls(groups, metric),
        unequal(groups, most=_FEW),
    )
    return tuple(sentence for sentence in sentences if sentence)


def difference_caption(groups: Sequence[Group], reference: str) -> tuple[str, ...]:
    """Return sentences that say what a table of differences shows and how its verdicts were reached."""
    family = [g.against[reference].difference for g in groups if reference in g.against]
    family = [difference for difference in family if difference.verdict is not None]
    shown = f"Top-1 accuracy on the test split minus that of {named(reference)}, in points, paired by seed"
    budgets = [sentence for sentence in (_against_unequal(groups, reference),) if sentence]
    if not family:
        return (f"{shown}: single values. Fewer than three seeds give no interval and no verdict.", *budgets)
    intervals = "The interval holds" if len(family) == 1 else f"All {len(family)} intervals hold together"
    return (
        f"{shown}: mean ± half-width. {intervals} with a probability of 95 %; {SPREADS}",
        _verdicts(family),
        *budgets,
    )


def _verdicts(family: Sequence[Difference]) -> str:
    """Return what the verdicts mean, and which differences would be shown."""
    seeds = formats.ranged(float(d.summary.n) for d in family)
    sizes = [d.detectable for d in family if d.detectable is not None]
    return (
        "Higher and lower: the interval excludes 0, for the difference is larger than its half-width. "
        f"Not shown with {seeds} seeds: a difference may be there (in the middle cell, true ones of "
        f"{statistics.median(sizes):.{formats.DECIMALS}f} are shown four times out of five)."
    )


def _against_unequal(groups: Sequence[Group], reference: str) -> str | None:
    """Return the sentence that names the methods with other total epochs than the reference."""
    unlike: dict[str, list[str]] = {}
    for method in arms(groups, "pruned"):
        pairs = [
            (float(sum(g.epochs)), float(g.against[reference].epochs or 0))
            for g in groups
            if g.method == method and g.epochs and reference in g.against
        ]
        if any(ours != theirs for ours, theirs in pairs):
            ours, theirs = (formats.ranged(pair[i] for pair in pairs) for i in (0, 1))
            unlike.setdefault(f"{ours} against {theirs}", []).append(method)
    if not unlike:
        return None
    which = "; ".join(f"{budgets}: {formats.few(methods, most=_FEW)}" for budgets, methods in unlike.items())
    return f"UNEQUAL total epochs, ours against those of {named(reference)} ({which})."


def named(reference: str) -> str:
    """Return a reference in words."""
    names = {
        "dense": "the dense network",
        "dense_extra": "the dense network after the same training",
        "random": "random pruning at the same sparsity",
        "shuffled": "random pruning with the same layer ratios",
    }
    return names[reference]


def unequal(groups: Sequence[Group], *, most: int | None = None) -> str | None:
    """Return the sentence that says that methods had unequal total epochs; None where they had not.

    Of each budget, up to `most` methods are named, all where it is None; more are counted.
    """
    pruned = [g for g in groups if g.role == "pruned" and g.epochs]
    at = {s: {sum(g.epochs) for g in pruned if g.epochs and g.sparsity == s} for s in sparsities(pruned)}
    if all(len(epochs) < 2 for epochs in at.values()):
        return None
    totals: dict[str, list[str]] = {}
    for method in arms(pruned, "pruned"):
        epochs = [sum(g.epochs) for g in pruned if g.epochs and g.method == method]
        totals.setdefault(formats.ranged(map(float, epochs)), []).append(method)
    budgets = "; ".join(f"{total}: {formats.few(methods, most=most)}" for total, methods in totals.items())
    return f"Methods are compared at UNEQUAL total epochs ({budgets})."


def _metric(frame: pd.DataFrame, metric: Column) -> str:
    images = next((v for v in frame["test_images"] if not absent(v)), None)
    rows = ({str(k): v for k, v in row.items()} for row in frame.to_dict("records"))
    chance = next((c for c in map(metric.chance, rows) if c is not None), None)
    curves = "test_top1_max" in frame and frame["test_top1_max"].notna().any()
    read = "read after every epoch too, as a diagnostic" if curves else "labels read once per network"
    size = "" if images is None else f" ({formats.thousands(images)} images, {read})"
    level = "" if chance is None else f"; chance level {chance:.{metric.decimals}f} {metric.unit}"
    if metric.split is None:
        better = "" if metric.better == "none" else f"; {metric.better} is better"
        return f"{metric.label} ({metric.name}){f', in {metric.unit}' if metric.unit else ''}{level}{better}."
    return f"{metric.label} on the {metric.split} split{size}, in {metric.unit}{level}."


def _spread(n: int | None) -> str:
    if n is None:
        return "No cell is done."
    if n < FEW:
        return f"n = {n} seed{'s' if n > 1 else ''}: single values, without interval or verdict."
    return (
        f"Mean ± half-width of the 95 % t-interval over n = {n} seeds: of a hundred such intervals, 95 hold "
        "the mean over all seeds that could have been drawn."
    )


def _floor(groups: Sequence[Group], metric: Column) -> str | None:
    dense = next((g for g in groups if g.role == "dense" and g.values), None)
    floor = noise_floor(list(dense.values.values())) if dense else None
    if dense is None or floor is None:
        return None
    unit = "points" if metric.unit == "%" else metric.unit
    return (
        f"Noise floor: two means of {len(dense.values)} dense trainings that differ only by seed lie within "
        f"{floor:.{metric.decimals}f}{unit and f' {unit}'} of each other 95 % of the time."
    )


def _controls(groups: Sequence[Group], metric: Column) -> str | None:
    """Return what the rows of controls are, where the table of top-1 has any."""
    words = {
        "dense_extra": "dense + epochs: not pruned, trained for as long",
        "sanity": "shuffled in each layer: random pruning with the method's own layer ratios",
    }
    known = {g.role for g in groups if g.role != "sanity" or g.first("arm") == "shuffle"}
    there = [text for role, text in words.items() if role in known and not folded(groups, role)]
    return f"Controls: {'; '.join(there)}." if there and metric == TOP1 else None


def folded(groups: Sequence[Group], role: str) -> bool:
    """Return whether the controls of a role are so many that they have a table of their own."""
    return role in ("dense_extra", "sanity") and len(arms(groups, role)) > FEW_CONTROLS


def _columns(groups: Sequence[Group]) -> str:
    epochs = "Epochs: of training before + after the first cut."
    other = [g for g in groups if g.role == "pruned" and g.first("granularity") not in (None, "weight")]
    if not other:
        return f"Columns: sparsity over all prunable weights. {epochs}"
    kinds = formats.listed(list(dict.fromkeys(f"{g.first('granularity')}s" for g in other)))
    whose = formats.few(arms(other, "pruned"), f"methods that remove {kinds}", most=_FEW)
    return (
        f"Columns: the sparsity asked for, of all prunable weights, but of all {kinds} in {whose}: "
        f"sizes tell what that is in weights. {epochs}"
    )
