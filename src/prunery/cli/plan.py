"""The command `plan`: what a study will run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prunery.cli.options import (
    STORE,
    ScaleOption,
    SetOption,
    SpecArgument,
    StoreOption,
    WorkersOption,
    console,
    cores,
    load_specs,
    print_text,
)

if TYPE_CHECKING:
    from rich.console import Console

    from prunery.lab.plan import Plan
    from prunery.lab.spec import Spec
    from prunery.report.results.study import Source


KINDS = ("init", "train", "prune", "recover", "measure")


def plan(
    spec: SpecArgument,
    overrides: SetOption = None,
    scale: ScaleOption = None,
    store: StoreOption = STORE,
    workers: WorkersOption = None,
) -> None:
    """Show what a study will run, what is shared and what is done already. Computes nothing."""
    from prunery.lab.plan import plan as planned

    for loaded in load_specs(spec, overrides or (), scale=scale):
        _show_plan(loaded, planned(loaded), _opened(store), workers or cores(), console())


def _opened(path: str) -> Source | None:
    from prunery.lab import archive
    from prunery.lab.store import Store

    return archive.opened(path) if Store.is_at(path) else None


def _show_plan(spec: Spec, plan: Plan, store: Source | None, workers: int, out: Console) -> None:
    from rich.table import Table

    from prunery.lab.estimate import estimate
    from prunery.lab.plan import ARMS
    from prunery.lab.progress import duration

    cached = {key for key in plan.steps if store is not None and store.has(key)}
    records = (store.record(key) for key in store.finished()) if store is not None else ()
    estimated = estimate(plan, cached, records)
    pruned = sum(cell.role == "pruned" for cell in plan.cells)
    print_text(out, f"study {spec.name}: {spec.task.model} on {spec.task.data}, seeds {list(spec.seeds)}")
    trained = estimated.steps.get("train", 0)
    controls = len(plan.cells) - pruned
    print_text(out, f"{pruned} pruned cells and {controls} controls, from {trained} dense trainings")
    if spec.arms:
        print_text(out, f"each method but random pruning also {', '.join(ARMS[arm] for arm in spec.arms)}")
    print_text(out, "")
    out.print(_methods_table(spec))
    table = Table("step", "all", "done", "to do", box=None, pad_edge=False)
    for kind in KINDS:
        all_, done = estimated.steps.get(kind, 0), estimated.cached.get(kind, 0)
        table.add_row(kind, str(all_), str(done), str(all_ - done))
    out.print(table)
    shared = estimated.unshared_epochs - estimated.epochs
    print_text(out, f"\n{estimated.epochs} epochs of training ({shared} more if nothing were shared)")
    print_text(out, f"{estimated.epochs_todo} epochs to do")
    if estimated.seconds is not None:
        print_text(
            out,
            f"about {duration(estimated.seconds / workers)} with {workers} workers, by the store's records",
        )


def _methods_table(spec: Spec) -> Any:
    from rich.table import Table

    table = Table(
        "method", "prunes", "cuts", "epochs before", "epochs after", "sparsities", box=None, pad_edge=False
    )
    for method in spec.compared:
        sparsities = spec.sparsities_of(method)
        cuts = max(len(method.levels(s)) for s in sparsities)
        trainings = (spec.training_during(method), *spec.trainings_of(method))
        after = sum(training.epochs for training in trainings if training is not None)
        times = f" × up to {cuts}" if method.bound_schedule().facts.get("between", False) else ""
        table.add_row(
            method.name,
            f"at {method.at}",
            str(cuts),
            "0" if method.at == "init" else str(spec.task.training.epochs),
            f"{after}{times}",
            " ".join(f"{100 * s:.4g}%" for s in sparsities),
        )
    return table
