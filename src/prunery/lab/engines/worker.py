"""One worker process: reads steps as JSON lines from its input, does them, answers in JSON lines.

It dies with its parent, however the parent dies: the kernel closes the input, and a thread that waits for
that ends the process on the spot. Nothing is lost by it, for a step's folder appears by one rename.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import queue
import shutil
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TextIO

from prunery.errors import PruneryError
from prunery.lab.plan import Step
from prunery.lab.record import Record
from prunery.lab.store import Store

Work = Callable[..., Record]
_SECONDS_BETWEEN = 0.2  # progress more often than that is not told
_TRACE_LINES = 25


def main() -> None:
    """Serve until the input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    answers = _answers()
    orders: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(orders,), daemon=True).start()
    first = orders.get()
    store = Store(first["store"], create=False)
    try:
        work = resolved(first["work"])
    except Exception as error:
        _say(answers, {"broken": _reason(error), "trace": _trace()})
        return
    _say(answers, {"ready": os.getpid()})
    while True:
        order = orders.get()
        step = Step(order["key"], order["kind"], order["args"], tuple(order["parents"]))
        _say(answers, {**done(step, store, work, answers), "key": step.key})


def done(step: Step, store: Store, work: Work, answers: TextIO) -> dict[str, Any]:
    """The answer after doing the step: done, busy (another process has it) or failed."""
    claim = store.claim(step.key)
    if claim is None:
        return {"is": "busy"}
    with claim:
        if store.has(step.key):
            return {"is": "done"}
        scratch = store.scratch(step.key)
        try:
            record = work(step, store, scratch, report_progress=_reporter(answers, step.key))
            store.commit(record, scratch)
        except Exception as error:
            shutil.rmtree(scratch, ignore_errors=True)
            return {"is": "failed", "reason": _reason(error), "trace": _trace()}
    return {"is": "done"}


def resolved(dotted: str) -> Work:
    """The function that `package.module:name` names."""
    module, _, name = dotted.partition(":")
    found = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    assert callable(found)
    return found


def _answers() -> TextIO:
    """The pipe to the parent; what anything else prints goes to the error output instead."""
    answers = os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8")
    sys.stdout.flush()
    os.dup2(2, 1)
    return answers


def _listen(orders: queue.SimpleQueue[dict[str, Any]]) -> None:
    for line in sys.stdin:
        orders.put(json.loads(line))
    os._exit(0)


def _reporter(answers: TextIO, key: str) -> Callable[[float], None]:
    last = 0.0

    def report(epochs: float) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= _SECONDS_BETWEEN:
            last = now
            _say(answers, {"is": "running", "key": key, "epochs": epochs})

    return report


def _say(answers: TextIO, message: Mapping[str, Any]) -> None:
    with contextlib.suppress(BrokenPipeError):  # the parent is gone, and so are we in a moment
        answers.write(json.dumps(message) + "\n")
        answers.flush()


def _reason(error: Exception) -> str:
    text = str(error) if isinstance(error, PruneryError) else f"{type(error).__name__}: {error}"
    return " ".join(text.split()) or type(error).__name__


def _trace() -> str:
    lines = traceback.format_exc().replace(str(Path.home()), "~").splitlines()
    return "\n".join(lines[-_TRACE_LINES:])


if __name__ == "__main__":
    main()
