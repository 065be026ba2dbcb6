"""One run's way through a plan: the schedule, joined to the store and to the progress.

An engine asks it which step comes next and tells it what became of each; it knows nothing of how steps are
done.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from prunery.errors import StoreError
from prunery.lab.engines.attempt import reporter
from prunery.lab.engines.outcome import Outcome, Progress, Silent
from prunery.lab.engines.schedule import Schedule
from prunery.lab.failure import Failure
from prunery.lab.plan import Plan, Step
from prunery.lab.store import Store

_ASK_SECONDS = 0.5  # before asking again for a step that another run does
_REPORT_SECONDS = 0.2  # progress more often than that is not told


class Walk:
    """A run through the steps that a store does not have; a context manager in which Ctrl-C ends the run."""

    def __init__(self, plan: Plan, store: Store, progress: Progress | None = None) -> None:
        self.plan, self.store, self.progress = plan, store, progress or Silent()
        self.todo: dict[str, Step] = {key: step for key, step in plan.steps.items() if not store.has(key)}
        self._schedule = Schedule(self.todo)
        self._taken: dict[str, Step] = {}
        self._done: list[str] = []
        self._there: set[str] = set()  # that other runs did meanwhile
        self._failed: dict[str, Failure] = {}
        self._interrupted = False
        self._began = self._ended = 0.0

    def __enter__(self) -> Walk:
        self._began = time.monotonic()
        self.progress.begin(self.plan, self.todo)
        return self

    def __exit__(self, kind: type[BaseException] | None, *raised: object) -> bool:
        self._interrupted = kind is not None and issubclass(kind, KeyboardInterrupt)
        if self._interrupted:
            self._note_unheard()
        self.progress.end()
        with suppress(OSError):  # another run looks at the same folders
            self.store.sweep()
        self._ended = time.monotonic()
        return self._interrupted

    @property
    def active(self) -> bool:
        """Whether something runs or can still be done."""
        return self._schedule.active

    def take(self, last: str = "") -> Step | None:
        """Return the step to do next, which counts as running from now on, or None if none can be done now.

        last: the step that the worker who asks did last.
        """
        self._schedule.wake(time.monotonic())
        step = self._schedule.take(last)
        if step is not None:
            self._taken[step.key] = step
            self.progress.started(step)
        return step

    def hear(self, step: Step, answer: Mapping[str, Any]) -> None:
        """Note what became of a step that was taken, or how far it is: an answer as `attempt` gives it."""
        what = answer["is"]
        if what == "running":
            self.progress.advanced(step, answer["epochs"])
        elif what in ("done", "there"):
            self._schedule.finish(step.key)
            if what == "done":
                self._done.append(step.key)
            else:
                self._there.add(step.key)
            self.progress.finished(step)
        elif what == "busy":
            self._taken.pop(step.key, None)
            self._schedule.postpone(step.key, time.monotonic() + _ASK_SECONDS)
            self.progress.postponed(step)
        else:
            self._lose(step, answer)

    def reporter(self, step: Step) -> Callable[[float], None]:
        """Return what an `attempt` in this process is given as `report`, to say how far the step is."""
        return reporter(lambda answer: self.hear(step, answer), _REPORT_SECONDS)

    def outcome(self) -> Outcome:
        """Return what became of each step, once the run is over."""
        over = {*self._done, *self._there, *self._failed}
        left = tuple(key for key in self.todo if key not in over)
        return Outcome(
            cached=tuple(key for key in self.plan.steps if key not in self.todo or key in self._there),
            done=tuple(self._done),
            failed=self._failed,
            blocked=() if self._interrupted else left,
            interrupted=self._interrupted,
            seconds=self._ended - self._began,
        )

    def _note_unheard(self) -> None:
        """Note the steps that were done before they were stopped, though their answer came too late."""
        heard = {*self._done, *self._there}
        for key, step in self._taken.items():
            with suppress(StoreError):  # an altered record: the next run says it
                if key not in heard and self.store.has(key):
                    self.hear(step, {"is": "done"})

    def _lose(self, step: Step, answer: Mapping[str, Any]) -> None:
        """A step raised, or its worker died: the first is final, the second may be tried again."""
        died = answer["is"] == "dead"
        final = self._schedule.lose(step.key, died=died)
        tries = self._schedule.tries(step.key)
        times = f" {tries} times" if tries > 1 else ""
        reason = f"its worker died{times}: {answer['reason']}" if died else answer["reason"]
        if final:
            failure = Failure(step.key, step.kind, reason, answer.get("trace", ""), tries)
            self._failed[step.key] = failure
            with suppress(OSError):  # a disk that takes nothing more: the outcome says it
                self.store.fail(failure)
                self.store.tidy(step.key)
        self.progress.failed(step, reason, final=final)
