"""`python -m prunery` and the command `prunery`: the command line, and Ctrl-C from its first moment on."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType

from prunery.errors import INTERRUPTED

_IMPORTING = "<frozen importlib._bootstrap"  # whose frames stand below a module that is being imported


def main() -> None:
    """Run the command line and end the process with its exit status; 130 after Ctrl-C."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupted)
    try:
        from prunery.cli import main as run

        run()
    except KeyboardInterrupt:
        _say()
        sys.exit(INTERRUPTED)


def _interrupted(number: int, frame: FrameType | None) -> None:
    """Raise KeyboardInterrupt, but end at once where modules are imported.

    Compiled modules turn the exception into others, or lose it. Nothing is written during an import.
    """
    while frame is not None:
        if frame.f_code.co_filename.startswith(_IMPORTING):
            _say()
            os._exit(INTERRUPTED)
        frame = frame.f_back
    raise KeyboardInterrupt


def _say() -> None:
    sys.stdout.flush()
    sys.stderr.write("stopped by Ctrl-C\n")
    sys.stderr.flush()


if __name__ == "__main__":
    main()
