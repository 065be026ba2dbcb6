"""Who does which step: a file per step, locked (flock) by the process that does it.

A dead process holds nothing. On a file system that several machines share the locks hold between them where
it carries flock over: NFS from version 4 on does, unless it is mounted with `local_lock`; `shared` tells.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


class Claim:
    """The right to do one step, until released or until the process ends; a context manager."""

    def __init__(self, locks: Locks, descriptor: int, path: Path) -> None:
        self._locks, self._descriptor, self._path = locks, descriptor, path
        self._process = os.getpid()

    def release(self) -> None:
        """Let another process have the step; a forked child gives nothing away that is its parent's."""
        if os.getpid() == self._process:
            with contextlib.suppress(OSError):  # a disk that takes no changes keeps a file that nobody holds
                self._path.unlink(missing_ok=True)  # while it is held: nobody holds a file that is gone
            self._locks.close(self._descriptor)

    def __enter__(self) -> Claim:
        return self

    def __exit__(self, *raised: object) -> None:
        self.release()


class Locks:
    """The locks in a folder, as one process sees and holds them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open: set[int] = set()

    def claim(self, key: str) -> Claim | None:
        """Return the right to the step, or None while another process (or this one) has it."""
        import fcntl  # not on every platform, and only those who work need it

        path = self._folder / key
        while True:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
                return None
            if _inode(path) == os.fstat(descriptor).st_ino:
                self._open.add(descriptor)
                return Claim(self, descriptor, path)
            os.close(descriptor)  # the one who held it removed it meanwhile: take the new file

    def held(self) -> list[str]:
        """Return the keys of the steps that some process has now, in order; names with a dot are no steps."""
        keys = sorted(name for name in os.listdir(self._folder) if not name.startswith("."))
        return [key for key in keys if not self._free(key)]

    def shared(self, token: str) -> str:
        """Return why this process does not see the lock `token` that another one holds, or "" if it does."""
        if not (self._folder / token).exists():
            return "it is another folder here than where the run was started"
        if (claim := self.claim(token)) is None:
            return ""
        claim.release()
        return "locks of one machine do not hold on another there (flock)"

    def close(self, descriptor: int) -> None:
        """Give up a lock."""
        self._open.discard(descriptor)
        with contextlib.suppress(OSError):  # the work closed every descriptor that it found
            os.close(descriptor)

    def leave_to_parent(self) -> None:
        """See to it that processes that fork off this one hold no lock of it."""
        os.register_at_fork(after_in_child=self._close_all)

    def _close_all(self) -> None:
        while self._open:
            with contextlib.suppress(OSError):
                os.close(self._open.pop())

    def _free(self, key: str) -> bool:
        claim = self.claim(key)
        if claim:
            claim.release()
        return claim is not None


def _inode(path: Path) -> int | None:
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return None
