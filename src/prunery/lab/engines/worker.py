"""One worker process: reads steps as JSON lines from one pipe, does them, answers in JSON lines on another.

It dies with its parent, however the parent dies: the kernel closes the pipe of orders, and a thread that
waits for that ends the process on the spot. Nothing is lost by it, for a step's folder appears by one rename.
The standard input is empty: the work can neither read the orders nor wait for somebody to type. A process
that the work forks off holds neither pipe and no claim, so that a dead worker is seen to be dead.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import sys
import threading
from collections.abc import Mapping
from typing import Any, TextIO

from prunery.lab.engines.attempt import attempt, reason, reporter, resolved, trace
from prunery.lab.plan import Step
from prunery.lab.store import Store

_SECONDS_BETWEEN = 0.2  # progress more often than that is not told


def main(orders_pipe: int, answers_pipe: int) -> None:
    """Serve until there are no more orders."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    sys.stdout.flush()
    os.dup2(2, 1)  # what the work prints goes to the error output, for all to see
    _keep_to_this_process(orders_pipe, answers_pipe)
    answers = os.fdopen(answers_pipe, "w", buffering=1, encoding="utf-8")
    orders: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(orders_pipe, orders), daemon=True).start()
    first = orders.get()
    store = Store(first["store"], create=False)
    store.leave_claims_to_parent()
    try:
        work = resolved(first["work"])
    except Exception as error:
        _say(answers, {"is": "broken", "reason": reason(error), "trace": trace()})
        return
    _say(answers, {"is": "ready"})
    while True:
        order = orders.get()
        step = Step(order["key"], order["kind"], order["args"], tuple(order["parents"]))
        _say(
            answers,
            attempt(step, store, work=work, report=reporter(lambda m: _say(answers, m), _SECONDS_BETWEEN)),
        )


def _keep_to_this_process(*pipes: int) -> None:
    """Let neither programs that are started nor processes that are forked off hold the pipes."""
    for pipe in pipes:
        os.set_inheritable(pipe, False)

    def close() -> None:
        for pipe in pipes:
            with contextlib.suppress(OSError):
                os.close(pipe)

    os.register_at_fork(after_in_child=close)


def _listen(pipe: int, orders: queue.SimpleQueue[dict[str, Any]]) -> None:
    with contextlib.suppress(OSError), os.fdopen(pipe, encoding="utf-8", closefd=False) as lines:
        for line in lines:
            orders.put(json.loads(line))
    os._exit(0)


def _say(answers: TextIO, message: Mapping[str, Any]) -> None:
    try:
        answers.write(json.dumps(message) + "\n")
        answers.flush()
    except OSError:  # the parent is gone, or the work closed the pipe: what it did is in the store
        os._exit(1)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
