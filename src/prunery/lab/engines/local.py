"""The engine for this machine: long-lived worker processes that walk the plan.

A step is given out as soon as its parents are in the store. Among those, the one with the longest way still
to go comes first (so dense training does), except that a short step goes at once to the worker that just did
its parent. A worker that dies costs its own step one of three tries and is replaced; a step that raises is
failed, and what depends on it is blocked, while the rest goes on.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from prunery.errors import PruneryError
from prunery.lab.engines.outcome import Outcome, Progress, Silent
from prunery.lab.engines.pool import Pool, Worker
from prunery.lab.plan import Plan, Step
from prunery.lab.store import Failure, Store

WORK = "prunery.lab.work:work"
TRIES = 3
_AT_HAND = 0.25  # what it is worth, in epochs, that a worker just did the parent
_BUSY_SECONDS = 0.5  # before asking again for a step that another run has claimed
_WAIT_SECONDS = 0.2


def run(
    plan: Plan,
    store: Store,
    *,
    workers: int = 1,
    progress: Progress | None = None,
    work: str | Callable[..., Any] = WORK,
) -> Outcome:
    """What became of the plan's steps after doing all that the store does not have.

    work: the function that does a step, or its `package.module:name`. Ctrl-C stops the workers and returns
    an interrupted outcome; what is done stays done.
    """
    if workers < 1:
        raise PruneryError(f"{workers} workers", "somebody must do the work", "give at least 1")
    walk = _Walk(plan, store, progress or Silent())
    began = time.monotonic()
    walk.progress.begin(plan, walk.todo)
    interrupted = False
    try:
        if walk.todo:
            with Pool(min(workers, len(walk.todo)), work=_dotted(work), store=store.root) as pool:
                walk.through(pool)
    except KeyboardInterrupt:
        interrupted = True
    finally:
        walk.progress.end()
    return walk.outcome(interrupted=interrupted, seconds=time.monotonic() - began)


def ranks(steps: Mapping[str, Step]) -> dict[str, float]:
    """The epochs on the longest way from each step to an end, itself included; parents come first."""
    longest = dict.fromkeys(steps, 0.0)
    for key, step in reversed(list(steps.items())):
        longest[key] += step.weight
        for parent in step.parents:
            if parent in longest:
                longest[parent] = max(longest[parent], longest[key])
    return longest


@dataclass
class _Walk:
    """One run's way through the plan."""

    plan: Plan
    store: Store
    progress: Progress
    todo: dict[str, Step] = field(init=False)
    missing: dict[str, set[str]] = field(init=False)  # per step to do: parents not in the store yet
    ready: set[str] = field(init=False)
    rank: Mapping[str, float] = field(init=False)
    place: Mapping[str, int] = field(init=False)
    running: set[str] = field(default_factory=set)
    done: list[str] = field(default_factory=list)
    failed: dict[str, Failure] = field(default_factory=dict)
    tries: Counter[str] = field(default_factory=Counter)
    later: dict[str, float] = field(default_factory=dict)  # claimed by another run: when to ask again

    def __post_init__(self) -> None:
        self.todo = {key: step for key, step in self.plan.steps.items() if not self.store.has(key)}
        self.missing = {key: {p for p in step.parents if p in self.todo} for key, step in self.todo.items()}
        self.ready = {key for key, parents in self.missing.items() if not parents}
        self.rank = ranks(self.todo)
        self.place = {key: place for place, key in enumerate(self.todo)}

    def through(self, pool: Pool) -> None:
        """Go on until nothing is running and nothing can be."""
        while self.ready or self.running or self.later:
            self._give_out(pool)
            for worker, message in pool.messages(_WAIT_SECONDS):
                self._hear(worker, message)
            pool.refill()
            self.progress.tick()

    def outcome(self, *, interrupted: bool, seconds: float) -> Outcome:
        """What became of each step."""
        over = {*self.done, *self.failed}
        left = tuple(key for key in self.todo if key not in over)
        return Outcome(
            cached=tuple(key for key in self.plan.steps if key not in self.todo),
            done=tuple(self.done),
            failed=self.failed,
            blocked=() if interrupted else left,
            interrupted=interrupted,
            seconds=seconds,
        )

    def _give_out(self, pool: Pool) -> None:
        now = time.monotonic()
        for key in [key for key, when in self.later.items() if when <= now]:
            del self.later[key]
            self.ready.add(key)
        for worker in pool.workers:
            if worker.ready and worker.step is None and self.ready:
                step = self.todo[max(self.ready, key=lambda key: self._worth(key, worker.last))]
                self.ready.discard(step.key)
                self.running.add(step.key)
                self.progress.started(step)
                worker.give(step)

    def _worth(self, key: str, last: str) -> tuple[bool, float, int]:
        """What comes first for a worker that did `last`; between equals, the plan's order."""
        step = self.todo[key]
        at_hand = last in step.parents
        return at_hand and not step.epochs, self.rank[key] + _AT_HAND * at_hand, -self.place[key]

    def _hear(self, worker: Worker, message: Mapping[str, Any]) -> None:
        step, what = worker.step, message.get("is")
        if step is None or what is None:
            return
        if what == "running":
            self.progress.advanced(step, message["epochs"])
            return
        worker.step = None
        self.running.discard(step.key)
        if what == "done":
            worker.last = step.key
            self._finish(step)
        elif what == "busy":
            self.later[step.key] = time.monotonic() + _BUSY_SECONDS
            self.progress.postponed(step)
        else:
            self._lose(step, message)

    def _finish(self, step: Step) -> None:
        self.done.append(step.key)
        for key, parents in self.missing.items():
            if step.key in parents:
                parents.discard(step.key)
                if not parents:
                    self.ready.add(key)
        self.progress.finished(step)

    def _lose(self, step: Step, message: Mapping[str, Any]) -> None:
        """A step raised, or its worker died: the first is final, the second may be tried again."""
        self.tries[step.key] += 1
        died, tries = message["is"] == "dead", self.tries[step.key]
        final = not died or tries >= TRIES
        reason = f"its worker died {tries} times: {message['reason']}" if died else message["reason"]
        if final:
            failure = Failure(step.key, step.kind, reason, message.get("trace", ""), tries)
            self.failed[step.key] = failure
            self.store.fail(failure)
        else:
            self.ready.add(step.key)
        self.progress.failed(step, reason, final=final)


def _dotted(work: str | Callable[..., Any]) -> str:
    if isinstance(work, str):
        return work
    if "<" in work.__qualname__:
        raise PruneryError(f"work {work.__qualname__!r}", "workers cannot import it", "define it in a module")
    return f"{work.__module__}:{work.__qualname__}"
