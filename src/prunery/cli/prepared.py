"""A study before it runs: planned, checked, and timed at a glance."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from prunery.cli.expected import answer, rates_of, told
from prunery.cli.options import cores, print_text
from prunery.lab.plan import Plan, Step, plan

if TYPE_CHECKING:
    from rich.console import Console

    from prunery.lab.engines.outcome import Engine
    from prunery.lab.estimate import Estimate, Trial
    from prunery.lab.spec import Spec
    from prunery.lab.store import Store

_GLANCE = 1.0  # seconds of a trial, at most: steps of small networks end it sooner


@dataclass(frozen=True)
class Where:
    """Where a study runs, and how.

    store: a folder. engine: what does the steps; worker processes on this machine for None. step_timeout:
    seconds that the checks before the run may take, where they run code of a user's own; the engine has a
    limit of its own.
    """

    store: str
    workers: int | None = None
    data_dir: str | None = None
    step_timeout: float | None = None
    engine: Engine | None = None

    @property
    def at_once(self) -> int | None:
        """Return the number of workers; None where the engine decides it."""
        from prunery.lab.engines import local

        here = self.engine is None or getattr(self.engine, "func", self.engine) == local.run
        return self.workers or cores() if here else self.workers


@dataclass(frozen=True)
class Prepared:
    """A study that was checked; estimate: what is left of it, where somebody asked for that."""

    spec: Spec
    plan: Plan
    estimate: Estimate | None = None


def prepared(spec: Spec, where: Where, out: Console, *, timed: bool) -> Prepared:
    """Return the study once it is checked, and say how much is to do.

    timed: whether to estimate how long it takes, by records or a short trial. PruneryError: it cannot run.
    """
    from prunery.lab.estimate import estimate
    from prunery.lab.store import Store

    planned = plan(spec)
    known = Store(where.store, create=False) if Store.is_at(where.store) else None
    todo = [step for key, step in planned.steps.items() if known is None or not known.has(key)]
    if not todo:
        if known is not None and planned.names_code:  # it may have changed
            _checked_apart(spec, known, where, (), out, begun=True)
        return Prepared(spec, planned)
    epochs = sum(step.epochs for step in todo)
    at_once = f", {where.at_once} workers" if where.at_once else ""
    begins = f"study {spec.name}: {len(todo)} of {len(planned.steps)} steps to do"
    print_text(out, f"{begins}, {epochs} epochs{at_once}")
    rates = rates_of(known if timed else None)
    unknown = rates.unknown(todo) if timed else []
    trial = _checked(spec, planned, known, where, (todo, unknown), out)
    if where.data_dir is not None:
        os.environ["PRUNERY_DATA"] = str(Path(where.data_dir).resolve())  # for the workers
    if trial is not None:
        rates.learn(unknown, trial)
    cached = planned.steps.keys() - {step.key for step in todo}
    return Prepared(spec, planned, estimate(planned, cached, rates) if timed else None)


def _checked(
    spec: Spec,
    planned: Plan,
    known: Store | None,
    where: Where,
    steps: tuple[Sequence[Step], Sequence[Step]],
    out: Console,
) -> Trial | None:
    """Make the checks before a run; return a trial, None where there is none.

    steps: those that are to do, and those among them that a trial is made of.
    """
    todo, unknown = steps
    if planned.names_code:
        return _checked_apart(spec, known, where, unknown, out)
    from prunery.lab.work import preflight
    from prunery.lab.work.trial import is_short, trial

    preflight.check(spec, planned, known, data_dir=where.data_dir)
    with suppress(Exception):  # the run itself will say what is wrong
        return trial(unknown, seconds=_GLANCE) if unknown and not is_short(todo) else None
    return None


def _checked_apart(
    spec: Spec,
    known: Store | None,
    where: Where,
    unknown: Sequence[Step],
    out: Console,
    *,
    begun: bool = False,
) -> Trial | None:
    """Do so in a process that code of a user's own may end; `begun`: check only that a store still stands."""
    from prunery.lab.engines import apart
    from prunery.lab.spec import plain

    with TemporaryDirectory() as folder:
        path = Path(folder) / "trial.json"
        asked: dict[str, Any] = {
            "spec": plain(spec),
            "store": None if known is None else str(known.root),
            "data_dir": where.data_dir,
            "begun": begun,
            "trial": told(unknown, path, _GLANCE) if unknown else None,
        }
        apart.call(
            "prunery.lab.work.preflight:check_plain",
            asked,
            asked="checking the study before its run",
            seconds=where.step_timeout,
            say=lambda text: print_text(out, text),
        )
        return answer(path)
