"""Which way of computing a layer is the quickest here: each is tried on the layer's own buffers."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from prunery.machine import processor
from prunery.runtime import native, tuned
from prunery.runtime.layers import Layer
from prunery.runtime.products import Buffer, Convolution, Variant
from prunery.runtime.team import Job, Kernel

CACHE_BYTES = 24 * 1024  # of the first cache, what a block of input may take
SECONDS = {"fast": 1.2, "best": 20.0}  # for all layers; after them the likeliest variants are taken
COPIES = 1.1  # what a dense layer among sparse ones costs beyond itself: its input and output are copied


@dataclass
class Timed:
    """What was found of a layer, in seconds for all images. variant: None where torch is quicker."""

    layer: Layer
    variant: Variant | str | None
    sparse: float
    dense: float
    density: float
    images: int


class Task(NamedTuple):
    """A convolution on its buffers, and the function that makes its kernels."""

    conv: Convolution
    source: Buffer
    made: Buffer
    residual: Buffer | None
    images: int
    threads: int
    make: Callable[..., list[Kernel]]

    def kernels(self, variant: Variant) -> list[Kernel]:
        """Return the kernels of a variant."""
        groups = _groups(self.conv, self.made, self.images, self.threads)
        return self.make(self.conv, self.source, self.made, self.residual, variant, groups)

    def situation(self, effort: str) -> list[Any]:
        """Return what the time of a variant depends on."""
        layer, made_for = self.conv.layer, native.isa()
        assert isinstance(made_for, native.Isa)
        planes = [[g.height, g.width, g.pitch, g.lanes] for g in (self.source.geometry, self.made.geometry)]
        where = [[*layer.stride], [*layer.padding], [*layer.dilation], layer.residual is not None]
        share = float(f"{self.conv.found.density:.2g}")
        here = [processor(), made_for.name, torch.__version__, self.threads, effort]
        return [*here, [*self.conv.found.shape], share, *where, *planes, self.images]


@dataclass
class Tuner:
    """Tries the variants of each layer and keeps the best."""

    constants: dict[int, Tensor]
    effort: str = "fast"
    force: bool = False  # sparse kernels even where torch is quicker
    found: list[Timed] = field(default_factory=list)
    nbytes: int = 0  # of packed weights and buffers
    flushed: int = 0  # weights that were taken for 0
    spent: float = 0.0  # seconds on the processor
    seen: dict[str, Any] = field(default_factory=dict)  # by the situation

    def take(self, other: Tuner) -> None:
        """Count in what another one has found."""
        self.found += other.found
        self.nbytes += other.nbytes
        self.flushed += other.flushed
        self.spent += other.spent

    def kernels(self, task: Task) -> list[Kernel] | None:
        """Return the kernels of the quickest variant; None where dense torch is quicker."""
        situation = task.situation(self.effort)
        known = self.seen.get(repr(situation)) or tuned.known(situation)
        candidates = variants(task.conv, task.source, task.made, self.effort)
        if known is None or Variant(*known[0]) not in candidates:
            variant, sparse, kernels = self._quickest(task, candidates)
            dense = least_seconds(_dense(task), task.threads)
            tuned.keep(situation, variant, sparse, dense)
            self.seen[repr(situation)] = (variant, sparse, dense)
        else:
            variant, sparse, dense = Variant(*known[0]), known[1], known[2]
            kernels = []
        wins = self.force or sparse < COPIES * dense
        density, layer = task.conv.found.density, task.conv.layer
        self.found.append(Timed(layer, variant if wins else None, sparse, dense, density, task.images))
        if not wins:
            return None
        kernels = kernels or task.kernels(variant)
        self.flushed += task.conv.found.flushed
        self.nbytes += sum(kernel.nbytes for kernel in kernels)
        return kernels

    def _quickest(self, task: Task, candidates: list[Variant]) -> tuple[Variant, float, list[Kernel]]:
        for buffer in (task.source, task.made, task.residual):
            if buffer is not None:
                _fill(buffer, task.images)
        best: tuple[Variant, float, list[Kernel]] | None = None
        for variant in candidates:
            begin = time.thread_time()
            kernels = task.kernels(variant)
            job = Job(task.threads)
            for kernel in kernels:
                job.add(kernel)
            seconds = least_seconds(lambda job=job: job.run(task.images), task.threads)  # type: ignore[misc]
            if best is None or seconds < best[1]:
                best = (variant, seconds, kernels)
            self.spent += time.thread_time() - begin
            if self.spent > SECONDS[self.effort]:
                break
        assert best is not None
        return best


def _dense(task: Task) -> Callable[[], Tensor]:
    """The layer by torch on an input of its own."""
    layer, shape, to = task.conv.layer, task.conv.found.shape, task.made.geometry
    size = [
        (made - 1) * layer.stride[i] + (shape[2 + i] - 1) * layer.dilation[i] + 1 - 2 * layer.padding[i]
        for i, made in enumerate((to.height, to.width))
    ]
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(task.images, shape[1], *size, generator=generator)
    residual = None
    if layer.residual is not None:
        residual = torch.randn(task.images, to.channels, to.height, to.width, generator=generator)
    return lambda: layer.dense(x, residual)


def _fill(buffer: Buffer, images: int) -> None:
    view = buffer.geometry.view(
        buffer.floats, images if buffer.geometry.lanes == 1 else buffer.geometry.lanes
    )
    view.copy_(torch.rand(view.shape, generator=torch.Generator().manual_seed(0)))


def least_seconds(call: Callable[[], Any], threads: int, rounds: int = 4, enough: float = 0.2) -> float:
    """Return the least time of a few calls after the first; fewer where they take `enough` seconds.

    On one thread it is the thread's own time on the processor, which others who share it do not lengthen.
    """
    clock, times = time.thread_time if threads == 1 else time.perf_counter, list[float]()
    while len(times) < 2 or (len(times) <= rounds and sum(times) < enough):
        begin = clock()
        call()
        times.append(clock() - begin)
    return min(times[1:])


def in_turns(calls: Sequence[Callable[[], Any]], threads: int) -> list[float]:
    """Return the least seconds of calls, in turns until one is clearly quicker or a second is over."""
    begin, best = time.perf_counter(), [float("inf")] * len(calls)
    for turn in range(12):
        best = [min(b, least_seconds(call, threads, 1)) for b, call in zip(best, calls, strict=True)]
        if (turn and max(best) > 1.5 * min(best)) or time.perf_counter() - begin > 1:
            break
    return best


def _groups(conv: Convolution, made: Buffer, images: int, threads: int) -> int:
    """Groups of output channels, so that each thread has enough to do."""
    if threads == 1:
        return 1
    own = 1 if made.geometry.lanes > 1 else images * max(1, made.geometry.height // 8)
    return max(1, min(conv.found.shape[0] // 8, -(-4 * threads // own)))


def variants(conv: Convolution, source: Buffer, made: Buffer, effort: str) -> list[Variant]:
    """Return the variants worth trying, the likeliest first."""
    made_for = native.isa()
    assert isinstance(made_for, native.Isa)
    to, inputs = made.geometry, conv.found.shape[1]
    if to.lanes > 1:
        shapes = [(min(made_for.sums, to.height * to.width), to.lanes, 1)]
        row, beyond = 4 * to.lanes * source.geometry.size, 0
    else:
        shapes = _strips(to.height, to.pitch, made_for)
        row, beyond = 4 * to.pitch * conv.layer.stride[0] ** 2, conv.found.shape[2] - 1
    found = []
    for rows, lanes, unroll in shapes:
        taken = row if to.lanes > 1 else row * (rows + beyond)
        block = max(8, CACHE_BYTES // taken // 8 * 8)
        more = () if effort == "fast" else (block // 2, 4 * block)
        for size in (block, 2 * block, inputs, *more):
            variant = Variant(rows, lanes, unroll, min(size, inputs))
            if variant not in found and size:
                found.append(variant)
    return found


def _strips(height: int, pitch: int, made_for: native.Isa) -> list[tuple[int, int, int]]:
    """(rows of a strip, floats of a vector, sums apart): as many sums as registers hold, and half of them."""
    found = []
    for sums in (made_for.sums, made_for.sums // 2):
        lanes = min(made_for.lanes, 2 * pitch)  # vectors of more rows lie across lines of the cache
        rows = max(1, min(height, sums * lanes // pitch))
        while rows * pitch % lanes:
            lanes //= 2
        count = rows * pitch // lanes
        strip = (rows, lanes, 1 if count >= 6 else 2 if count >= 3 else 4)
        if strip not in found:
            found.append(strip)
    return found
