"""A part of a network on buffers of its own: kernels in an order, and torch between them where it must be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor

from prunery.runtime import native
from prunery.runtime.geometry import Geometry, aligned, image, lanes
from prunery.runtime.kernels import planes
from prunery.runtime.kernels.planes import MaxPool, Phases, Plane, ToLanes
from prunery.runtime.layers import Layer
from prunery.runtime.products import Buffer, Convolution, fits_images, in_images, in_lanes
from prunery.runtime.team import Job, Kernel
from prunery.runtime.tune import Tuner

SMALL = 16  # pixels of a plane that is computed for 16 images at a time
Shape = tuple[int, ...]


@dataclass
class Part:
    """Consecutive layers of a network that can run on buffers. shapes: of each tensor, without the batch."""

    layers: list[Layer]
    inputs: list[int]
    outputs: list[int]
    shapes: dict[int, Shape]
    convolutions: dict[int, Convolution] = field(default_factory=dict)  # by the number of their output

    def __post_init__(self) -> None:
        for layer in self.layers:
            if layer.kind == "conv":
                self.convolutions[layer.output] = Convolution(layer)

    def readers(self, number: int) -> list[Layer]:
        """Return the layers that read a tensor."""
        return [layer for layer in self.layers if number in layer.reads()]


class Plan:
    """A part for up to `images` images at a time. by_lanes: small planes of all images side by side."""

    def __init__(self, part: Part, images: int, threads: int, tuner: Tuner, *, by_lanes: bool) -> None:
        self.part, self.images, self.threads, self.tuner = part, images, threads, tuner
        made_for = native.isa()
        assert isinstance(made_for, native.Isa)
        self.by_lanes = by_lanes
        self.lanes = made_for.lanes if by_lanes else 1
        self.steps: list[Job | Callable[[int], None]] = []
        self.buffers: dict[tuple[int, int], Buffer] = {}  # by number and lanes
        self.phases: dict[tuple[int, int], Buffer] = {}  # by number and stride
        self.free: dict[Geometry, list[np.ndarray]] = {}
        self.nbytes = 0
        self.entries = [self._new(number, 1) for number in part.inputs]
        for place, layer in enumerate(part.layers):
            self._lower(layer)
            self._release(place)

    def run(self, given: list[Tensor], made: list[Tensor]) -> None:
        """Compute `made` (written into) from `given`, at most `images` images."""
        count = given[0].shape[0]
        for buffer, tensor in zip(self.entries, given, strict=True):
            buffer.geometry.view(buffer.floats, count).copy_(_planes(tensor))
        for step in self.steps:
            if isinstance(step, Job):
                step.run(count)
            else:
                step(count)
        for number, tensor in zip(self.part.outputs, made, strict=True):
            wide = 1 if (number, 1) in self.buffers else self.lanes
            _planes(tensor).copy_(self._view(number, wide)[:count])

    # places
    def _shape(self, number: int) -> tuple[int, int, int]:
        shape = self.part.shapes[number]
        return (shape[0], 1, shape[1]) if len(shape) == 2 else (shape[0], shape[1], shape[2])

    def _view(self, number: int, wide: int) -> Tensor:
        buffer = self.buffers[number, wide]
        return buffer.geometry.view(buffer.floats, self.images if wide == 1 else self.lanes)

    def _new(self, number: int, wide: int, pitch: int = 0) -> Buffer:
        channels, height, width = self._shape(number)
        if wide > 1:
            geometry = lanes(channels, height, width, wide)
        else:
            rows = 0
            for layer in self.part.readers(number):
                conv = self.part.convolutions.get(layer.output)
                if conv and number in layer.inputs and layer.stride == (1, 1):
                    rows = max(rows, conv.rows_of_zeros(height, self._shape(layer.output)[1]))
            geometry = image(channels, height, width, rows, pitch)
        self.buffers[number, wide] = buffer = self._allocate(geometry)
        return buffer

    def _allocate(self, geometry: Geometry) -> Buffer:
        if self.free.get(geometry):
            return Buffer(geometry, self.free[geometry].pop())
        floats = aligned(geometry.floats(self.images))
        self.nbytes += floats.nbytes
        return Buffer(geometry, floats)

    def _release(self, place: int) -> None:
        """Give back the buffers that nothing reads any more."""
        later = {n for layer in self.part.layers[place + 1 :] for n in layer.reads()} | {*self.part.outputs}
        for places in (self.buffers, self.phases):
            for key in [key for key in places if key[0] not in later]:
                buffer = places.pop(key)
                self.free.setdefault(buffer.geometry, []).append(buffer.floats)

    # kernels
    def _add(self, kernels: list[Kernel]) -> None:
        if not self.steps or not isinstance(self.steps[-1], Job):
            self.steps.append(Job(self.threads))
        job = self.steps[-1]
        assert isinstance(job, Job)
        for kernel in kernels:
            job.add(kernel)

    def _plane_kernel(self, spec: Any, source: Buffer, made: Buffer, items: int, *, per_image: bool) -> None:
        table = np.array([source.floats.ctypes.data, made.floats.ctypes.data], np.int64)
        function = native.address(planes.source(spec))
        self._add([Kernel(function, table, items, per_image, (source, made))])

    def _source(self, number: int, wide: int) -> Buffer:
        """A tensor's buffer in that layout, moved there if it is not yet."""
        if (number, wide) not in self.buffers:
            source, made = self.buffers[number, 1], self._new(number, wide)
            channels = source.geometry.channels
            spec = ToLanes(_plane(source.geometry), _plane(made.geometry), channels)
            self._plane_kernel(spec, source, made, channels, per_image=False)
        return self.buffers[number, wide]

    def _phases_of(self, number: int, conv: Convolution, made_height: int) -> Buffer:
        """The phases of a tensor for a stride; they have room for every layer that reads them."""
        stride = conv.layer.stride[0]
        if (number, stride) not in self.phases:
            source = self.buffers[number, 1]
            given = source.geometry
            height, width = -(-given.height // stride), -(-given.width // stride)
            rows = 0
            for layer in self.part.readers(number):
                other = self.part.convolutions.get(layer.output)
                if other and number in layer.inputs and layer.stride == conv.layer.stride:
                    rows = max(rows, other.rows_of_zeros(height, self._shape(layer.output)[1]))
            made = self._allocate(image(given.channels * stride**2, height, width, rows))
            self.phases[number, stride] = made
            spec = Phases(_plane(given), _plane(made.geometry), stride)
            self._plane_kernel(spec, source, made, given.channels, per_image=True)
        return self.phases[number, stride]

    # layers
    def _lower(self, layer: Layer) -> None:
        if layer.kind == "conv":
            self._conv(layer)
        elif not self._pool(layer):
            self._torch(layer)

    def _conv(self, layer: Layer) -> None:
        conv, number = self.part.convolutions[layer.output], layer.inputs[0]
        _, height, width = self._shape(layer.output)
        if self.lanes > 1 and height * width <= SMALL and layer.groups == 1 and len(conv.found.values):
            source, made = self._source(number, self.lanes), self._new(layer.output, self.lanes)
            residual = None if layer.residual is None else self._source(layer.residual, self.lanes)
            function = in_lanes
        else:
            source = self._source(number, 1)
            residual = None if layer.residual is None else self._source(layer.residual, 1)
            if not fits_images(conv, source.geometry, (height, width), residual and residual.geometry):
                self._torch(layer)
                return
            if layer.stride != (1, 1):
                source = self._phases_of(number, conv, height)
            made = self._new(layer.output, 1, source.geometry.pitch)
            function = in_images
        kernels = self.tuner.kernels(conv, source, made, residual, self.images, self.threads, function)
        if kernels is None:
            self.buffers.pop((layer.output, made.geometry.lanes))
            self.free.setdefault(made.geometry, []).append(made.floats)
            self._torch(layer)
        else:
            self._add(kernels)

    def _pool(self, layer: Layer) -> bool:
        """Whether the layer is a max-pool, which then is lowered."""
        if layer.step.name != "max_pool2d_with_indices" or len(layer.step.args) > 4:
            return False
        kernel, stride, padding = _window(*layer.step.args[1:])
        number = layer.inputs[0]
        wide = 1 if (number, 1) in self.buffers else self.lanes
        source = self.buffers[number, wide]
        if source.geometry.pitch > 256:
            return False
        made = self._new(layer.output, wide)
        spec = MaxPool(_plane(source.geometry), _plane(made.geometry), kernel, stride, padding)
        self._plane_kernel(spec, source, made, source.geometry.channels, per_image=wide == 1)
        return True

    def _torch(self, layer: Layer) -> None:
        """The layer in torch, on views of the buffers."""
        numbers = layer.reads()
        wide = 1 if all((n, 1) in self.buffers for n in numbers) else self.lanes
        for number in numbers:
            self._source(number, wide)
        self._new(layer.output, wide)
        views = {n: self._view(n, wide) for n in (*numbers, layer.output)}

        def step(count: int) -> None:
            values: dict[int, Tensor] = {**self.tuner.constants}
            values.update((n, _unplaned(views[n][:count], len(self.part.shapes[n]))) for n in numbers)
            layer.run(values, count)
            views[layer.output][:count].copy_(_planes(values[layer.output]))

        self.steps.append(step)


def _plane(geometry: Geometry) -> Plane:
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
