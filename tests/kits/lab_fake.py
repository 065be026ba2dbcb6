"""Work that only pretends: no torch, a file per step, told what to do by the files of a folder.

LAB_FAKE names the folder. `log` gets a line per step done. `raise-KEY` makes a step raise, `kill-KEY` holds
how many times more its process kills itself, `slow` how many seconds a step takes. `input` gets a line with
what each step finds in its standard input, if it exists. `fork` makes each step fork off a process that lives
that many seconds; `open` gets the pipes of its parent that it has.
"""

import hashlib
import os
import signal
import sys
import time
from pathlib import Path

from prunery.lab.record import Number, Record


def folder():
    return Path(os.environ["LAB_FAKE"])


def told(name):
    path = folder() / name
    return path.read_text() if path.exists() else None


def work(step, store, scratch, *, report_progress):
    with (folder() / "log").open("a") as log:
        log.write(f"{step.kind} {step.key}\n")
    report_progress(step.epochs / 2)
    parents = b"".join(store.file(parent, "out").read_bytes() for parent in step.parents)
    (scratch / "out").write_bytes(hashlib.sha256(step.key.encode() + parents).digest())
    time.sleep(float(told("slow") or 0))
    if told("input") is not None:
        with (folder() / "input").open("a") as found:
            found.write(f"{sys.stdin.read()!r}\n")
    if told("fork") is not None and os.fork() == 0:
        there = os.listdir("/proc/self/fd")
        (folder() / "open").write_text(" ".join(pipe for pipe in sys.argv[1:] if pipe in there))
        time.sleep(float(told("fork")))
        os._exit(0)
    if told(f"raise-{step.key}") is not None:
        raise ZeroDivisionError("as told")
    times = int(told(f"kill-{step.key}") or 0)
    if times:
        (folder() / f"kill-{step.key}").write_text(str(times - 1))
        os.kill(os.getpid(), signal.SIGKILL)
    print("what a step prints disturbs nobody")
    return Record(step.key, step.kind, step.args, step.parents, (Number("value", len(step.key), "steps"),))
