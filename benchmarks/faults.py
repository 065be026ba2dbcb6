"""Faults at random: hundreds of them done to runs, stores and files, and hostile inputs to every reader.

python benchmarks/faults.py [--faults 500] [--inputs 300] [--seed 0] [--only "kill run"]

  faults    runs and workers killed after a random number of commits, runs side by side, a disk that is
            full or read-only, files of every kind torn or with a bit flipped. Afterwards every record must
            equal the undisturbed one, and nothing may be left over
  inputs    files and texts that lie, to every reader: none may end in an error that is not the library's,
            take more than 512 MB or 5 s, write outside its scratch folder or run code

Exit status 0 if all is well.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "kits"))

import fault_inputs
import fault_trials

RUNS = ("kill run", "kill worker", "side by side", "full disk", "read-only disk")  # a second or two each


@contextmanager
def without_error_output() -> Iterator[None]:
    """Run without what processes print there: pretended work does so at each step."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def faults(count: int, seed: int, only: str | None) -> int:
    """Make so many faults, two fifths of them to runs; return how many left something wrong."""
    files = [kind for kind in fault_trials.KINDS if kind not in RUNS]
    wrong, made = 0, Counter[str]()
    with tempfile.TemporaryDirectory() as folder, without_error_output():
        trials = fault_trials.Trials(folder)
        began = time.monotonic()
        for number in range(count):
            kinds = RUNS if number % 5 < 2 else files
            kind = only or kinds[(number // 5 * 3 + number) % len(kinds)]
            made[kind] += 1
            if problem := trials.run(kind, seed + number):
                wrong += 1
                print(f"WRONG  {kind}, seed {seed + number}: {problem}", flush=True)
        took = time.monotonic() - began
    print(f"faults: {count} in {took:.0f} s, {wrong} left something wrong")
    print("        " + ", ".join(f"{kind} {times}" for kind, times in made.most_common()))
    return wrong


def inputs(count: int, seed: int) -> int:
    """Give so many hostile inputs to the readers, in turn; return how many did not end as they must."""
    with tempfile.TemporaryDirectory() as folder:
        found = fault_inputs.given(Path(folder), count, seed)
    wrong = [one for one in found if one.problem]
    for one in wrong:
        print(f"WRONG  {one.reader}, {one.what}: {one.problem}", flush=True)
    slowest, largest = max(one.seconds for one in found), max(one.megabytes for one in found)
    ended = Counter(one.ended for one in found)
    print(f"inputs: {count} to {len({one.reader for one in found})} readers, {len(wrong)} ended wrongly")
    print(f"        the slowest took {slowest:.1f} s, the largest {largest:.0f} MB; {dict(ended)}")
    return len(wrong)


def main() -> None:
    """Make all faults, then give all inputs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--faults", type=int, default=500)
    parser.add_argument("--inputs", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=[*fault_trials.KINDS])
    asked = parser.parse_args()
    wrong = faults(asked.faults, asked.seed, asked.only) if asked.faults else 0
    wrong += inputs(asked.inputs, asked.seed) if asked.inputs else 0
    sys.exit(int(bool(wrong)))


if __name__ == "__main__":
    main()
