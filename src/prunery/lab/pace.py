"""How fast a run's steps go, and so how long the rest will take."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass

from prunery.lab.estimate import alike
from prunery.lab.step import Step

Group = tuple[str, ...]
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

    def __init__(self, todo: Collection[Step]) -> None:
        self._groups = {step.key: alike(step) for step in todo}
        self._left: dict[Group, float] = defaultdict(float)  # epochs of steps that are not finished
        for step in todo:
            self._left[self._groups[step.key]] += step.weight
        self._steps = len(self._groups)
        self._seen: dict[Group, tuple[float, float]] = {}  # seconds and epochs of those that are
        self._running: dict[str, _Running] = {}
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
        group = self._groups[step.key]
        if (running := self._running.pop(step.key, None)) is not None:
            running.epochs = step.weight
            self._seen[group] = _plus(self._seen.get(group, (0.0, 0.0)), running.seen(now))
        self._left[group] -= step.weight
        self._steps -= 1

    def dropped(self, step: Step) -> None:
        """The step failed, or another run has it."""
        self._running.pop(step.key, None)

    @property
    def running(self) -> dict[str, float]:
        """The steps that run, by key, with the epochs behind each."""
        return {key: running.epochs for key, running in self._running.items()}

    def seconds_left(self, now: float) -> float | None:
        """What is left to do, over the workers; None where too little was seen to tell."""
        seen, left = dict(self._seen), dict(self._left)
        for key, running in self._running.items():
            group = self._groups[key]
            left[group] -= running.epochs
            if running.first is not None:  # of a step that does not train nothing is known until its end
                seen[group] = _plus(seen.get(group, (0.0, 0.0)), running.seen(now))
        seconds, epochs = (sum(pair[i] for pair in seen.values()) for i in (0, 1))
        if seconds < ENOUGH or not epochs:
            return None
        usual = seconds / epochs  # for steps like which none was seen
        rate = {group: took / did for group, (took, did) in seen.items() if did}
        work = sum(weight * rate.get(group, usual) for group, weight in left.items())
        return work / max(1, min(self._workers, self._steps))


def _plus(a: tuple[float, float], b: tuple[float, float]) -> tuple[float, float]:
    return a[0] + b[0], a[1] + b[1]
