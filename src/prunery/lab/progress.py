"""How a run goes, for who looks on: one bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Column

from prunery.lab.pace import Pace
from prunery.lab.plan import Plan, Step

_LINE_SECONDS = 15.0
QUIET_SECONDS = 600.0
"""After which a run in which nothing moved says so."""
_NAMED = 8  # running steps that are named; a cluster may run hundreds


def labels(plan: Plan) -> dict[str, str]:
    """What each step is for, by key: `train, dense, seed 0` or `recover, snip 90%, seed 1`."""
    found: dict[str, str] = {}
    for cell in plan.cells:
        level = "" if cell.role != "pruned" else f" {100 * cell.sparsity:g}%"
        for key in cell.path:
            found.setdefault(key, f"{plan.steps[key].kind}, {cell.method}{level}, seed {cell.seed}")
    for cell in plan.cells:  # what is measured on the way, where it is no cell's own
        level = f"{cell.method} {100 * cell.sparsity:g}%"
        before = [("before recovery", cell.before)] if cell.before else []
        for label, key in (*before, *((f"after {action}", key) for action, key in cell.rungs)):
            found.setdefault(key, f"measure, {level} {label}, seed {cell.seed}")
    return found


@dataclass
class Shown:
    """A `Progress` of an engine that writes to a console."""

    console: Console
    labels: Mapping[str, str] = field(default_factory=dict)
    todo: Mapping[str, Step] = field(default_factory=dict)
    pace: Pace = field(default_factory=lambda: Pace(()))
    done: int = 0
    bar: Progress | None = None
    last_line: float = 0.0
    moved: float = 0.0
    """When a step began, came further, ended or was given up last, or that none did was said last."""

    def begin(self, plan: Plan, todo: Mapping[str, Step]) -> None:
        """Start the bar."""
        self.labels, self.todo = labels(plan), todo
        self.pace = Pace(todo.values())
        self.last_line = self.moved = time.monotonic()
        if self.console.is_terminal and todo:
            text = TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True, ratio=1))
            count = MofNCompleteColumn(table_column=Column(no_wrap=True, min_width=9))
            bar = BarColumn(16, table_column=Column(min_width=16))
            self.bar = Progress(bar, count, text, console=self.console, transient=True, expand=True)
            self.bar.add_task("starting the workers", total=len(todo))
            self.bar.start()

    def started(self, step: Step) -> None:
        """Show the step among those that run."""
        self.moved = time.monotonic()
        self.pace.started(step, self.moved)
        self._show()

    def advanced(self, step: Step, epochs: float) -> None:
        """Show the step's epochs."""
        if epochs > self.pace.running.get(step.key, 0.0):
            self.moved = time.monotonic()
        self.pace.advanced(step, epochs, time.monotonic())
        self._show()

    def finished(self, step: Step) -> None:
        """Count the step as done."""
        self.moved = time.monotonic()
        self.pace.finished(step, self.moved)
        self.done += 1
        self._show()

    def failed(self, step: Step, reason: str, *, final: bool) -> None:
        """Say at once which step failed and why."""
        self.moved = time.monotonic()
        self.pace.dropped(step)
        what = "failed" if final else "is tried again"
        label = self.labels.get(step.key, step.kind)
        self.console.print(f"{label} ({step.key}) {what}: {reason}", markup=False, highlight=False)

    def postponed(self, step: Step) -> None:
        """Another run does the step: it is none of ours for now."""
        self.pace.dropped(step)

    def tick(self) -> None:
        """Off a terminal, write a line from time to time; anywhere, say that nothing moved for long."""
        if self.pace.running and time.monotonic() - self.moved >= QUIET_SECONDS:
            self.moved = time.monotonic()
            line = f"nothing moved for {QUIET_SECONDS / 60:.0f} min{self._running()}"
            self.console.print(line, markup=False, highlight=False)
        if self.bar is None and time.monotonic() - self.last_line >= _LINE_SECONDS:
            self.last_line = time.monotonic()
            line = f"{self.done} of {len(self.todo)} steps{self._time_left()}{self._running()}"
            self.console.print(line, markup=False, highlight=False)

    def end(self) -> None:
        """Take the bar away."""
        if self.bar is not None:
            self.bar.stop()
            self.bar = None

    def _show(self) -> None:
        if self.bar is not None:
            text = f"{self._time_left().lstrip(', ')}{self._running()}"
            task = self.bar.tasks[0].id
            self.bar.update(task, completed=self.done, description=text)

    def _time_left(self) -> str:
        left = self.pace.seconds_left(time.monotonic())
        return ", time left not known yet" if left is None else f", about {duration(left)} left"

    def _running(self) -> str:
        parts, running = [], self.pace.running
        for key, epochs in list(running.items())[:_NAMED]:
            step = self.todo[key]
            count = f" {epochs:.1f}/{step.epochs}" if step.epochs else ""
            parts.append(self.labels.get(key, step.kind) + count)
        if len(running) > _NAMED:
            parts.append(f"and {len(running) - _NAMED} more")
        return f" | {' | '.join(parts)}" if parts else ""


def amount(size: float) -> str:
    """Return a number of bytes in words: `40 kB`, `3 MB`, `2.5 GB`."""
    if size < 1e6:
        return f"{size / 1e3:.0f} kB"
    return f"{size / 1e6:.0f} MB" if size < 1e9 else f"{size / 1e9:.1f} GB"


def duration(seconds: float) -> str:
    """`40 s`, `3 min`, `2.5 h`."""
    if seconds < 90:
        return f"{max(seconds, 0):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
