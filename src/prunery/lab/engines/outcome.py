"""What every engine returns, and what it tells while it runs.

An engine is a function `run(plan, store, *, workers, progress) -> Outcome`. It does the steps that the store
does not have, parents first, each under a claim, committed by rename. Where and how is its own business:
`walk.Walk` says what is next, `attempt.attempt` does a step in the process that calls it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from prunery.lab.failure import Failure
from prunery.lab.plan import Plan, Step
from prunery.lab.store import Store


@dataclass(frozen=True)
class Outcome:
    """What became of each step, by key; seconds is the wall time of the run.

    cached: the store had it, or another run did it meanwhile. blocked: a step before it failed.
    """

    cached: tuple[str, ...] = ()
    done: tuple[str, ...] = ()
    failed: Mapping[str, Failure] = field(default_factory=dict)
    blocked: tuple[str, ...] = ()
    interrupted: bool = False
    seconds: float = 0.0

    @property
    def complete(self) -> bool:
        """Whether every step of the plan is in the store."""
        return not (self.failed or self.blocked or self.interrupted)


class Progress(Protocol):
    """Who is told how the run goes; all calls come from the engine's own process and thread."""

    def begin(self, plan: Plan, todo: Mapping[str, Step]) -> None:
        """The run begins; `todo` are the steps that the store does not have."""

    def started(self, step: Step) -> None:
        """A worker began a step (again, perhaps)."""

    def advanced(self, step: Step, epochs: float) -> None:
        """A running step has that many epochs behind it."""

    def finished(self, step: Step) -> None:
        """A step is in the store."""

    def failed(self, step: Step, reason: str, *, final: bool) -> None:
        """A step failed; it is tried again unless `final`."""

    def postponed(self, step: Step) -> None:
        """Another run is doing a step that was started; it is asked for again later."""

    def tick(self) -> None:
        """Some time went by."""

    def end(self) -> None:
        """The run is over."""


class Silent:
    """A Progress that says nothing."""

    def begin(self, plan: Plan, todo: Mapping[str, Step]) -> None:
        """Nothing."""

    def started(self, step: Step) -> None:
        """Nothing."""

    def advanced(self, step: Step, epochs: float) -> None:
        """Nothing."""

    def finished(self, step: Step) -> None:
        """Nothing."""

    def failed(self, step: Step, reason: str, *, final: bool) -> None:
        """Nothing."""

    def postponed(self, step: Step) -> None:
        """Nothing."""

    def tick(self) -> None:
        """Nothing."""

    def end(self) -> None:
        """Nothing."""


class Engine(Protocol):
    """What does the steps of a plan: a function with these parameters."""

    def __call__(
        self, plan: Plan, store: Store, *, workers: int | None, progress: Progress | None
    ) -> Outcome:
        """Do all steps that the store does not have; return what became of each.

        workers: how many steps at once; None for as many as there is room for.
        """
