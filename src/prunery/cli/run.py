"""The command `run`: do the steps of a study."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from prunery.cli.options import (
    STORE,
    AddressOption,
    DataOption,
    EngineOption,
    SanityOption,
    ScaleOption,
    SetOption,
    SpecArgument,
    StoreOption,
    TimeoutOption,
    WorkersOption,
    console,
    load_specs,
    say_error,
)
from prunery.errors import INTERRUPTED, PruneryError

if TYPE_CHECKING:
    from rich.console import Console

    from prunery.cli.prepared import Prepared, Where
    from prunery.lab.engines.outcome import Outcome
    from prunery.lab.plan import Plan
    from prunery.lab.spec import Spec
    from prunery.lab.store import Store


YesOption = Annotated[
    bool, typer.Option("--yes", help="Do not ask before a run of more than an hour or 5 GB.")
]
_NAMED = 10  # steps that are named among those that could not be done


def run(
    spec: SpecArgument,
    overrides: SetOption = None,
    scale: ScaleOption = None,
    sanity: SanityOption = False,
    workers: WorkersOption = None,
    engine: EngineOption = "local",
    address: AddressOption = None,
    store: StoreOption = STORE,
    data_dir: DataOption = None,
    step_timeout: TimeoutOption = None,
    yes: YesOption = False,
) -> int:
    """Run a study: do every step that the store does not have yet. Run it again to go on.

    What takes more than an hour or 5 GB asks first; off a terminal, it needs --yes.
    """
    from prunery.cli.expected import agreed
    from prunery.cli.prepared import Where, prepared
    from prunery.lab.engines.engine import engine_named

    out, doing = console(), engine_named(engine, address=address, step_timeout=step_timeout)
    arms = ("sanity=[shuffle, reinit, invert]",) if sanity else ()
    where = Where(store, workers, data_dir, step_timeout, doing)
    specs = load_specs(spec, (*(overrides or ()), *arms), scale=scale)
    studies = [prepared(part, where, out, timed=not yes) for part in specs]
    estimates = [study.estimate for study in studies if study.estimate is not None]
    if not yes and not agreed(spec, estimates, where.at_once or 1, out):
        return 1
    done = 0
    for study in studies:
        if len(studies) > 1:
            out.print(f"study {study.spec.name}", markup=False, highlight=False)
        ended = execute(study, where, out)
        if ended == INTERRUPTED:
            return ended
        done = max(done, ended)
    if done == 0:
        out.print(f"see it: prunery report {store} -o report", markup=False, highlight=False)
    return done


def execute(study: Prepared, where: Where, out: Console) -> int:
    """Run a study that was checked; return the exit status: 0 done, 1 something failed, 130 stopped."""
    from prunery.lab.engines import local
    from prunery.lab.pretrained import keep
    from prunery.lab.progress import Shown
    from prunery.lab.spec import plain
    from prunery.lab.store import Store

    spec, store = study.spec, Store(where.store)  # made once nothing speaks against the study
    if spec.task.weights is not None:
        keep(store, spec.task.weights)
    _tell_replaced(spec, study.plan, store, out)
    store.save_study(spec.name, plain(spec))
    engine = where.engine or local.run
    outcome = engine(study.plan, store, workers=where.at_once, progress=Shown(out))
    _tell(outcome, study.plan, store, out)
    return INTERRUPTED if outcome.interrupted else int(not outcome.complete)


def _tell_replaced(spec: Spec, planned: Plan, store: Store, out: Console) -> None:
    """That an earlier study of this name had finished cells that this one has not, if so."""
    from prunery.lab.plan import plan
    from prunery.lab.spec import from_plain

    if spec.name not in store.studies():
        return
    now = {cell.key for cell in planned.cells}
    try:
        before = plan(from_plain(store.study(spec.name))).cells
    except PruneryError:  # it names a row of a user's own that is not there any more
        return
    gone = [cell for cell in before if cell.key not in now and store.has(cell.key)]
    if gone:
        left = f"{len(gone)} finished cells of the study {spec.name} as it was"
        how = f"so will its reports. To keep both, run this one with --set name={spec.name}-2"
        out.print(f"note: this spec leaves out {left}, and {how}", markup=False, highlight=False)


def _tell(outcome: Outcome, plan: Plan, store: Store, out: Console) -> None:
    """What was done, what failed and why, what could not be done because of it."""
    from prunery.lab.progress import duration, labels

    named = labels(plan)
    say = [f"{len(outcome.done)} steps done, {len(outcome.cached)} were there, {duration(outcome.seconds)}"]
    wrong = [
        f"failed: {named[key]}: {failure.reason} (prunery why {key} --store {store.root})"
        for key, failure in outcome.failed.items()
    ]
    blocked = [named[key] for key in outcome.blocked]
    wrong += [f"not done, because a step before it failed: {name}" for name in blocked[:_NAMED]]
    if len(blocked) > _NAMED:
        wrong.append(f"... and {len(blocked) - _NAMED} more")
    for line in wrong:
        say_error(line)
    if outcome.interrupted:
        say.append("stopped; what is done is kept: run the same command to go on")
    elif outcome.failed:
        say.append("run the same command to try the failed steps again")
    out.print("\n".join(say), markup=False, highlight=False)
