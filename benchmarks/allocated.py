"""What a process allocates while it does something: for benchmarks, with glibc 2.33 or newer."""

from __future__ import annotations

import ctypes
import threading


class Allocated:
    """Within it `mb` grows to the most that the process has allocated at once, above what it had before.

    It asks the C library (glibc) every five milliseconds: what is freed and kept for later does not count.
    """

    def __enter__(self) -> Allocated:
        self.mb, self._before, self._over = 0.0, allocated(), threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()
        return self

    def _watch(self) -> None:
        while not self._over.wait(0.005):
            self.mb = max(self.mb, allocated() - self._before)

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._watcher.join()


class _Mallinfo(ctypes.Structure):
    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in [
            "arena",
            "ordblks",
            "smblks",
            "hblks",
            "hblkhd",
            "usmblks",
            "fsmblks",
            "uordblks",
            "fordblks",
            "keepcost",
        ]
    )


def allocated() -> float:
    """Return the MB that the process has allocated."""
    mallinfo = ctypes.CDLL(None).mallinfo2
    mallinfo.restype = _Mallinfo
    found = mallinfo()
    return (found.uordblks + found.hblkhd) / 2**20
