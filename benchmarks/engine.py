"""What the engine costs beside the work: steps that do nothing but write a small file, through each part.

python benchmarks/engine.py [--steps 10000] [--workers 2] [--engine local] [--core 1000 10000 100000]

  core      the scheduling alone, without processes: microseconds a step to give out and to finish
  store     one claim, one commit (with its fsyncs) and one `has`, in milliseconds
  run       a whole run: wall time a step, CPU time of the engine's own process a step in each tenth of the
            run (it must not grow), and that process's memory after each tenth (it must stay flat)
  restart   the same run again, when the store has every step: seconds until it is over

The store lies in a temporary folder (TMPDIR says where): its disk decides what a commit costs.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

from prunery.lab.engines.outcome import Silent
from prunery.lab.plan import Kind, Plan, Step, key_of
from prunery.lab.record import Number, Record
from prunery.lab.store import Store

BRANCHES = 33  # methods and levels of one seed: with the dense network, 101 steps a seed
PARTS = 10


def work(step: Step, store: Store, scratch: Path, **others: object) -> Record:
    """Write one small file; the record is as small."""
    (scratch / "out").write_bytes(step.key.encode())
    return Record(step.key, step.kind, step.args, step.parents, (Number("value", 1.0, "steps"),))


def trivial(count: int) -> Plan:
    """A plan of so many steps in the shape of a study: seeds, each a dense network with branches."""
    steps: dict[str, Step] = {}

    def add(kind: Kind, parents: tuple[str, ...], *, epochs: int = 0) -> str:
        training = {"training": {"epochs": epochs}} if epochs else {}
        args = {"model": "none", "data": "none", "threads": 1, "seed": len(steps), **training}
        key = key_of(kind, args, parents)
        steps[key] = Step(key, kind, args, parents)
        return key

    while len(steps) < count:
        dense = add("train", (add("init", ()),), epochs=2)
        for _ in range(BRANCHES):
            cut = add("prune", (dense,))
            add("measure", (add("recover", (cut,), epochs=1),))
    return Plan("trivial", dict(list(steps.items())[:count]), ())


class Watch(Silent):
    """A progress that notes CPU time and memory of this process after each tenth of the steps."""

    def __init__(self, steps: int) -> None:
        self.steps, self.done = steps, 0
        self.cpu, self.memory, self.wall = [time.process_time()], [resident()], [time.perf_counter()]

    def finished(self, step: Step) -> None:
        """Count a step."""
        self.done += 1
        if self.done * PARTS >= len(self.cpu) * self.steps:
            self.cpu.append(time.process_time())
            self.wall.append(time.perf_counter())
            self.memory.append(resident())


def resident() -> float:
    """MB of memory that this process holds now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def core(count: int) -> float:
    """Microseconds a step for giving out and finishing every step of a plan, in this process."""
    from prunery.lab.engines.schedule import Schedule

    plan, last = trivial(count), ""
    began = time.process_time()
    schedule = Schedule(plan.steps)
    while (step := schedule.take(last)) is not None:
        schedule.finish(step.key)
        last = step.key
    assert not schedule.active, "some step was not done"
    return 1e6 * (time.process_time() - began) / count


def store_costs(folder: Path, rounds: int) -> dict[str, float]:
    """Median milliseconds of a claim, a commit and a `has`, for records like those of the run."""
    store, times = Store(folder), {"claim": [], "commit": [], "has": []}
    for step in list(trivial(rounds).steps.values()):
        marks = [time.perf_counter()]
        claim = store.claim(step.key)
        claim.release()
        marks.append(time.perf_counter())
        scratch = store.scratch(step.key)
        store.commit(work(step, store, scratch), scratch)
        marks.append(time.perf_counter())
        assert Store(folder, create=False).has(step.key)
        marks.append(time.perf_counter())
        for name, before, after in zip(times, marks, marks[1:], strict=False):
            times[name].append(1e3 * (after - before))
    return {name: statistics.median(values) for name, values in times.items()}


def run(engine: str, plan: Plan, folder: Path, workers: int) -> None:
    """Print what a whole run costs, and the same run again."""
    if engine == "local":
        from prunery.lab.engines.local import run as chosen
    else:
        from prunery.lab.engines.ray import run as chosen
    store, watch = Store(folder), Watch(len(plan.steps))
    outcome = chosen(plan, store, workers=workers, progress=watch, work="engine:work")
    assert outcome.complete, "some step failed"
    ms = [1e3 * PARTS * (b - a) / watch.steps for a, b in zip(watch.cpu, watch.cpu[1:], strict=False)]
    wall = [1e3 * PARTS * (b - a) / watch.steps for a, b in zip(watch.wall, watch.wall[1:], strict=False)]
    print(f"run       {1e3 * outcome.seconds / watch.steps:.2f} ms of wall time a step, {workers} workers")
    print("          wall ms a step, by tenths:        " + " ".join(f"{value:.2f}" for value in wall))
    print("          engine's CPU ms a step, by tenths: " + " ".join(f"{value:.3f}" for value in ms))
    print(
        "          engine's memory MB after tenths:   " + " ".join(f"{value:.0f}" for value in watch.memory)
    )
    began, cpu = time.perf_counter(), time.process_time()
    again = chosen(plan, Store(folder), workers=workers, work="engine:work")
    assert len(again.cached) == len(plan.steps), "the store lacks some step"
    times = f"{time.perf_counter() - began:.2f} s of wall time, {time.process_time() - cpu:.2f} s of CPU"
    print(f"restart   {times} for {len(plan.steps)} steps that are there")


def main() -> None:
    """Print all parts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--steps", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--engine", choices=["local", "ray"], default="local")
    parser.add_argument("--core", type=int, nargs="*", default=[1000, 10_000, 100_000])
    asked = parser.parse_args()
    if asked.core:
        print("core      us a step: " + ", ".join(f"{core(count):.1f} at {count}" for count in asked.core))
    with tempfile.TemporaryDirectory() as folder:
        costs = store_costs(Path(folder) / "parts", 300)
        print("store     ms: " + ", ".join(f"{name} {ms:.3f}" for name, ms in costs.items()))
        run(asked.engine, trivial(asked.steps), Path(folder) / "run", asked.workers)


if __name__ == "__main__":
    main()
