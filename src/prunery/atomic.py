"""Files that are there whole, or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


def atomic_write(path: str | os.PathLike[str], content: bytes, *, sync: bool = False) -> Path:
    """The path of the file, whose content this is now: written beside it, then renamed.

    sync: only after it is on the disk, so that not even a power cut leaves an empty file.
    """
    with atomic_file(path, sync=sync) as file:
        file.write(content)
    return Path(path)


@contextmanager
def atomic_file(path: str | os.PathLike[str], *, sync: bool = False) -> Iterator[BinaryIO]:
    """A file to write to, which is at `path` once it is whole; nothing is there if an error ends it."""
    target = Path(path)
    if not target.parent.is_dir():
        raise FileNotFoundError(f"{target} cannot be written: there is no folder {target.parent}")
    beside = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        with beside.open("wb") as file:
            yield file
            if sync:
                file.flush()
                os.fsync(file.fileno())
        os.replace(beside, target)
    finally:
        beside.unlink(missing_ok=True)
