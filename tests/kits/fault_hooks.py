"""A disk that is full or cannot be written, pretended by an audit hook; and pretended work on such a disk.

LAB_FAULT is `ENOSPC:N` or `EROFS:N`: below the folder in LAB_STORE, whatever would write after the first N
times fails in this process.
"""

import errno
import os
import sys

from lab_fake import work as pretended

_CHANGES = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.truncate", "os.link", "os.symlink")
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT


def break_disk():
    """From now on the disk of this process is as LAB_FAULT says."""
    fault, store = os.environ.get("LAB_FAULT"), os.environ.get("LAB_STORE")
    if not fault:
        return
    name, _, left = fault.partition(":")
    state = {"left": int(left)}
    number = getattr(errno, name)
    changes = (*_CHANGES,) if name == "EROFS" else ("os.mkdir",)

    def hook(event, args):
        opened = event == "open" and isinstance(args[2], int) and args[2] & _WRITES
        if not (opened or event in changes) or not isinstance(args[0], str | os.PathLike):
            return
        if os.path.abspath(os.fspath(args[0])).startswith(store):
            state["left"] -= 1
            if state["left"] < 0:
                raise OSError(number, os.strerror(number), os.fspath(args[0]))

    sys.addaudithook(hook)


break_disk()


def work(step, store, scratch, **others):
    """Pretended work."""
    return pretended(step, store, scratch, **others)
