"""One call in a process of its own, for code of a user's that may end, move or block the process it runs in.

What it raises comes back as an error of the library, and so does the way its process ended without an answer.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

from prunery import errors
from prunery.errors import PruneryError
from prunery.lab.engines.attempt import Answer, reason, resolved, trace
from prunery.lab.engines.process import ending, started, written

_LOOK_SECONDS = 0.2
QUIET_SECONDS = 600.0
"""After which somebody is told that nothing was heard."""
_END_SECONDS = 5.0


def call(
    function: str,
    told: Mapping[str, Any],
    *,
    asked: str,
    seconds: float | None = None,
    say: Callable[[str], object] = lambda text: None,
) -> None:
    """Call `package.module:name` with these keyword arguments (plain data) in a process of its own.

    Raises what it raises, where that is an error of the library; a PruneryError about `asked` for all else,
    and where it takes longer than `seconds`. `say` is told when it is quiet for ten minutes.
    """
    process, orders, answers = started(__name__)
    try:
        written(orders, json.dumps({"function": function, "told": dict(told)}).encode())
        os.close(orders)
        answer = _heard(process, answers, asked, seconds, say)
    finally:
        os.close(answers)
        if process.poll() is None:
            process.kill()
        status = process.wait()
    if answer is None:
        found = f"the process that ran your code gave no answer: {ending(status)}"
        raise PruneryError(asked, found, "look at what it printed, and at what your code does to its process")
    if answer["is"] == "refused":
        kind = getattr(errors, answer["type"], PruneryError)
        raise kind(*answer["parts"])
    if answer["is"] == "failed":
        raise PruneryError(asked, f"it raises {answer['reason']}", f"correct this:\n{answer['trace']}")


def _heard(
    process: Any, pipe: int, asked: str, seconds: float | None, say: Callable[[str], object]
) -> Answer | None:
    """Return the one answer, or None where the process ended without one."""
    began, told, text = time.monotonic(), 1, b""
    while not text.endswith(b"\n"):
        gone = process.poll() is not None  # looked at before the pipe is: what it said last is read
        while select.select([pipe], [], [], 0 if gone else _LOOK_SECONDS)[0]:
            data = os.read(pipe, 1 << 16)
            text, gone = text + data, gone or not data
            if not data or text.endswith(b"\n"):
                break
        if gone and not text.endswith(b"\n"):
            with contextlib.suppress(Exception):
                process.wait(_END_SECONDS)
            return None
        waited = time.monotonic() - began
        if seconds is not None and waited > seconds:
            raise PruneryError(asked, f"it took longer than {seconds:g} s", "allow it more: --step-timeout")
        if waited > told * QUIET_SECONDS:
            told += 1
            say(f"nothing moved for {waited / 60:.0f} min: {asked}")
    answer: Answer = json.loads(text)
    return answer


def main(orders: int, answers: int) -> None:
    """Do the one call, and say what became of it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    sys.stdout.flush()
    os.dup2(2, 1)  # what the call prints goes to the error output
    os.set_inheritable(answers, False)
    os.register_at_fork(after_in_child=lambda: os.close(answers))
    with os.fdopen(orders, encoding="utf-8") as lines:
        order = json.load(lines)
    try:
        resolved(order["function"])(**order["told"])
        answer: Answer = {"is": "done"}
    except PruneryError as error:
        answer = {
            "is": "refused",
            "type": type(error).__name__,
            "parts": [error.asked, error.found, error.do],
        }
    except (Exception, SystemExit) as error:
        answer = {"is": "failed", "reason": reason(error), "trace": trace()}
    with contextlib.suppress(OSError):  # the call closed the pipe: the parent sees that nothing was said
        written(answers, json.dumps(answer).encode() + b"\n")
        os._exit(0)
    os._exit(1)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
