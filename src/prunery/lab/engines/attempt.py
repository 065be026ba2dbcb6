"""Doing one step, in whatever process an engine has chosen: under a claim, committed by rename."""

from __future__ import annotations

import importlib
import shutil
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from prunery.errors import PruneryError
from prunery.lab.plan import Step
from prunery.lab.record import Record
from prunery.lab.store import Store
from prunery.user_code import same_folder

Work = Callable[..., Record]
Answer = dict[str, Any]
"""What became of an attempt; `is` says it:

done      the step is in the store
there     another run had done it
busy      another process does it
failed    it raised: with `reason` and `trace`
dead      its worker died: with `reason` (an engine says this, for there is nobody left who could)
running   it is under way: with `epochs`
"""

WORK = "prunery.lab.work:work"
"""The function that does the steps of a study, as `package.module:name`."""

_TRACE_LINES = 25


def attempt(
    step: Step,
    store: Store,
    *,
    work: str | Work = WORK,
    report: Callable[[float], None] = lambda epochs: None,
) -> Answer:
    """Do a step here, if nobody else does; return what became of it.

    report: is told how many epochs the step has behind it, from time to time. Whatever the work raises ends
    up in the answer; only what ends a process (Ctrl-C) goes through.
    """
    try:
        claim = store.claim(step.key)
        if claim is None:
            return {"is": "busy"}
        with claim:
            if store.has(step.key):
                return {"is": "there"}
            _do(step, store, store.scratch(step.key), work, report)
    except Exception as error:
        return {"is": "failed", "reason": reason(error), "trace": trace()}
    return {"is": "done"}


def _do(step: Step, store: Store, scratch: Path, work: str | Work, report: Callable[[float], None]) -> None:
    """Do a claimed step and commit it; its scratch folder is gone, whatever became of it."""
    try:
        with same_folder():
            record = resolved(work)(step, store, scratch, report_progress=report)
        store.commit(record, scratch)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def reporter(say: Callable[[Answer], object], seconds: float) -> Callable[[float], None]:
    """Return a function that says how many epochs a step has behind it, at most once in so many seconds."""
    last = 0.0

    def report(epochs: float) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= seconds:
            last = now
            say({"is": "running", "epochs": epochs})

    return report


def resolved(work: str | Work) -> Work:
    """Return the function that `package.module:name` names."""
    if not isinstance(work, str):
        return work
    module, _, name = work.partition(":")
    value: Any = importlib.import_module(module)
    for part in name.split("."):
        value = getattr(value, part)
    if not callable(value):
        raise PruneryError(f"work {work!r}", "it is no function", "name one that does a step")
    function: Work = value
    return function


def dotted(work: str | Work) -> str:
    """Return the `package.module:name` under which another process finds the function."""
    if isinstance(work, str):
        return work
    if "<" in work.__qualname__:
        raise PruneryError(f"work {work.__qualname__!r}", "workers cannot import it", "define it in a module")
    return f"{work.__module__}:{work.__qualname__}"


def reason(error: BaseException) -> str:
    """Return what an error says, in one line."""
    text = str(error) if isinstance(error, PruneryError) else f"{type(error).__name__}: {error}"
    return " ".join(text.split()) or type(error).__name__


def trace() -> str:
    """Return the end of the traceback of the error that is being handled."""
    lines = traceback.format_exc().replace(str(Path.home()), "~").splitlines()
    return "\n".join(lines[-_TRACE_LINES:])
