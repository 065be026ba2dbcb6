"""A user's code, run within this process: it may neither move the process elsewhere nor end it unsaid."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, NoReturn


@contextmanager
def same_folder() -> Iterator[None]:
    """Go back to the working folder at the end, whatever ran meanwhile; paths may be relative to it."""
    folder = os.getcwd()
    try:
        yield
    finally:
        with suppress(OSError):  # it was removed
            os.chdir(folder)


@contextmanager
def contained() -> Iterator[None]:
    """Within it code of a user's may run: afterwards the working folder is what it was, and the process is.

    What would end the process without a word (os._exit, os.abort) raises SystemExit; processes that are
    forked meanwhile end as they always do.
    """
    with same_folder(), _stays():
        yield


@contextmanager
def _stays() -> Iterator[None]:
    own, real = os.getpid(), {name: getattr(os, name) for name in ("_exit", "abort")}

    def refused(name: str) -> Any:
        def ends(*args: Any) -> NoReturn:
            if os.getpid() != own:
                real[name](*args)
            raise SystemExit(f"os.{name}({', '.join(map(str, args))}) was called")

        return ends

    for name in real:
        setattr(os, name, refused(name))
    try:
        yield
    finally:
        for name, function in real.items():
            setattr(os, name, function)
