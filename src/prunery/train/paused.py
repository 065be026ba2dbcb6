"""Runs of a model that pause where they reach a layer, so that the layer may be changed before it is called.

Each run has a thread of its own, and only one thread is ever at work: a run goes on when it is asked for its
next layer. What a paused run holds is what the model still needs of it, so all layers cost one run in all.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from prunery.core.matrices import entering
from prunery.errors import ModelError
from prunery.forward import no_trace
from prunery.train.beside import modules_of


class _StoppedError(Exception):
    """Ends a paused run."""


class PausedRun:
    """One call of a model on x, paused before the layer that was asked for."""

    def __init__(self, model: nn.Module, x: Tensor) -> None:
        self._model, self._x = model, x
        self._go, self._back = threading.Semaphore(0), threading.Semaphore(0)
        self._target: str | None = None
        self._found: Tensor | None = None
        self._error: BaseException | None = None
        self._threads = torch.get_num_threads()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def until(self, name: str) -> Tensor:
        """Return what enters the layer of that name, which the run must still have before it.

        ModelError: the run is over without calling it. Whatever the model raises is raised here.
        """
        self._target = name
        self._switch()
        if self._error is not None:
            raise self._error
        if self._found is None:
            found = "this call of the model does not reach it after the layers before it"
            raise ModelError(f"layer {name!r}", found, "give a model that calls the same layers each time")
        found_here, self._found = self._found, None
        return found_here

    def stop(self) -> None:
        """End the run where it is."""
        self._target = None
        if self.thread.is_alive():
            self._switch()
            self.thread.join()

    def arrive(self, name: str, x: Tensor) -> None:
        """Pause if this is the layer that was asked for; called by the run's own thread."""
        if name == self._target:
            self._found = x
            self._back.release()
            self._go.acquire()
            if self._target is None:
                raise _StoppedError

    def _switch(self) -> None:
        self._go.release()
        self._back.acquire()

    def _run(self) -> None:
        self._go.acquire()
        try:
            if self._target is not None:
                torch.set_num_threads(self._threads)  # each thread of Python has a number of its own
                with torch.no_grad():
                    self._model(self._x)
        except _StoppedError:
            pass
        except BaseException as error:
            self._error = error
        self._back.release()


class PausedRuns:
    """Runs of two alike models on the same inputs, in pairs; see `paused_runs`."""

    def __init__(
        self, models: tuple[nn.Module, nn.Module], by_thread: dict[threading.Thread, PausedRun]
    ) -> None:
        self._models, self._by_thread = models, by_thread
        self.pairs: list[tuple[PausedRun, PausedRun]] = []
        self.examples = 0

    def add(self, x: Tensor) -> None:
        """Begin a run of each model on x; it goes through the layers before the next one as they are now."""
        pair = PausedRun(self._models[0], x), PausedRun(self._models[1], x)
        self._by_thread |= {run.thread: run for run in pair}
        self.pairs.append(pair)
        self.examples += len(x)


@contextmanager
def paused_runs(models: tuple[nn.Module, nn.Module], names: Sequence[str]) -> Iterator[PausedRuns]:
    """Within it runs of two alike models can be added, in eval mode and without a trace.

    names: the layers that will be asked for, each called once, in the order of calls.
    """
    by_thread: dict[threading.Thread, PausedRun] = {}
    with ExitStack() as stack:
        for model in models:
            stack.enter_context(no_trace(model))
            modules = modules_of(model)
            for name in names:
                hook = _arriving(name, by_thread)
                stack.callback(modules[name].register_forward_pre_hook(hook, with_kwargs=True).remove)
        try:
            yield PausedRuns(models, by_thread)
        finally:
            for run in by_thread.values():
                run.stop()


def _arriving(name: str, runs: dict[threading.Thread, PausedRun]) -> Any:
    def arrive(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        run = runs.get(threading.current_thread())
        if run is not None:
            run.arrive(name, entering(module, args, kwargs))

    return arrive
