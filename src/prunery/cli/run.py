"""The command `run`: do the steps of a study."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prunery.cli.options import (
    INTERRUPTED,
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
    cores,
    load_specs,
    say_error,
)
from prunery.errors import PruneryError

if TYPE_CHECKING:
    from rich.console import Console

    from prunery.lab.engines.outcome import Engine, Outcome
    from prunery.lab.plan import Plan
    from prunery.lab.spec import Spec
    from prunery.lab.store import Store


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
) -> int:
    """Run a study: do every step that the store does not have yet. Run it again to go on."""
    from prunery.lab.engines.engine import engine_named

    out, doing = console(), engine_named(engine, address=address, step_timeout=step_timeout)
    arms = ("sanity=[shuffle, reinit, invert]",) if sanity else ()
    done = 0
    for part in load_specs(spec, (*(overrides or ()), *arms), scale=scale):
        told: dict[str, Any] = {"workers": workers, "data_dir": data_dir, "step_timeout": step_timeout}
        ended = execute(part, store, **told, out=out, engine=doing)
        if ended == INTERRUPTED:
            return ended
        done = max(done, ended)
    if done == 0:
        out.print(f"see it: prunery report {store} -o report", markup=False, highlight=False)
    return done


def execute(
    spec: Spec,
    store_dir: str,
    *,
    workers: int | None,
    data_dir: str | None,
    out: Console,
    engine: Engine | None = None,
    step_timeout: float | None = None,
) -> int:
    """Run a study; return the exit status: 0 done, 1 something failed, 130 stopped.

    engine: what does the steps; worker processes on this machine for None. step_timeout: seconds that the
    checks before the run may take, where they run code of a user's own; the engine has a limit of its own.
    """
    from prunery.lab.engines import local
    from prunery.lab.plan import plan
    from prunery.lab.progress import Shown
    from prunery.lab.spec import plain
    from prunery.lab.store import Store

    planned = plan(spec)
    engine = engine or local.run
    if getattr(engine, "func", engine) == local.run:
        workers = workers or cores()
    known = Store(store_dir, create=False) if Store.is_at(store_dir) else None
    todo = [step for key, step in planned.steps.items() if known is None or not known.has(key)]
    if todo:
        epochs = sum(step.epochs for step in todo)
        begins = f"study {spec.name}: {len(todo)} of {len(planned.steps)} steps to do"
        at_once = f", {workers} workers" if workers else ""
        out.print(f"{begins}, {epochs} epochs{at_once}", markup=False, highlight=False)
        _check(spec, planned, known, data_dir=data_dir, seconds=step_timeout, out=out)
        if data_dir is not None:
            os.environ["PRUNERY_DATA"] = str(Path(data_dir).resolve())  # for the workers
    elif known is not None and planned.names_code:  # it may have changed
        _check(spec, planned, known, data_dir=data_dir, seconds=step_timeout, out=out, begun=True)
    store = known or Store(store_dir)  # made once nothing speaks against the study
    _tell_replaced(spec, planned, store, out)
    store.save_study(spec.name, plain(spec))
    outcome = engine(planned, store, workers=workers, progress=Shown(out))
    _tell(outcome, planned, store, out)
    return INTERRUPTED if outcome.interrupted else int(not outcome.complete)


def _check(
    spec: Spec,
    planned: Plan,
    known: Store | None,
    *,
    data_dir: str | None,
    seconds: float | None,
    out: Console,
    begun: bool = False,
) -> None:
    """Make the checks before a run; where they run code of a user's own, in a process that it may end."""
    if not planned.names_code:
        from prunery.lab.work import preflight

        preflight.check(spec, planned, known, data_dir=data_dir)
        return
    from prunery.lab.engines import apart
    from prunery.lab.spec import plain

    store = None if known is None else str(known.root)
    told = {"spec": plain(spec), "store": store, "data_dir": data_dir, "begun": begun}
    apart.call(
        "prunery.lab.work.preflight:check_plain",
        told,
        asked="checking the study before its run",
        seconds=seconds,
        say=lambda text: out.print(text, markup=False, highlight=False),
    )


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
