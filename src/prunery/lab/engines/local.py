"""The engine for this machine: long-lived worker processes that walk the plan.

A worker that dies costs its own step one of three tries and is replaced; a step that raises is failed, and
what depends on it is blocked, while the rest goes on. The order is that of the schedule.
"""

from __future__ import annotations

import os

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
) -> Outcome:
    """Do all steps of the plan that the store does not have; return what became of each.

    workers: processes; one per core for None. work: the function that does a step, or its
    `package.module:name`. Ctrl-C stops the workers and returns an interrupted outcome; what is done stays
    done.
    """
    many = cores() if workers is None else workers
    if many < 1:
        raise PruneryError(f"{many} workers", "somebody must do the work", "give at least 1")
    with Walk(plan, store, progress) as walk:
        if walk.todo:
            with Pool(min(many, len(walk.todo)), work=dotted(work), store=store.root) as pool:
                _through(walk, pool)
    return walk.outcome()


def cores() -> int:
    """Return how many processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _through(walk: Walk, pool: Pool) -> None:
    """Go on until nothing is running and nothing can be."""
    while walk.active:
        for worker in pool.free():
            step = walk.take(worker.last)
            if step is not None:
                worker.give(step)
        for worker, answer in pool.answers(_WAIT_SECONDS):
            step = worker.step
            if answer["is"] != "running":
                worker.ended(answer)
            if step is not None:
                walk.hear(step, answer)
        pool.refill()
        walk.progress.tick()
