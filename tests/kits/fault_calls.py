"""What a user's code may do to its process: functions for `apart.call`, and pretended work."""

import os
import sys
import time

from lab_fake import work as pretended

from prunery.errors import ModelError


def fine(value=None):
    assert value == [1, "a"]


def refuses():
    raise ModelError("a model", "it is none", "give another")


def raises():
    raise ZeroDivisionError("as told")


def leaves():
    os._exit(0)


def quits():
    sys.exit(0)


def aborts():
    os.abort()


def closes():
    os.closerange(3, 100)


def reads():
    assert sys.stdin.read() == ""
    raise ModelError("standard input", "it is empty", "do not wait for it")


def forks():
    if os.fork() == 0:
        time.sleep(20)
        os._exit(0)
    os._exit(3)


def waits():
    time.sleep(60)


def moves_and_raises():
    os.chdir("/")
    raise ValueError


def moving(step, store, scratch, **others):
    """Pretended work that leaves the folder in which it found itself."""
    os.chdir("/")
    return pretended(step, store, scratch, **others)


def closing(step, store, scratch, **others):
    """Pretended work that closes every descriptor."""
    os.closerange(3, 100)
    return pretended(step, store, scratch, **others)


def long(step, store, scratch, **others):
    """Pretended work of which the cut takes for ever."""
    if step.kind == "prune":
        (scratch / "begun").write_text("x")
        time.sleep(60)
    return pretended(step, store, scratch, **others)
