"""The engine for this machine: long-lived worker processes that walk the plan.

A worker that dies costs its own step one of three tries and is replaced; a step that raises is failed, and
what depends on it is blocked, while the rest goes on. The order is that of the schedule.
"""

from __future__ import annotations

import os
from itertools import chain

from prunery.errors import PruneryError
from prunery.lab.engines.attempt import WORK, Work, dotted
from prunery.lab.engines.outcome import Outcome, Progress
from prunery.lab.engines.pool import Pool
from prunery.lab.engines.walk import Walk
from prunery.lab.plan import Plan
from prunery.lab.store import Store

_WAIT_SECONDS = 0.2


def run(
    plan: Plan,
    store: Store,
    *,
    workers: int | None = None,
    progress: Progress | None = None,
    work: str | Work = WORK,
    step_timeout: float | None = None,
) -> Outcome:
    """Do all steps of the plan that the store does not have; return what became of each.

    workers: processes; one per core for None. work: the function that does a step, or its
    `package.module:name`. step_timeout: seconds after which a step is ended and counts as failed. Ctrl-C
    stops the workers and returns an interrupted outcome; what is done stays done.
    """
    many = cores() if workers is None else workers
    if many < 1:
        raise PruneryError(f"{many} workers", "somebody must do the work", "give at least 1")
    if step_timeout is not None and not step_timeout > 0:
        raise PruneryError(f"a step timeout of {step_timeout:g} s", "no step is as fast", "give more seconds")
    with Walk(plan, store, progress) as walk:
        if walk.todo:
            with Pool(min(many, len(walk.todo)), work=dotted(work), store=store.root) as pool:
                _through(walk, pool, step_timeout)
    return walk.outcome()


def cores() -> int:
    """Return how many processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _through(walk: Walk, pool: Pool, limit: float | None) -> None:
    """Go on until nothing is running and nothing can be; no step takes longer than the limit."""
    while walk.active:
        for worker in pool.free():
            step = walk.take(worker.last)
            if step is not None:
                worker.give(step)
        stopped = () if limit is None else pool.stopped(limit)
        for worker, answer in chain(pool.answers(_WAIT_SECONDS), stopped):
            step = worker.step
            if answer["is"] != "running":
                worker.ended(answer)
            if step is not None:
                walk.hear(step, answer)
        pool.refill()
        walk.progress.tick()
