"""How fast a run's steps go, and so how long the rest will take."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from prunery.lab.estimate import alike
from prunery.lab.step import Step

ENOUGH = 5.0
"""Seconds of work seen, before which no time left is told."""


@dataclass
class _Running:
    """A step that a worker does: since when it is watched, at which epoch that was, and where it is."""

    step: Step
    since: float
    first: float | None = None  # a resumed training begins at an epoch of its own, a fresh one near 0
    epochs: float = 0.0

    def seen(self, now: float) -> tuple[float, float]:
        """(seconds, epochs done in them)"""
        return now - self.since, self.epochs - (self.first or 0.0)


class Pace:
    """Seconds per epoch (or per step that does not train) of steps alike, seen in this run alone."""

    def __init__(self, todo: Iterable[Step]) -> None:
        self._left = {step.key: step for step in todo}
        self._running: dict[str, _Running] = {}
        self._ended: list[tuple[Step, float, float]] = []  # with seconds and epochs
        self._workers = 1

    def started(self, step: Step, now: float) -> None:
        """A worker began the step."""
        self._running[step.key] = _Running(step, now)
        self._workers = max(self._workers, len(self._running))

    def advanced(self, step: Step, epochs: float, now: float) -> None:
        """The step has that many epochs behind it."""
        running = self._running[step.key]
        if running.first is None:
            running.since, running.first = now, epochs
        running.epochs = epochs

    def finished(self, step: Step, now: float) -> None:
        """The step is done."""
        if (running := self._running.pop(step.key, None)) is not None:
            running.epochs = step.weight
            self._ended.append((step, *running.seen(now)))
        self._left.pop(step.key, None)

    def dropped(self, step: Step) -> None:
        """The step failed, or another run has it."""
        self._running.pop(step.key, None)

    @property
    def running(self) -> dict[str, float]:
        """The steps that run, by key, with the epochs behind each."""
        return {key: running.epochs for key, running in self._running.items()}

    def seconds_left(self, now: float) -> float | None:
        """What is left to do, over the workers; None where too little was seen to tell."""
        seconds: dict[tuple[str, ...] | None, float] = defaultdict(float)
        weight: dict[tuple[str, ...] | None, float] = defaultdict(float)
        for step, took, did in self._seen(now):
            for group in (alike(step), None):  # None: all together, for steps like which none was seen
                seconds[group] += took
                weight[group] += did
        if seconds[None] < ENOUGH or not weight[None]:
            return None
        rate = {group: seconds[group] / weight[group] for group in weight if weight[group]}
        epochs = self.running
        work = sum(
            (step.weight - epochs.get(key, 0.0)) * rate.get(alike(step), rate[None])
            for key, step in self._left.items()
        )
        return work / max(1, min(self._workers, len(self._left)))

    def _seen(self, now: float) -> Iterator[tuple[Step, float, float]]:
        yield from self._ended
        for running in self._running.values():
            if running.first is not None:  # of a step that does not train nothing is known until its end
                yield running.step, *running.seen(now)
