"""A user's code, run within this process: it may not move the process elsewhere."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress


@contextmanager
def same_folder() -> Iterator[None]:
    """Go back to the working folder at the end, whatever ran meanwhile; paths may be relative to it."""
    folder = os.getcwd()
    try:
        yield
    finally:
        with suppress(OSError):  # it was removed
            os.chdir(folder)
