"""A part of a network on buffers of its own: kernels in an order, and torch between them where it must be.

Large planes run in the image layout, as many images at a time as the second cache holds; small ones in the
lanes layout, where each weight serves as many images as a vector has floats.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from torch import Tensor

from prunery.runtime import native
from prunery.runtime.geometry import Geometry, aligned, image, lanes
from prunery.runtime.kernels import planes
from prunery.runtime.kernels.planes import MaxPool, Phases, Plane
from prunery.runtime.layers import Layer
from prunery.runtime.products import Buffer, Convolution, fits_images, in_images, in_lanes
from prunery.runtime.team import Job, Kernel
from prunery.runtime.tune import Task, Tuner

SMALL = 16  # pixels of a plane that is computed for 16 images at a time
Shape = tuple[int, ...]


@dataclass
class Part:
    """Consecutive layers of a network that can run on buffers. shapes: of each tensor, without the batch."""

    layers: list[Layer]
    inputs: list[int]
    outputs: list[int]
    shapes: dict[int, Shape]
    of_rows: bool = False  # linear layers
    convolutions: dict[int, Convolution] = field(default_factory=dict)  # by the number of their output

    def __post_init__(self) -> None:
        for layer in self.layers:
            if layer.kind == "conv":
                self.convolutions[layer.output] = Convolution(layer)

    def size(self, number: int) -> int:
        """The bytes of an image's tensor."""
        return 4 * math.prod(self.shapes[number])

    def bytes(self) -> int:
        """The most that one image's inputs and outputs of a layer take."""
        return max(sum(self.size(n) for n in (*layer.reads(), layer.output)) for layer in self.layers)

    @cached_property
    def stages(self) -> tuple[Part | None, Part | None]:
        """The part as its large planes and the small ones after them."""
        small = [math.prod(self.shapes[layer.output][1:]) <= SMALL for layer in self.layers]
        first = next((i for i, layer in enumerate(self.layers) if small[i] and layer.kind == "conv"), None)
        if first is None or not all(small[first:]):
            return self, None
        needed = {n for layer in self.layers[first:] for n in layer.reads()}
        made = {n for layer in self.layers[:first] for n in layer.outputs}
        if set(self.outputs) & made:
            return self, None
        inputs = [n for n in (*self.inputs, *sorted(made)) if n in needed]
        after = Part(self.layers[first:], inputs, self.outputs, self.shapes)
        if not made:
            return None, after
        return Part(self.layers[:first], self.inputs, [n for n in inputs if n in made], self.shapes), after

    def readers(self, number: int) -> list[Layer]:
        """Return the layers that read a tensor."""
        return [layer for layer in self.layers if number in layer.reads()]


class Plan:
    """A part for up to `images` images at a time; lanes: above 1, that many side by side."""

    def __init__(self, part: Part, images: int, threads: int, tuner: Tuner, lanes: int = 1) -> None:
        self.part, self.images, self.threads, self.tuner, self.lanes = part, images, threads, tuner, lanes
        self.steps: list[Job | Callable[[int], None]] = []
        self.buffers: dict[int, Buffer] = {}
        self.phases: dict[tuple[int, int], Buffer] = {}  # by number and stride
        self.free: dict[Geometry, list[np.ndarray]] = {}
        self.entries = {number: self._new(number) for number in part.inputs}
        for place, layer in enumerate(part.layers):
            self._lower(layer)
            self._release(place)
        self.exits = {number: self.buffers[number] for number in part.outputs}

    # places
    def _shape(self, number: int) -> tuple[int, int, int]:
        shape = self.part.shapes[number]
        return (shape[0], 1, shape[1]) if len(shape) == 2 else (shape[0], shape[1], shape[2])

    def _view(self, number: int) -> Tensor:
        buffer = self.buffers[number]
        return buffer.geometry.view(buffer.floats, self.images)

    def _new(self, number: int, pitch: int = 0) -> Buffer:
        channels, height, width = self._shape(number)
        if self.lanes > 1:
            geometry = lanes(channels, height, width, self.lanes)
        else:
            geometry = image(channels, height, width, self._rows(number, (1, 1)), pitch)
        self.buffers[number] = buffer = self._allocate(geometry)
        return buffer

    def _rows(self, number: int, stride: tuple[int, int]) -> int:
        """The rows of zeros that convolutions of that stride need around a tensor's (phase) planes."""
        rows = 0
        for layer in self.part.readers(number):
            conv = self.part.convolutions.get(layer.output)
            if conv and number in layer.inputs and layer.stride == stride:
                rows = max(rows, conv.rows_of_zeros())
        return rows

    def _allocate(self, geometry: Geometry) -> Buffer:
        if self.free.get(geometry):
            return Buffer(geometry, self.free[geometry].pop())
        floats = aligned(geometry.floats(self.images))
        self.tuner.nbytes += floats.nbytes
        return Buffer(geometry, floats)

    def _release(self, place: int) -> None:
        """Give back the buffers that nothing reads any more."""
        later = {n for layer in self.part.layers[place + 1 :] for n in layer.reads()} | {*self.part.outputs}
        gone = [self.buffers.pop(n) for n in [*self.buffers] if n not in later]
        gone += [self.phases.pop(key) for key in [*self.phases] if key[0] not in later]
        for buffer in gone:
            self.free.setdefault(buffer.geometry, []).append(buffer.floats)

    # kernels
    def _add(self, kernels: list[Kernel]) -> None:
        if not self.steps or not isinstance(self.steps[-1], Job):
            self.steps.append(Job(self.threads))
        job = self.steps[-1]
        assert isinstance(job, Job)
        for kernel in kernels:
            job.add(kernel)

    def _plane_kernel(self, spec: Phases | MaxPool, source: Buffer, made: Buffer) -> None:
        table = np.array([source.floats.ctypes.data, made.floats.ctypes.data], np.int64)
        function, items = native.address(planes.source(spec)), source.geometry.channels
        self._add([Kernel(function, table, items, self.lanes == 1, (source, made))])

    def _phases_of(self, number: int, stride: tuple[int, int]) -> Buffer:
        """The phases of a tensor for a stride; they have room for every layer that reads them."""
        if (number, stride[0]) not in self.phases:
            source = self.buffers[number]
            given = source.geometry
            height, width = -(-given.height // stride[0]), -(-given.width // stride[0])
            rows = self._rows(number, stride)
            made = self._allocate(image(given.channels * stride[0] ** 2, height, width, rows))
            self.phases[number, stride[0]] = made
            self._plane_kernel(Phases(plane_of(given), plane_of(made.geometry), stride[0]), source, made)
        return self.phases[number, stride[0]]

    # layers
    def _lower(self, layer: Layer) -> None:
        if layer.kind == "conv":
            self._conv(layer)
        elif not self._pool(layer):
            self._torch(layer)

    def _conv(self, layer: Layer) -> None:
        conv, source = self.part.convolutions[layer.output], self.buffers[layer.inputs[0]]
        residual = None if layer.residual is None else self.buffers[layer.residual]
        if self.lanes == 1:
            size = self._shape(layer.output)[1:]
            if not fits_images(conv, source.geometry, size, residual and residual.geometry):
                self._torch(layer)
                return
            if layer.stride != (1, 1):
                source = self._phases_of(layer.inputs[0], layer.stride)
            made, function = self._new(layer.output, source.geometry.pitch), in_images
        else:
            made, function = self._new(layer.output), in_lanes
            if layer.groups > 1:
                self._torch(layer)
                return
        task = Task(conv, source, made, residual, self.images, self.threads, function)
        kernels = self.tuner.kernels(task)
        if kernels is None:
            self._torch(layer)
        else:
            self._add(kernels)

    def _pool(self, layer: Layer) -> bool:
        """Whether the layer is a max-pool, which then is lowered."""
        if layer.step.name != "max_pool2d_with_indices" or len(layer.step.args) > 4:
            return False
        kernel, stride, padding = _window(*layer.step.args[1:])
        source = self.buffers[layer.inputs[0]]
        if source.geometry.pitch > 256:
            return False
        made = self._new(layer.output)
        spec = MaxPool(plane_of(source.geometry), plane_of(made.geometry), kernel, stride, padding)
        self._plane_kernel(spec, source, made)
        return True

    def _torch(self, layer: Layer) -> None:
        """The layer in torch, on views of the buffers."""
        numbers = layer.reads()
        if layer.output not in self.buffers:
            self._new(layer.output)
        views = {n: self._view(n) for n in (*numbers, layer.output)}
        own = {n: t for n, t in self.tuner.constants.items() if n in layer.step.reads()}

        def step(count: int) -> None:
            values: dict[int, Tensor] = dict(own)
            values.update((n, _unplaned(views[n][:count], len(self.part.shapes[n]))) for n in numbers)
            layer.run(values, count)
            views[layer.output][:count].copy_(_planes(values[layer.output]))

        self.steps.append(step)


def plane_of(geometry: Geometry) -> Plane:
    """Return a geometry as kernels know it."""
    return Plane(
        geometry.height, geometry.width, geometry.pitch, geometry.lead, geometry.size, geometry.lanes
    )


def _window(
    kernel: list[int], stride: list[int] | None = None, padding: list[int] | None = None
) -> list[tuple[int, int]]:
    """Kernel, stride and padding of a pool, each (rows, columns)."""
    given = (kernel, stride or kernel, padding or [0])
    return [(numbers[0], numbers[-1]) for numbers in given]


def _planes(tensor: Tensor) -> Tensor:
    """Return (N, C, L) as (N, C, 1, L)."""
    return tensor.unsqueeze(2) if tensor.ndim == 3 else tensor


def _unplaned(tensor: Tensor, axes: int) -> Tensor:
    return tensor.squeeze(2) if axes == 2 else tensor
