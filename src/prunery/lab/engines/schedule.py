"""What of a plan can be done next, and what became of each step; knows no processes, no store and no clock.

A step is ready as soon as its parents are done. Among those that are, the one with the longest way still to
go comes first (so dense training does), except that a short step goes at once to the worker that just did
its parent. A step that raises is given up, one whose worker died is tried three times, and what depends on a
step that was given up is never ready.

Everything takes time in proportion to the steps and their parents (times a logarithm, for the order).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from heapq import heappop, heappush

from prunery.lab.plan import Step

TRIES = 3
"""How many workers may die of a step before it is given up."""
_AT_HAND = 0.25  # what it is worth, in epochs, that a worker just did the parent


def longest_ways(steps: Mapping[str, Step]) -> dict[str, float]:
    """Return the epochs on the longest way from each step to an end, itself included; parents come first."""
    longest = dict.fromkeys(steps, 0.0)
    for key, step in reversed(list(steps.items())):
        longest[key] += step.weight
        for parent in step.parents:
            if parent in longest:
                longest[parent] = max(longest[parent], longest[key])
    return longest


class Schedule:
    """The steps that are to be done, parents first; a parent that is not among them counts as done."""

    def __init__(self, todo: Mapping[str, Step]) -> None:
        self._todo = todo
        ways = longest_ways(todo)
        self._order = {key: (-ways[key], place) for place, key in enumerate(todo)}  # the least comes first
        self._missing: dict[str, int] = {}  # per step, how many parents are not done
        self._children: dict[str, list[str]] = defaultdict(list)
        self._ready: set[str] = set()
        self._running: set[str] = set()
        self._later: dict[str, float] = {}  # another run does these: when to ask again
        self._tries: Counter[str] = Counter()
        self._again: set[str] = set()  # that came back once: these are at hand for no worker
        # Of both heaps an entry counts only while its step is ready: nothing is searched for and taken out.
        self._queue: list[tuple[float, int, str]] = []
        self._below: dict[str, list[tuple[bool, float, int, str]]] = defaultdict(list)  # by parent
        self._begin()

    def take(self, last: str = "") -> Step | None:
        """Return the step to do next, which runs from now on, or None if none is ready.

        last: the step that the worker who asks did last.
        """
        key = self._best(last)
        if key is None:
            return None
        if self._queue[0][-1] == key:
            heappop(self._queue)
        self._ready.discard(key)
        self._running.add(key)
        return self._todo[key]

    def finish(self, key: str) -> None:
        """Note that a step is done: its children may be ready now."""
        self._running.discard(key)
        for child in self._children.pop(key, ()):
            self._missing[child] -= 1
            if not self._missing[child]:
                self._first_ready(child)

    def postpone(self, key: str, until: float) -> None:
        """Note that another run does a step: it is ready again at `until`, by the caller's clock."""
        self._running.discard(key)
        self._later[key] = until

    def wake(self, now: float) -> None:
        """Make the postponed steps ready whose time has come."""
        for key in [key for key, until in self._later.items() if until <= now]:
            del self._later[key]
            self._comes_back(key)

    def lose(self, key: str, *, died: bool) -> bool:
        """Return whether a step that went wrong is given up.

        died: its worker did, and it is ready again if that happened fewer than `TRIES` times; otherwise it
        raised, which it would do again.
        """
        self._running.discard(key)
        self._tries[key] += 1
        if died and self._tries[key] < TRIES:
            self._comes_back(key)
            return False
        return True

    def tries(self, key: str) -> int:
        """Return how many times a step went wrong."""
        return self._tries[key]

    @property
    def active(self) -> bool:
        """Whether something runs, is ready or is postponed."""
        return bool(self._ready or self._running or self._later)

    def _begin(self) -> None:
        for key, step in self._todo.items():
            parents = {parent for parent in step.parents if parent in self._todo}
            self._missing[key] = len(parents)
            for parent in parents:
                self._children[parent].append(key)
            if not parents:
                self._first_ready(key)

    def _best(self, last: str) -> str | None:
        """The step that comes first for a worker that did `last`; between equals, the plan's order."""
        while self._queue and self._queue[0][-1] not in self._ready:
            heappop(self._queue)
        below = self._below.get(last, [])
        while below and (below[0][-1] not in self._ready or below[0][-1] in self._again):
            heappop(below)
        if not self._queue:
            return None
        way, place, key = self._queue[0]
        if below:
            long, way_below, place_below, child = below[0]
            if not long or (way_below - _AT_HAND, place_below) < (way, place):
                return child
        return key

    def _first_ready(self, key: str) -> None:
        self._is_ready(key)
        step = self._todo[key]
        for parent in {parent for parent in step.parents if parent in self._todo}:
            heappush(self._below[parent], (step.epochs > 0, *self._order[key], key))

    def _comes_back(self, key: str) -> None:
        self._again.add(key)
        self._is_ready(key)

    def _is_ready(self, key: str) -> None:
        self._ready.add(key)
        heappush(self._queue, (*self._order[key], key))
