"""Python processes of our own that talk over pipes: how one is started, and how one ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

# A training step frees and wants the same large blocks over and over: glibc's malloc is told to keep them,
# instead of handing them back and having every page of them cleared again (half of a small network's time).
KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(1 << 32), "MALLOC_TRIM_THRESHOLD_": str(1 << 32)}


def started(module: str) -> tuple[subprocess.Popen[bytes], int, int]:
    """Return a process that runs a module of ours, the pipe of its orders and the pipe of its answers.

    Its standard input is empty, and it finds the modules that this process finds.
    """
    orders, send = os.pipe()
    read, answers = os.pipe()
    os.set_blocking(read, False)
    paths = os.pathsep.join(path or os.getcwd() for path in sys.path)
    try:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", module, str(orders), str(answers)],
            stdin=subprocess.DEVNULL,
            pass_fds=(orders, answers),
            env={**KEEP_MEMORY, **os.environ, "PYTHONPATH": paths},
        )
    finally:
        os.close(orders)
        os.close(answers)
    return process, send, read


def written(pipe: int, text: bytes) -> bool:
    """Return whether all of the text went into the pipe; not, where nobody is there to read it."""
    try:
        while text:
            text = text[os.write(pipe, text) :]
    except BrokenPipeError:
        return False
    return True


def ending(status: int) -> str:
    """Return how a process with that exit status ended, in words."""
    if status >= 0:
        return f"it ended with status {status}"
    name = signal.Signals(-status).name
    return f"it was killed ({name})" + ("; is memory short?" if name == "SIGKILL" else "")
