"""The reports' studies on a GPU that is lent for minutes: part after part, until the time is over.

python benchmarks/gpu_studies.py -o OUT [--minutes 9] [--store DIR] [--workers 1] [--parts STUDY/PART ...]
    [--set A.B=VALUE ...]

Each part is `prunery run study:STUDY/PART --scale gpu`. A part that is under way when the time is over is
stopped as by Ctrl-C: what is done stays in the store, and the same command goes on there. What there is
then lies in OUT/records.jsonl.gz, for `prunery report`. A line every few seconds says how far it is. The
images come through prunery.data: name a mirror with PRUNERY_DATA. To rehearse it without a GPU: a few images
and epochs, and --set task.training.precision=float32 on a processor that is slower in bfloat16.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from prunery.lab import archive
from prunery.lab.spec import load_all
from prunery.lab.store import Store

ORDER = ("one-shot-vs-iterative", "five-criteria", "cifar100", "no-retraining", "structure-and-learning-rate")
"""What the reports' own sizes miss most comes first."""
SPARE = 20.0  # seconds for stopping and writing the records
EVERY = 5.0


def parts(studies: Sequence[str] = ORDER) -> list[str]:
    """All parts at this scale as STUDY/PART, in the order of the studies."""
    return [
        f"{study}/{spec.name.removeprefix(f'{study}-').removesuffix('-gpu')}"
        for study in studies
        for spec in load_all(f"study:{study}", scale="gpu")
    ]


def run(part: str, store: Path, *, until: float, workers: int, settings: Sequence[str]) -> int | None:
    """Run a part until it ends or the time is over; its exit status, None where it was stopped."""
    began = time.monotonic()
    command = [sys.executable, "-m", "prunery", "run", f"study:{part}", "--scale", "gpu", "--yes"]
    command += ["--store", str(store), "--workers", str(workers)]
    command += [word for setting in settings for word in ("--set", setting)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    while process.poll() is None:
        left = until - time.monotonic()
        if left <= 0:
            process.send_signal(signal.SIGINT)
            process.wait()
            return None
        done = len(list(Store(store).finished())) if Store.is_at(store) else 0
        print(f"{part}: {time.monotonic() - began:.0f} s, {done} steps in the store", flush=True)
        try:
            process.wait(min(EVERY, left))
        except subprocess.TimeoutExpired:
            continue
    return process.returncode


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--out", type=Path, required=True, help="the folder that the records go to")
    parser.add_argument("--minutes", type=float, default=9.0, help="for all parts together")
    parser.add_argument("--store", type=Path, default=Path("runs/gpu"))
    parser.add_argument("--workers", type=int, default=1, help="steps at once on the one GPU")
    parser.add_argument("--parts", nargs="+", default=parts(), metavar="STUDY/PART")
    parser.add_argument("--set", dest="settings", action="append", default=[], metavar="A.B=VALUE")
    asked = parser.parse_args()
    end = time.monotonic() + 60 * asked.minutes - SPARE
    ended: dict[str, int | None] = {}
    for part in asked.parts:
        if time.monotonic() >= end:
            break
        ended[part] = run(part, asked.store, until=end, workers=asked.workers, settings=asked.settings)
        print(f"{part}: {'stopped' if ended[part] is None else f'ended with {ended[part]}'}", flush=True)
    if Store.is_at(asked.store):
        asked.out.mkdir(parents=True, exist_ok=True)
        kept = archive.write(Store(asked.store), asked.out / "records.jsonl.gz")
        print(f"{kept} records in {asked.out / 'records.jsonl.gz'}")
    print(f"not begun: {', '.join(part for part in asked.parts if part not in ended) or 'none'}")
    return max((status or 0 for status in ended.values()), default=0)


if __name__ == "__main__":
    sys.exit(main())
