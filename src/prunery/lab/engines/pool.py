"""Long-lived worker processes that are told steps and answer; a dead one is noticed and can be replaced."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prunery.errors import PruneryError
from prunery.lab.plan import Step

_STARTS = 6  # workers in a row that may die before they are ready


@dataclass(eq=False)
class Worker:
    """A worker process, the step it is doing and the step it did last."""

    process: subprocess.Popen[bytes]
    ready: bool = False
    step: Step | None = None
    last: str = ""
    unread: bytes = field(default=b"", repr=False)

    def give(self, step: Step) -> None:
        """Tell the worker to do a step."""
        self.step = step
        self._send({"key": step.key, "kind": step.kind, "args": dict(step.args), "parents": step.parents})

    def _send(self, message: dict[str, Any]) -> None:
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it died; its output says so next
            self.process.stdin.write(json.dumps(message).encode() + b"\n")
            self.process.stdin.flush()

    def read(self) -> Iterator[dict[str, Any]]:
        """The messages that came in; `{"is": "dead"}` when the worker is gone."""
        assert self.process.stdout is not None
        data = os.read(self.process.stdout.fileno(), 1 << 16)
        *lines, self.unread = (self.unread + data).split(b"\n")
        yield from (json.loads(line) for line in lines)
        if not data:
            yield {"is": "dead", "reason": _ending(self.process.wait())}


class Pool:
    """Some workers at one store; a context manager that leaves no process behind."""

    def __init__(self, size: int, *, work: str, store: Path) -> None:
        self._first = {"work": work, "store": str(store.resolve())}
        self._selector = selectors.DefaultSelector()
        self._failed_starts = 0
        self.workers: list[Worker] = []
        self._size = size
        self.refill()

    def refill(self) -> None:
        """Start a worker for each that died."""
        while len(self.workers) < self._size:
            self._start()

    def _start(self) -> None:
        worker = Worker(_spawned())
        worker._send(self._first)
        assert worker.process.stdout is not None
        self._selector.register(worker.process.stdout, selectors.EVENT_READ, worker)
        self.workers.append(worker)

    def messages(self, seconds: float) -> Iterator[tuple[Worker, dict[str, Any]]]:
        """What the workers say within that time, each with its worker; dead ones leave the pool."""
        for chosen, _ in self._selector.select(seconds):
            worker: Worker = chosen.data
            for message in worker.read():
                if message.get("is") == "dead":
                    self._remove(worker)
                self._watch_start(worker, message)
                yield worker, message

    def _watch_start(self, worker: Worker, message: dict[str, Any]) -> None:
        if "ready" in message:
            worker.ready, self._failed_starts = True, 0
        elif "broken" in message:
            raise PruneryError("starting a worker", message["broken"], f"correct this:\n{message['trace']}")
        elif message["is"] == "dead" and not worker.ready:
            self._failed_starts += 1
            if self._failed_starts >= _STARTS:
                found = f"{_STARTS} in a row died at once ({message['reason']})"
                raise PruneryError("starting a worker", found, "look at what they printed; free some memory")

    def _remove(self, worker: Worker) -> None:
        assert worker.process.stdout is not None
        self._selector.unregister(worker.process.stdout)
        self.workers.remove(worker)
        _closed(worker)

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *raised: object) -> None:
        for worker in self.workers:
            assert worker.process.stdin is not None
            with contextlib.suppress(BrokenPipeError):
                worker.process.stdin.close()  # it ends at once when its input does
        for worker in self.workers:
            try:
                worker.process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                worker.process.kill()
                worker.process.wait()
            _closed(worker)
        self._selector.close()


# A training step frees and wants the same large blocks over and over: glibc's malloc is told to keep them,
# instead of handing them back and having every page of them cleared again (half of a small network's time).
_KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(1 << 32), "MALLOC_TRIM_THRESHOLD_": str(1 << 32)}


def _spawned() -> subprocess.Popen[bytes]:
    paths = os.pathsep.join(path or os.getcwd() for path in sys.path)
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "prunery.lab.engines.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**_KEEP_MEMORY, **os.environ, "PYTHONPATH": paths},
    )


def _closed(worker: Worker) -> None:
    for pipe in (worker.process.stdin, worker.process.stdout):
        with contextlib.suppress(BrokenPipeError, OSError):
            assert pipe is not None
            pipe.close()


def _ending(status: int) -> str:
    if status >= 0:
        return f"it ended with status {status}"
    name = signal.Signals(-status).name
    return f"it was killed ({name})" + ("; is memory short?" if name == "SIGKILL" else "")
