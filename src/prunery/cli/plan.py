"""The command `plan`: what a study will run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

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
from prunery.errors import PruneryError

if TYPE_CHECKING:
    from rich.console import Console

    from prunery.cli.expected import Expected
    from prunery.lab.estimate import Estimate, Rates, Trial
    from prunery.lab.plan import Plan
    from prunery.lab.spec import Spec
    from prunery.lab.step import Step
    from prunery.report.results.study import Source


_SECONDS = 2.5  # of a trial
KINDS = ("init", "train", "prune", "recover", "measure")

TimingOption = Annotated[
    bool | None,
    typer.Option(
        "--timing/--no-timing",
        help="Time a few training steps where the store has no records of such; by default, but not of a "
        "model or data set that is your own code.",
    ),
]


def plan(
    spec: SpecArgument,
    overrides: SetOption = None,
    scale: ScaleOption = None,
    store: StoreOption = STORE,
    workers: WorkersOption = None,
    timing: TimingOption = None,
) -> None:
    """Show what a study will run, what is shared, what is done already, and what it will take."""
    from prunery.cli.expected import rates_of
    from prunery.lab import budgets
    from prunery.lab.plan import plan as planned

    out, many, opened = console(), workers or cores(), _opened(store)
    rates = rates_of(opened, most=None)
    for loaded in load_specs(spec, overrides or (), scale=scale):
        steps = planned(loaded)
        cached = {key for key in steps.steps if opened is not None and opened.has(key)}
        _show_cells(loaded, steps, out)
        found, problem = _expected(steps, cached, rates, timing)
        _show_steps(found.estimate, out)
        told = [*_taken(loaded, steps, found, many), problem]
        for line in (*told, budgets.unequal(loaded), budgets.shown_by(loaded, opened)):
            print_text(out, line) if line else None
    if scale is None and (line := _at_full(spec, overrides or (), rates, many)):
        print_text(out, line)


def _opened(path: str) -> Source | None:
    from prunery.lab import archive
    from prunery.lab.store import Store

    return archive.opened(path) if Store.is_at(path) else None


def _show_cells(spec: Spec, plan: Plan, out: Console) -> None:
    """Show what is measured, and the methods."""
    from prunery.lab.plan import ARMS

    pruned = sum(cell.role == "pruned" for cell in plan.cells)
    controls = len(plan.cells) - pruned
    dense = sum(step.kind == "train" for step in plan.steps.values())
    print_text(out, f"study {spec.name}: {spec.task.model} on {spec.task.data}, seeds {list(spec.seeds)}")
    print_text(out, f"{pruned} pruned cells and {controls} controls, from {dense} dense trainings")
    if spec.arms:
        print_text(out, f"each method but random pruning also {', '.join(ARMS[arm] for arm in spec.arms)}")
    print_text(out, "")
    out.print(_methods_table(spec))


def _show_steps(estimated: Estimate, out: Console) -> None:
    from rich.table import Table

    table = Table("step", "all", "done", "to do", box=None, pad_edge=False)
    for kind in KINDS:
        all_, done = estimated.steps.get(kind, 0), estimated.cached.get(kind, 0)
        table.add_row(kind, str(all_), str(done), str(all_ - done))
    out.print(table)
    print_text(out, "")


def _expected(plan: Plan, cached: set[str], rates: Rates, timing: bool | None) -> tuple[Expected, str]:
    """Return what the plan will take, and why that is not known where no trial was made."""
    from prunery.cli.expected import expected, tried_apart

    problems = []

    def trial(steps: Sequence[Step]) -> Trial | None:
        if timing is None and any(":" in step.args[name] for step in steps for name in ("model", "data")):
            problems.append("hours are not known: plan runs your code only with --timing")
        elif timing is not False:
            try:
                return tried_apart(steps, seconds=_SECONDS)
            except PruneryError as error:
                problems.append(f"hours are not known: {error}")
        return None

    return expected(plan, cached, rates, trial), "".join(problems)


def _taken(spec: Spec, plan: Plan, found: Expected, workers: int) -> Iterator[str]:
    """Yield the lines that say epochs, the share of the controls, hours and bytes."""
    from prunery.cli.expected import in_words
    from prunery.lab.estimate import control_epochs

    estimated = found.estimate
    shared = estimated.unshared_epochs - estimated.epochs
    yield f"{estimated.epochs} epochs of training ({shared} more if nothing were shared)"
    yield f"{estimated.epochs_todo} epochs to do"
    if extra := control_epochs(spec, plan):
        share = f"{extra} of these epochs ({100 * extra / estimated.epochs:.0f} %)"
        how = "to leave them out: controls: [] in the spec, or --set controls=[]"
        yield f"only the controls ({', '.join(spec.controls)}) need {share}; {how}"
    if estimated.seconds is not None and estimated.steps != estimated.cached:
        yield f"about {in_words(estimated.seconds, estimated.bytes, workers)}, {found.source}"


def _at_full(source: str, overrides: Sequence[str], rates: Rates, workers: int) -> str | None:
    """Return what the study takes at its full scale; None for one without scales."""
    from prunery.lab.estimate import estimate
    from prunery.lab.plan import plan as planned
    from prunery.lab.progress import duration

    try:
        parts = [estimate(planned(part), (), rates) for part in load_specs(source, overrides, scale="full")]
    except PruneryError:  # it has no scales, or what is set has no place at full
        return None
    epochs, seconds = sum(part.epochs for part in parts), [part.seconds for part in parts]
    known = [each for each in seconds if each is not None]
    time = f", about {duration(sum(known) / workers)}" if len(known) == len(seconds) else ""
    return f"at --scale full: {epochs} epochs of training{time}"


def _methods_table(spec: Spec) -> Any:
    from rich.table import Table

    from prunery.lab import budgets

    columns = ("method", "prunes", "cuts", "epochs before", "epochs after", "epochs in all", "sparsities")
    table, epochs = Table(*columns, box=None, pad_edge=False), budgets.epochs_of(spec)
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
            budgets.ranged(epochs[method.name]),
            " ".join(f"{100 * s:.4g}%" for s in sparsities),
        )
    return table
