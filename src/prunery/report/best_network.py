"""The pruned network that is worth keeping: as sparse as it can be at hardly less accuracy, by validation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prunery.errors import ChoiceError, StoreError
from prunery.registry import nearest
from prunery.report.results.groups import absent, arms
from prunery.report.results.study import Loaded
from prunery.report.text import formats

SPLIT = "validation_top1"


def best(study: Loaded, *, within: float, method: str | None = None) -> Mapping[str, Any]:
    """Return the row of the done cell with the fewest weights left, at most `within` points below dense.

    By top-1 on validation, where dense is that of the same seed; weights are of the whole network, whatever a
    method leaves out. Of equally small cells the more accurate one, then the lower seed. The test split has
    no part in it. ChoiceError: no such method. StoreError: nothing is close enough, or nothing was set aside
    for validation.
    """
    methods = arms(study.groups, "pruned")
    if method is not None and method not in methods:
        problem = f"it is not in study {study.name}{nearest(method, methods)}"
        raise ChoiceError(f"the method {method!r}", problem, f"choose one of: {', '.join(methods)}")
    rows = [{str(k): v for k, v in row.items()} for row in study.frame.to_dict("records")]
    measured = [row for row in rows if row["status"] == "done" and not absent(row[SPLIT])]
    dense = {row["key"]: row[SPLIT] for row in measured if row["role"] == "dense"}
    done = [
        row
        for row in measured
        if row["role"] == "pruned" and method in (None, row["method"]) and row["dense_key"] in dense
    ]
    if not done:
        problem = "no pruned cell of it is done with an accuracy on validation beside dense"
        do = "run the study to its end, with a validation part"
        raise StoreError(f"the best network of study {study.name}", problem, do)
    near = [row for row in done if lost(row, dense) <= within]
    if not near:
        row = min(done, key=lambda row: lost(row, dense))
        raise StoreError(
            f"a network of study {study.name} within {within:g} points of dense on validation",
            f"the nearest is {_name(row)}, {lost(row, dense):.2f} points below",
            f"ask for --within {lost(row, dense) + 0.005:.2f} or more",
        )
    return min(near, key=lambda row: (row["params_kept"] / row["params_dense"], -row[SPLIT], row["seed"]))


def lost(row: Mapping[str, Any], dense: Mapping[str, float]) -> float:
    """Return how many points of validation top-1 the cell is below its dense network."""
    return float(dense[row["dense_key"]] - row[SPLIT])


def description(row: Mapping[str, Any], study: Loaded) -> str:
    """Return the cell in words, with its accuracies and those of its dense network."""
    dense = study.frame[study.frame["key"] == row["dense_key"]].iloc[0]
    pairs = ((split, row[f"{split}_top1"], dense[f"{split}_top1"]) for split in ("validation", "test"))
    accuracies = ", ".join(
        f"{split} {accuracy:.2f} % (dense {before:.2f} %)" for split, accuracy, before in pairs
    )
    return f"{_name(row)} ({row['key']}): top-1 {accuracies}"


def _name(row: Mapping[str, Any]) -> str:
    return f"{row['method']} at {formats.percent(row['sparsity_requested'])}, seed {row['seed']}"
