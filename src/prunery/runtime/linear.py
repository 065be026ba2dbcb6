"""Consecutive linear layers: as sparse kernels on transposed rows, or by torch's CSR and dense products.

Rows are laid side by side as if they were pixels, so that a linear layer is a 1x1 convolution.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from torch import Tensor

from prunery.runtime import native
from prunery.runtime.geometry import LINE, pitch_of
from prunery.runtime.kernels import transpose
from prunery.runtime.layers import Layer
from prunery.runtime.placed import Apart, fresh, ready
from prunery.runtime.plan import Part, Plan
from prunery.runtime.products import Buffer
from prunery.runtime.team import Job, Kernel
from prunery.runtime.tune import Timed, Tuner, least_seconds

CHUNKS = (64, 128, 256)  # rows that are worth trying at a time


class LinearPlan:
    """A part of linear layers for `rows` rows at a time."""

    def __init__(self, part: Part, rows: int, threads: int, tuner: Tuner) -> None:
        self.images = rows
        width = min(LINE, pitch_of(rows))
        height = -(-rows // width)
        shapes: dict[int, tuple[int, ...]] = {n: (s[0], height, width) for n, s in part.shapes.items()}
        layers = [_as_convolution(layer) for layer in part.layers]
        self.plan = Plan(Part(layers, part.inputs, part.outputs, shapes), 1, threads, tuner)
        (body,) = self.plan.steps
        assert isinstance(body, Job)
        self.body = body.kernels
        self.entries, self.exits = self._copies()
        self.job = Job(threads)
        for kernel in (*self.entries, *self.body, *self.exits):
            self.job.add(kernel)

    def run(self, given: list[Tensor], made: list[Tensor]) -> None:
        """Compute `made` (contiguous, written into) from `given`, at most `images` rows."""
        given = [ready(t) for t in given]
        for kernel, tensor in zip(self.entries, given, strict=True):
            kernel.table[0], kernel.table[2] = tensor.data_ptr(), tensor.shape[0]
        for kernel, tensor in zip(self.exits, made, strict=True):
            kernel.table[1], kernel.table[3] = tensor.data_ptr(), tensor.shape[0]
        self.job.run(1)

    def apart(self, count: int) -> Apart | None:
        """Return its kernels for `count` rows, with copies of their own."""
        if count > self.images:
            return None
        entries, exits = self._copies()
        for kernel in entries:
            kernel.table[2] = count
        for kernel in exits:
            kernel.table[3] = count
        return Apart(entries, [kernel.of(1) for kernel in self.body], exits)

    def _copies(self) -> tuple[list[Kernel], list[Kernel]]:
        entries = [_transpose(buffer, self.images, into=True) for buffer in self.plan.entries.values()]
        return entries, [_transpose(buffer, self.images, into=False) for buffer in self.plan.exits.values()]


class ByTorch:
    """A part of linear layers, each by torch's CSR product or by its dense one."""

    def __init__(self, part: Part, given: list[Tensor], threads: int) -> None:
        self.part = part
        self.products: list[Callable[[Tensor], Tensor]] = []
        self.sparse = [_csr(layer) for layer in part.layers]
        self.tuner = Tuner({})
        values = dict(zip(part.inputs, given, strict=True))
        for layer, sparse in zip(part.layers, self.sparse, strict=True):
            x = values[layer.inputs[0]]
            dense = layer.product
            seconds = [least_seconds(lambda f=f, x=x: f(x), threads) for f in (dense, sparse)]  # type: ignore[misc]
            self.products.append(dense if seconds[0] <= seconds[1] else sparse)
            values[layer.output] = self._layer(layer, self.products[-1], values)
            assert layer.weight is not None
            share = float(layer.weight.count_nonzero()) / layer.weight.numel()
            variant = "torch CSR" if seconds[1] < seconds[0] else None
            self.tuner.found.append(Timed(layer, variant, seconds[1], seconds[0], share, len(x)))

    def run(self, given: list[Tensor], made: list[Tensor]) -> None:
        """Compute `made` (written into) from `given`."""
        values = dict(zip(self.part.inputs, given, strict=True))
        for layer, product in zip(self.part.layers, self.products, strict=True):
            values[layer.output] = self._layer(layer, product, values)
        for number, tensor in zip(self.part.outputs, made, strict=True):
            tensor.copy_(values[number])

    def _layer(self, layer: Layer, product: Callable[[Tensor], Tensor], values: dict[int, Tensor]) -> Tensor:
        residual = None if layer.residual is None else values[layer.residual]
        return layer.finished_(product(values[layer.inputs[0]]), residual)


def quickest(
    part: Part, given: list[Tensor], threads: int, tuner: Tuner, seconds: float
) -> LinearPlan | ByTorch:
    """Return the quickest way to compute a part of linear layers on as many rows as `given` has.

    seconds: how long the search may take on the processor, about.
    """
    rows, begin = given[0].shape[0], time.thread_time()
    made = [fresh(rows, *part.shapes[n]) for n in part.outputs]
    by_torch = ByTorch(part, given, threads)
    best: tuple[float, Tuner, LinearPlan | ByTorch]
    best = (least_seconds(lambda: in_chunks(by_torch, given, made), threads), by_torch.tuner, by_torch)
    whole = -(-rows // LINE) * LINE if rows > LINE else pitch_of(rows)
    for chunk in dict.fromkeys([*(c for c in CHUNKS[:2] if c < rows), min(whole, CHUNKS[-1])]):
        if time.thread_time() - begin < seconds:
            own = Tuner(tuner.constants, tuner.effort, force=True)
            plan = LinearPlan(part, chunk, threads, own)
            took = least_seconds(lambda plan=plan: in_chunks(plan, given, made), threads)  # type: ignore[misc]
            for timed in own.found:
                timed.images = chunk
            if took < best[0]:
                best = (took, own, plan)
    tuner.take(best[1])
    return best[2]


def in_chunks(plan: LinearPlan | ByTorch, given: list[Tensor], made: list[Tensor]) -> None:
    """Run a plan on all rows."""
    rows = given[0].shape[0]
    step = rows if isinstance(plan, ByTorch) else plan.images
    if step >= rows:
        plan.run(given, made)
        return
    for begin in range(0, rows, step):
        here = slice(begin, begin + step)
        plan.run([t[here] for t in given], [t[here] for t in made])


def _transpose(buffer: Buffer, rows: int, *, into: bool) -> Kernel:
    """The kernel that moves rows into a buffer of features or out of it."""
    made_for = native.isa()
    assert isinstance(made_for, native.Isa)
    features, pitch = buffer.geometry.channels, buffer.geometry.size
    place = buffer.floats.ctypes.data + 4 * buffer.geometry.lead
    if into:
        table, bands = [0, place, rows, features, features, pitch], rows
    else:
        table, bands = [place, 0, features, rows, pitch, features], features
    function = native.address(transpose.source(made_for.lanes))
    return Kernel(function, np.array(table, np.int64), -(-bands // made_for.lanes), False, (buffer,))


def _as_convolution(layer: Layer) -> Layer:
    assert layer.weight is not None
    return replace(layer, kind="conv", weight=layer.weight[:, :, None, None])


def _csr(layer: Layer) -> Callable[[Tensor], Tensor]:
    assert layer.weight is not None
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support")
        weight = layer.weight.to_sparse_csr()
    bias = None if layer.bias is None else layer.bias[:, None]

    def product(x: Tensor) -> Tensor:
        y = weight @ x.t()
        return (y if bias is None else y.add_(bias)).t()

    return product
