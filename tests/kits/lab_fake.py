"""Work that only pretends: no torch, a file per step, told what to do by the files of a folder.

LAB_FAKE names the folder. `log` gets a line per step done. `raise-KEY` makes a step raise, `kill-KEY` holds
how many times more its process kills itself, `slow` how many seconds a step takes.
"""

import hashlib
import os
import signal
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
    if told(f"raise-{step.key}") is not None:
        raise ZeroDivisionError("as told")
    times = int(told(f"kill-{step.key}") or 0)
    if times:
        (folder() / f"kill-{step.key}").write_text(str(times - 1))
        os.kill(os.getpid(), signal.SIGKILL)
    print("what a step prints disturbs nobody")
    return Record(step.key, step.kind, step.args, step.parents, (Number("value", len(step.key), "steps"),))
