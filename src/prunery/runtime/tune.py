"""Which way of computing a layer is the quickest here: each is tried on the layer's own buffers."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from prunery.runtime import native
from prunery.runtime.products import Buffer, Convolution, Variant
from prunery.runtime.team import Job, Kernel

CACHE_BYTES = 24 * 1024  # of the first cache, what a block of input may take


@dataclass
class Timed:
    """What was found of a layer, in seconds for all images. variant: None where torch is quicker."""

    layer: Any
    variant: Variant | None
    sparse: float
    dense: float
    density: float
    images: int


@dataclass
class Tuner:
    """Tries the variants of each layer and keeps the best."""

    constants: dict[int, Tensor]
    effort: str = "fast"
    force: bool = False  # sparse kernels even where torch is quicker
    found: list[Timed] = field(default_factory=list)

    def kernels(
        self,
        conv: Convolution,
        source: Buffer,
        made: Buffer,
        residual: Buffer | None,
        images: int,
        threads: int,
        make: Callable[..., list[Kernel]],
    ) -> list[Kernel] | None:
        """Return the kernels of the quickest variant; None where dense torch is quicker."""
        for buffer in (source, made, residual):
            if buffer is not None:
                _fill(buffer, images)
        groups = _groups(conv, made, images, threads)
        best: tuple[float, list[Kernel], Variant] | None = None
        for variant in variants(conv, source, made, self.effort):
            kernels = make(conv, source, made, residual, variant, groups)
            job = Job(threads)
            for kernel in kernels:
                job.add(kernel)
            seconds = least_seconds(lambda job=job: job.run(images))  # type: ignore[misc]
            if best is None or seconds < best[0]:
                best = (seconds, kernels, variant)
        assert best is not None
        dense = self._dense(conv, source, made, images)
        sparse_wins = best[0] < dense or self.force
        found = Timed(
            conv.layer, best[2] if sparse_wins else None, best[0], dense, conv.found.density, images
        )
        self.found.append(found)
        return best[1] if sparse_wins else None

    def _dense(self, conv: Convolution, source: Buffer, made: Buffer, images: int) -> float:
        layer, to = conv.layer, made.geometry
        height, width = (
            (size - 1) * layer.stride[i]
            + (conv.found.shape[2 + i] - 1) * layer.dilation[i]
            + 1
            - 2 * layer.padding[i]
            for i, size in enumerate((to.height, to.width))
        )
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(images, conv.found.shape[1], height, width, generator=generator)
        y = (
            None
            if layer.residual is None
            else torch.randn(images, to.channels, to.height, to.width, generator=generator)
        )
        return least_seconds(lambda: layer.dense(x, y))


def _fill(buffer: Buffer, images: int) -> None:
    view = buffer.geometry.view(
        buffer.floats, images if buffer.geometry.lanes == 1 else buffer.geometry.lanes
    )
    view.copy_(torch.rand(view.shape, generator=torch.Generator().manual_seed(0)))


def least_seconds(call: Callable[[], Any], rounds: int = 3) -> float:
    """Return the least time of a few calls, after one untimed."""
    call()
    best = float("inf")
    for _ in range(rounds):
        begin = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - begin)
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
