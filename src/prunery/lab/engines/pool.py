"""Long-lived worker processes that are told steps and answer; a dead one is noticed and can be replaced."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prunery.errors import PruneryError
from prunery.lab.engines.attempt import Answer
from prunery.lab.engines.process import ending, started, written
from prunery.lab.plan import Step

_STARTS = 6  # workers in a row that may die before they are ready
_END_SECONDS = 5.0  # that a worker has to end by itself
_LOOK_SECONDS = 0.2  # between looks whether a process is alive whose pipe somebody else may hold


@dataclass(eq=False)
class Worker:
    """A worker process, the step it is doing and the step it did last."""

    process: subprocess.Popen[bytes]
    orders: int
    answers: int
    ready: bool = False
    step: Step | None = None
    began: float = 0.0
    last: str = ""
    unread: bytes = field(default=b"", repr=False)

    def give(self, step: Step) -> None:
        """Tell the worker to do a step."""
        self.step, self.began = step, time.monotonic()
        self.send({"key": step.key, "kind": step.kind, "args": dict(step.args), "parents": step.parents})

    def ended(self, answer: Answer) -> None:
        """Note that the worker is no longer doing its step."""
        if self.step is not None and answer["is"] in ("done", "there"):
            self.last = self.step.key
        self.step = None

    def send(self, message: Mapping[str, Any]) -> None:
        """Write one line to the worker."""
        written(self.orders, json.dumps(message).encode() + b"\n")  # if it died, its answers say so next

    def read(self) -> Iterator[Answer]:
        """The answers that came in; `{"is": "dead"}` when the worker is gone."""
        gone = self.process.poll() is not None
        while True:
            try:
                data = os.read(self.answers, 1 << 16)
            except BlockingIOError:  # nothing more now, though somebody else may still hold the pipe
                break
            *lines, self.unread = (self.unread + data).split(b"\n")
            yield from (json.loads(line) for line in lines)
            gone = gone or not data
            if not (gone and data):
                break
        if gone:
            yield {"is": "dead", "reason": self._end()}

    def _end(self) -> str:
        """How the process ended; one that closed its pipe and goes on is ended here."""
        try:
            return ending(self.process.wait(timeout=_END_SECONDS))
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            return "it closed the pipe of its answers"

    def close(self) -> None:
        """Close the pipes; the worker ends at once when that of its orders is."""
        for pipe in (self.orders, self.answers):
            with contextlib.suppress(OSError):
                os.close(pipe)


class Pool:
    """Some workers at one store; a context manager that leaves no process behind."""

    def __init__(self, size: int, *, work: str, store: Path) -> None:
        self._first = {"work": work, "store": str(store.resolve())}
        self._selector = selectors.DefaultSelector()
        self._failed_starts = 0
        self._looked = time.monotonic()
        self.workers: list[Worker] = []
        self._size = size
        self.refill()

    def refill(self) -> None:
        """Start a worker for each that died."""
        while len(self.workers) < self._size:
            worker = _spawned()
            worker.send(self._first)
            self._selector.register(worker.answers, selectors.EVENT_READ, worker)
            self.workers.append(worker)

    def free(self) -> list[Worker]:
        """Return the workers that could do a step now."""
        return [worker for worker in self.workers if worker.ready and worker.step is None]

    def answers(self, seconds: float) -> Iterator[tuple[Worker, Answer]]:
        """What the workers say of steps within that time, each with its worker; dead ones leave the pool."""
        for worker in self._to_read(seconds):
            for answer in worker.read():
                if answer["is"] == "dead":
                    self._remove(worker)
                self._watch_start(worker, answer)
                if answer["is"] != "ready":
                    yield worker, answer

    def stopped(self, limit: float) -> Iterator[tuple[Worker, Answer]]:
        """Yield the workers whose step takes longer than `limit` seconds, which are ended, with an answer."""
        for worker in list(self.workers):
            if worker.step is not None and time.monotonic() - worker.began > limit:
                self._remove(worker)
                worker.process.kill()
                worker.process.wait()
                yield worker, {"is": "failed", "reason": f"it took longer than {limit:g} s (--step-timeout)"}

    def _to_read(self, seconds: float) -> list[Worker]:
        heard = [key.data for key, _ in self._selector.select(seconds)]
        now = time.monotonic()
        if now - self._looked < _LOOK_SECONDS:
            return heard
        self._looked = now
        return heard + [w for w in self.workers if w not in heard and w.process.poll() is not None]

    def _watch_start(self, worker: Worker, answer: Answer) -> None:
        if answer["is"] == "ready":
            worker.ready, self._failed_starts = True, 0
        elif answer["is"] == "broken":
            raise PruneryError("starting a worker", answer["reason"], f"correct this:\n{answer['trace']}")
        elif answer["is"] == "dead" and not worker.ready:
            self._failed_starts += 1
            if self._failed_starts >= _STARTS:
                found = f"{_STARTS} in a row died at once ({answer['reason']})"
                raise PruneryError("starting a worker", found, "look at what they printed; free some memory")

    def _remove(self, worker: Worker) -> None:
        self._selector.unregister(worker.answers)
        self.workers.remove(worker)
        worker.close()

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *raised: object) -> None:
        for worker in self.workers:
            worker.close()
        for worker in self.workers:
            try:
                worker.process.wait(timeout=_END_SECONDS)
            except subprocess.TimeoutExpired:
                worker.process.kill()
                worker.process.wait()
        self._selector.close()


def _spawned() -> Worker:
    return Worker(*started("prunery.lab.engines.worker"))
