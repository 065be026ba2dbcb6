"""Plans with tensors for input and output: kernels that copy between these and the plan's buffers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from prunery.runtime import native
from prunery.runtime.geometry import Geometry
from prunery.runtime.kernels import planes
from prunery.runtime.kernels.planes import Copy
from prunery.runtime.plan import Part, Plan, plane_of
from prunery.runtime.products import Buffer
from prunery.runtime.team import Job, Kernel

Step = Job | Callable[[int], None]


def ready(tensor: Tensor) -> Tensor:
    """Return the tensor as kernels read it: single precision, as it is counted."""
    if tensor.dtype is torch.float32 and tensor.is_contiguous() and not tensor.is_neg():
        return tensor
    return tensor.resolve_neg().float().contiguous()


def fresh(*shape: int) -> Tensor:
    """Return a tensor to be written to, whatever torch's defaults are."""
    return torch.empty(shape, dtype=torch.float32, device="cpu")


def into(buffer: Buffer) -> Kernel:
    """Return the kernel that copies a contiguous tensor, whose address is its table's first number."""
    return _copy(_counted(buffer.geometry), buffer.geometry, [0, buffer.floats.ctypes.data], buffer)


def out_of(buffer: Buffer, to: Geometry | None = None) -> Kernel:
    """Return the kernel that copies to a contiguous tensor, or to planes of the geometry `to`.

    Where that is: its table's second number.
    """
    geometry = buffer.geometry
    return _copy(geometry, to or _counted(geometry), [buffer.floats.ctypes.data, 0], buffer)


def _counted(geometry: Geometry) -> Geometry:
    """The planes of a contiguous tensor."""
    height, width = geometry.height, geometry.width
    return Geometry(geometry.channels, height, width, width, 0, height * width)


def _copy(given: Geometry, made: Geometry, table: list[int], buffer: Buffer) -> Kernel:
    spec = Copy(plane_of(given), plane_of(made), given.channels)
    function = native.address(planes.source(spec))
    return Kernel(function, np.array(table, np.int64), given.channels, True, (buffer,))


class Placed:
    """A plan that reads tensors and writes them, by their addresses.

    inputs: those that tensors are given for (the others' buffers are filled by whoever has them). to: buffers
    that outputs go to; the others go to contiguous tensors.
    """

    def __init__(self, plan: Plan, inputs: Sequence[int], to: dict[int, Buffer] | None = None) -> None:
        self.plan, self.inputs, self.to, self.images = plan, inputs, to or {}, plan.images
        self.entries, self.exits = self._copies()
        self.steps = joined([self.entries, *plan.steps, self.exits], plan.threads)

    def run(self, given: Sequence[int], made: Sequence[int], count: int) -> None:
        """Compute `count` images, at most `images`."""
        for kernel, address in zip(self.entries, given, strict=True):
            kernel.table[0] = address
        for kernel, address in zip(self.exits, made, strict=True):
            kernel.table[1] = address
        for step in self.steps:
            if isinstance(step, Job):
                step.run(count)
            else:
                step(count)

    def apart(self, count: int) -> Apart | None:
        """Return its kernels for `count` images, with copies of their own; None where torch does some."""
        if count > self.images or any(not isinstance(step, Job) for step in self.plan.steps):
            return None
        body = [kernel for step in self.plan.steps if isinstance(step, Job) for kernel in step.kernels]
        entries, exits = self._copies()
        return Apart(*([kernel.of(count) for kernel in group] for group in (entries, body, exits)))

    def _copies(self) -> tuple[list[Kernel], list[Kernel]]:
        targets = {number: buffer.geometry for number, buffer in self.to.items()}
        entries = [into(self.plan.entries[number]) for number in self.inputs]
        return entries, [out_of(b, targets.get(n)) for n, b in self.plan.exits.items()]


class Apart(NamedTuple):
    """A part's kernels: those that read its inputs, those between, and those that write its outputs."""

    entries: list[Kernel]
    body: list[Kernel]
    exits: list[Kernel]


class Staged:
    """A part for as many images as lie side by side: large planes first, then all small ones at once."""

    def __init__(self, part: Part, lanes: int, plan: Callable[[Part, int], Plan]) -> None:
        self.part, self.images = part, lanes
        large, small = part.stages
        assert small is not None
        own = plan(small, lanes)
        self.places = own.entries
        self.small = Placed(own, [n for n in small.inputs if n in part.inputs])
        self.large = None if large is None else Placed(plan(large, 1), large.inputs, own.entries)
        self._unrolled: dict[int, Unrolled | None] = {}  # by the number of images

    def run(self, given: Sequence[int], made: Sequence[int], count: int) -> None:
        """Compute `count` images, at most `images`."""
        if count not in self._unrolled:
            self._unrolled[count] = self._unroll(count)
        if whole := self._unrolled[count]:
            whole.run(given, made)
            return
        where = dict(zip(self.part.inputs, given, strict=True))
        if self.large is not None:
            for begin, images in self._chunks(count):
                inputs = [where[n] + begin * self.part.size(n) for n in self.large.inputs]
                outputs = [self._place(n, begin) for n in self.large.plan.part.outputs]
                self.large.run(inputs, outputs, images)
        self.small.run([where[n] for n in self.small.inputs], made, count)

    def _chunks(self, count: int) -> list[tuple[int, int]]:
        """First image and number of images of each run of the large planes."""
        step = self.large.images if self.large else count
        return [(begin, min(step, count - begin)) for begin in range(0, count, step)]

    def _place(self, number: int, image: int) -> int:
        return self.places[number].floats.ctypes.data + 4 * image

    def _unroll(self, count: int) -> Unrolled | None:
        """All of it as one list of kernels; None where torch does some of it."""
        found = Unrolled(Job(self.small.plan.threads))
        places = {number: index for index, number in enumerate(self.part.inputs)}
        pieces = [(self.large, begin, images) for begin, images in self._chunks(count) if self.large]
        for placed, begin, images in (*pieces, (self.small, 0, count)):
            own = placed.apart(images)
            if own is None:
                return None
            for number, kernel in zip(placed.inputs, own.entries, strict=True):
                found.reads.append((kernel.table, places[number], begin * self.part.size(number)))
            for number, kernel in zip(placed.plan.part.outputs, own.exits, strict=True):
                if placed is self.small:
                    found.writes.append(kernel.table)
                else:
                    kernel.table[1] = self._place(number, begin)
            for kernel in (*own.entries, *own.body, *own.exits):
                found.job.add(kernel)
        return found


@dataclass
class Unrolled:
    """A list of kernels. reads: (table that holds an address, which input, bytes from its start); writes."""

    job: Job
    reads: list[tuple[np.ndarray, int, int]] = field(default_factory=list)
    writes: list[np.ndarray] = field(default_factory=list)

    def run(self, given: Sequence[int], made: Sequence[int]) -> None:
        """Run it once."""
        for table, index, offset in self.reads:
            table[0] = given[index] + offset
        for table, address in zip(self.writes, made, strict=True):
            table[1] = address
        self.job.run(1)


def joined(parts: Sequence[list[Kernel] | Step], threads: int) -> list[Step]:
    """Return kernels and steps in their order, with as few jobs as can be."""
    found: list[Step] = []
    for part in parts:
        if not isinstance(part, Job | list):
            found.append(part)
            continue
        if not found or not isinstance(found[-1], Job):
            found.append(Job(threads))
        job = found[-1]
        assert isinstance(job, Job)
        for kernel in part.kernels if isinstance(part, Job) else part:
            job.add(kernel)
    return found
