"""The epochs of training that each method of a study gets, and what its seeds can show."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from prunery.comparisons import detectable_by
from prunery.errors import PruneryError
from prunery.lab.archive import plan_of
from prunery.lab.spec import Spec
from prunery.spreads import spread_of
from prunery.stats import FEW

if TYPE_CHECKING:
    from prunery.lab.archive import Archive
    from prunery.lab.step import Plan
    from prunery.lab.store import Store


def epochs_of(spec: Spec) -> dict[str, dict[float, int]]:
    """Return the epochs of training in all, before, in and after the cuts, by method and sparsity."""
    return {m.name: {s: spec.epochs_of(m, s) for s in spec.sparsities_of(m)} for m in spec.compared}


def ranged(epochs: dict[float, int]) -> str:
    """Return `20` or, where sparsities differ, `20-140`."""
    low, high = min(epochs.values()), max(epochs.values())
    return str(low) if low == high else f"{low}-{high}"


def unequal(spec: Spec) -> str | None:
    """Return a sentence that says which methods train for more epochs than others; None where none does."""
    budgets = epochs_of(spec)
    by_sparsity: dict[float, set[int]] = defaultdict(set)
    for epochs in budgets.values():
        for sparsity, each in epochs.items():
            by_sparsity[sparsity].add(each)
    if all(len(each) == 1 for each in by_sparsity.values()):
        return None
    methods: dict[str, list[str]] = defaultdict(list)
    for name, epochs in sorted(budgets.items(), key=lambda item: -max(item[1].values())):
        methods[ranged(epochs)].append(name)
    parts = "; ".join(f"{epochs} for {', '.join(names)}" for epochs, names in methods.items())
    text = f"Budgets are unequal: epochs in all are {parts}. This alone can make a difference in accuracy."
    most = max(each for epochs in budgets.values() for each in epochs.values())
    untrained = [m for m in spec.compared if m.at == "init" and m.recovery[0].name == "finetune"]
    short = [m.name for m in untrained if max(budgets[m.name].values()) < most]
    if short:
        advice = f"recovery: {{name: finetune, training: {{epochs: {most}}}}}"
        text += f" To train what is pruned before training ({', '.join(short)}) for {most}: {advice}."
    return text


def shown_by(spec: Spec, store: Store | Archive | None) -> str:
    """Return a sentence that says the smallest difference that the seeds can show.

    In points where the store holds runs of the same task that tell how far runs differ, else in multiples
    of that spread.
    """
    seeds = len(spec.seeds)
    counts = [sum(s in spec.sparsities_of(m) for m in spec.compared) for s in _sparsities(spec)]
    factors = detectable_by(seeds, counts)
    if factors is None:
        runs = "1 seed" if seeds == 1 else f"{seeds} seeds"
        return f"{runs} can show no difference, because an interval needs {FEW} seeds or more"
    spread = None if store is None else known_spread(spec, store)
    unit, each = ("spreads between runs", 1.0) if spread is None else ("points", spread)
    low, high = (f"{each * factor:.2g}" for factor in (min(factors), max(factors)))
    worst = f", of {high} at a sparsity with fewer methods" if low != high else ""
    known = "" if spread is None else f" (earlier runs on this task spread by {spread:.2g} points)"
    return f"{seeds} seeds can show differences of {low} {unit} or more{worst}{known}"


def known_spread(spec: Spec, store: Store | Archive) -> float | None:
    """Return how far runs of the same task differ, in points of top-1; None where the store does not tell."""
    tables: list[list[list[float]]] = []
    for name in store.studies():
        try:
            planned = plan_of(store, name)
        except PruneryError:  # a study that cannot be read tells nothing
            continue
        tables += _tables(spec, planned, store)
    return spread_of(tables)


def _sparsities(spec: Spec) -> list[float]:
    return sorted({s for method in spec.compared for s in spec.sparsities_of(method)})


def _tables(spec: Spec, planned: Plan, store: Store | Archive) -> list[list[list[float]]]:
    """Return, for each sparsity of a study of the same task, the test accuracies of each method by seed."""
    task = spec.task.model_dump(include={"model", "data", "classes", "images"})
    places: dict[float, dict[str, dict[int, float]]] = defaultdict(lambda: defaultdict(dict))
    for cell in planned.cells:
        args = planned.steps[cell.key].args
        if cell.role != "pruned" or any(args.get(k) != v for k, v in task.items()) or not store.has(cell.key):
            continue
        record = store.record(cell.key)
        if (value := record.number("top1", "test")) is not None and not record.notes:  # a collapse is noted
            places[cell.sparsity][cell.method][cell.seed] = value.value
    found = []
    for methods in places.values():
        seeds = sorted(set.intersection(*(set(values) for values in methods.values())))
        found.append([[values[seed] for seed in seeds] for values in methods.values()])
    return found
