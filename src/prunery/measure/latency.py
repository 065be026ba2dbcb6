"""How long calls take: several in turns, with what can be said of their ratios; a model on a whole split."""

from __future__ import annotations

import gc
import math
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from prunery.core.bits import threads_of
from prunery.data.batches import Batches
from prunery.errors import ChoiceError, DataError, ModelError
from prunery.forward import call_of, no_trace, placed, tensors
from prunery.measure.speed_up import CallTimes, Latency
from prunery.seeds import stream

if TYPE_CHECKING:
    from prunery.data.splits import Split

_WARM_UP = 3  # calls before anything is timed: a compiler's, a cache's
_TURN = 5e-3  # seconds that the calls of a turn take at least: the clocks cost a microsecond
_MOST_CALLS = 10_000
_Turn = tuple[Callable[[], Any], int]  # a call, and how many of it in a row make a turn


def latency(
    calls: Mapping[str, Callable[..., Any]],
    x: Any,
    *,
    rounds: int = 30,
    threads: int | None = None,
    seed: int = 0,
) -> Latency:
    """Return the milliseconds that each of several calls takes on `x`, measured in turns.

    calls: functions or modules by name; modules run in eval mode and are left as they were. x: a tensor, a
    tuple of arguments or a mapping of keywords, not changed by any call; for a module it is moved to its
    device and precision. After three calls of each that are not timed come `rounds` rounds; in each, every
    call has one turn, in an order drawn from `seed`: one call that is not timed, which brings its weights
    back into the caches, then as many in a row as take 5 ms, one at least. A GPU is waited for. threads: of
    torch on the CPU, for the time of this measurement; None leaves them.

    ChoiceError: no calls, or `rounds` or `threads` below 1. ModelError: a call that raises, or changes `x`.
    """
    if not calls or rounds < 1 or (threads is not None and threads < 1):
        found = f"{len(calls)} calls, {rounds} rounds and {threads} threads"
        raise ChoiceError("the latency of calls", found, "give at least one of each")
    with ExitStack() as stack:
        stack.enter_context(threads_of(threads))
        for module in _modules(calls.values()):
            stack.enter_context(no_trace(module))
        stack.enter_context(torch.inference_mode())
        stack.enter_context(_no_collection())
        device = _device(calls.values(), x)
        ready = {name: _prepared(name, call, x, device) for name, call in calls.items()}
        times = _rounds(ready, rounds, device, stream(seed, "latency"))
        used = torch.get_num_threads()
    measured = {name: CallTimes(name, *times[name], ready[name][1]) for name in calls}
    return Latency(measured, rounds, used, _name(device))


def _rounds(
    ready: Mapping[str, tuple[Callable[[], Any], int]],
    rounds: int,
    device: torch.device,
    rng: torch.Generator,
) -> dict[str, tuple[tuple[float, ...], tuple[float, ...]]]:
    """Return (wall, CPU) milliseconds of a call, for each name a value a round."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in ready}
    names = list(ready)
    for _ in range(rounds):
        for place in torch.randperm(len(names), generator=rng).tolist():
            name = names[place]
            call, count = ready[name]
            call()
            wall, cpu = _clocked(call, device, count)
            times[name].append((1e3 * wall / count, 1e3 * cpu / count))
    return {name: (tuple(w for w, _ in each), tuple(c for _, c in each)) for name, each in times.items()}


def _prepared(name: str, call: Callable[..., Any], x: Any, device: torch.device) -> _Turn:
    """Return the call on `x`, warmed up, and how many make a turn."""
    module = _module(call)
    inputs = x if module is None else placed(x, module)
    args, kwargs = call_of(inputs)
    ready = partial(call, *args, **kwargs)
    before = [tensor.clone() for tensor in tensors(inputs)]
    try:
        for _ in range(_WARM_UP):
            ready()
    except Exception as problem:  # whatever the caller's function raises
        found = f"it raises {type(problem).__name__}: {' '.join(str(problem).split())[:300]}"
        raise ModelError(f"the latency of {name!r}", found, "make the call work by itself first") from problem
    if not all(map(_same, before, tensors(inputs))):
        for tensor, own in zip(tensors(inputs), before, strict=True):
            tensor.copy_(own)
        do = "let it work on a copy, or its layers not work in place on what enters"
        raise ModelError(f"the latency of {name!r}", "it changes what it is called with", do)
    seconds = min(_clocked(ready, device)[0] for _ in range(2))
    return ready, min(_MOST_CALLS, max(1, math.ceil(_TURN / max(seconds, 1e-9))))


def _same(one: Tensor, other: Tensor) -> bool:
    return torch.equal(one, other) or (
        one.is_floating_point() and bool(torch.allclose(one, other, 0, 0, True))
    )


def _module(call: Callable[..., Any]) -> nn.Module | None:
    """Return the module that is called; None for a function. TorchScript, once frozen, has no modes."""
    return call if isinstance(call, nn.Module) and not isinstance(call, torch.jit.ScriptModule) else None


def _modules(calls: Iterable[Callable[..., Any]]) -> list[nn.Module]:
    return [module for module in map(_module, calls) if module is not None]


@contextmanager
def _no_collection() -> Iterator[None]:
    """Within it Python does not look for cycles of objects: that would fall to whose turn it is."""
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _device(calls: Iterable[Callable[..., Any]], x: Any) -> torch.device:
    """Return the accelerator that a call or its input is on, or the CPU."""
    found = [p.device for module in _modules(calls) for p in module.parameters()] + [
        t.device for t in tensors(x)
    ]
    return next((device for device in found if device.type != "cpu"), torch.device("cpu"))


@dataclass(frozen=True)
class Timing:
    """Seconds to classify all examples of a split, and under which conditions."""

    median: float
    low: float  # the quickest repeat
    high: float  # the slowest
    repeats: int
    examples: int
    batch: int
    threads: int  # of torch on the CPU
    dtype: str  # of the parameters, such as float32
    device: str  # "cpu", or the accelerator's type and name

    @property
    def per_second(self) -> float:
        """Examples classified in a second, by the median."""
        return self.examples / self.median


def classify_seconds(model: nn.Module, split: Split, *, batch: int = 1000, repeats: int = 3) -> Timing:
    """Seconds that `model` in eval mode takes for the whole of `split`: the median of `repeats` passes.

    Counted from the batch on the model's device to the class of each example; making the batch is not. One
    batch goes before, untimed. The model, its buffers and random state are left as they were found.

    ChoiceError: `repeats` below 1. DataError: an empty split, or `batch` below 1.
    """
    if repeats < 1:
        raise ChoiceError(f"a median of {repeats} passes", "there is none", "give repeats=1 or more")
    if not len(split):
        raise DataError(f"seconds for the {split.name} split", "it is empty", "give it some examples")
    batches = Batches(split, batch=batch, seed=0)
    like = next((p for p in model.parameters() if p.is_floating_point()), split.x)
    with no_trace(model), torch.inference_mode():
        _seconds(model, placed(next(iter(batches))[0], model))
        times = [sum(_seconds(model, placed(x, model)) for x, _ in batches) for _ in range(repeats)]
    dtype = str(like.dtype if like.is_floating_point() else torch.float32).removeprefix("torch.")
    conditions = (batch, torch.get_num_threads(), dtype, _name(like.device))
    return Timing(statistics.median(times), min(times), max(times), repeats, len(split), *conditions)


def _seconds(model: nn.Module, x: Tensor) -> float:
    def classes() -> None:
        output = model(x)
        getattr(output, "logits", output).argmax(-1)

    return _clocked(classes, x.device)[0]


def _clocked(call: Callable[[], Any], device: torch.device, count: int = 1) -> tuple[float, float]:
    """Return (wall, CPU) seconds that `count` calls in a row take; the CPU's are of all threads together."""
    _wait(device)
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(count):
        call()
    _wait(device)
    return time.perf_counter() - wall, time.process_time() - cpu


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _name(device: torch.device) -> str:
    return f"cuda {torch.cuda.get_device_name(device)}" if device.type == "cuda" else device.type
