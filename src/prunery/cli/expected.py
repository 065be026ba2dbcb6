"""What a study will take here, by the store's records or by a trial; and the question before a long run."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from prunery.errors import PruneryError

if TYPE_CHECKING:
    from rich.console import Console

    from prunery.lab.estimate import Estimate, Rates, Trial
    from prunery.lab.plan import Plan
    from prunery.lab.record import Record
    from prunery.lab.step import Step
    from prunery.report.results.study import Source

LONG = 3600.0
"""Seconds that a run may take without a question."""
LARGE = 5e9
"""Bytes that a run may keep without a question."""
_RECORDS = 500  # of a large store; as keys are hashes, these are a sample
_APART_SECONDS = 60.0


@dataclass(frozen=True)
class Expected:
    """What is left of a study: how much, and how this is known, in words."""

    estimate: Estimate
    source: str


def expected(
    planned: Plan,
    cached: set[str],
    rates: Rates,
    trial: Callable[[Sequence[Step]], Trial | None],
) -> Expected:
    """Return what the steps take that are not `cached`; a trial is made where the rates do not tell.

    The rates learn what the trial tells.
    """
    from prunery.lab.estimate import estimate

    unknown = rates.unknown(step for key, step in planned.steps.items() if key not in cached)
    tried = trial(unknown) if unknown else None
    if tried is not None:
        rates.learn(unknown, tried)
    source = "by the store's records" if not unknown else "measured here by a few training steps"
    return Expected(estimate(planned, cached, rates), source)


def rates_of(store: Source | None, *, most: int | None = _RECORDS) -> Rates:
    """Return the rates that a store's records tell; most: how many of them are read, None for all."""
    from prunery.lab.estimate import Rates

    return Rates.of_records(_records(store, most))


def _records(store: Source | None, most: int | None) -> Iterator[Record]:
    for number, key in enumerate(() if store is None else store.finished()):
        if number == most:
            return
        assert store is not None
        with suppress(PruneryError):  # one that was altered tells nothing; a run or report says so
            yield store.record(key)


def told(steps: Sequence[Step], path: Path, seconds: float) -> dict[str, Any]:
    """Return the steps of a trial as plain data, with the file that it writes its answer to."""
    plain = [{"key": s.key, "kind": s.kind, "args": dict(s.args), "parents": list(s.parents)} for s in steps]
    return {"steps": plain, "path": str(path), "seconds": seconds}


def answer(path: Path) -> Trial | None:
    """Return what a trial wrote to the file; None where it wrote nothing."""
    from prunery.lab.estimate import Trial

    try:
        found: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return Trial(found["seconds"], found["bytes"])


def tried_apart(steps: Sequence[Step], *, seconds: float) -> Trial | None:
    """Return the trial of the steps, made in a process of its own; a PruneryError says why there is none."""
    from prunery.lab.engines import apart

    with TemporaryDirectory() as folder:
        path = Path(folder) / "trial.json"
        apart.call(
            "prunery.lab.work.trial:trial_plain",
            told(steps, path, seconds),
            asked="timing a few training steps",
            seconds=_APART_SECONDS,
        )
        return answer(path)


def in_words(seconds: float | None, size: int | None, workers: int) -> str:
    """Return `2.5 h with 2 workers, and 40 MB in the store`: as much of it as is known."""
    from prunery.lab.progress import amount, duration

    many = "1 worker" if workers == 1 else f"{workers} workers"
    parts = [] if seconds is None else [f"{duration(seconds / workers)} with {many}"]
    parts += [] if size is None else [f"{amount(size)} in the store"]
    return ", and ".join(parts)


def agreed(name: str, estimates: Sequence[Estimate], workers: int, out: Console) -> bool:
    """Return whether a run may begin: it is short and small, or somebody at the terminal says yes.

    PruneryError, which names the flag, where it is neither and nobody can be asked.
    """
    seconds = sum(e.seconds or 0.0 for e in estimates)
    size = sum(e.bytes or 0 for e in estimates)
    if seconds / workers <= LONG and size <= LARGE:
        return True
    known = seconds if any(e.seconds is not None for e in estimates) else None
    takes = f"it takes about {in_words(known, size, workers)}"
    if not (sys.stdin.isatty() and out.is_terminal):
        do = "add --yes to run it; prunery plan says what takes the time"
        raise PruneryError(f"running {name}", takes, do)
    out.print(f"{name}: {takes}. Run it? [y/N] ", markup=False, highlight=False, end="")
    with suppress(EOFError):
        return input().strip().lower() in ("y", "yes")
    return False
