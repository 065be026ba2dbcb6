"""A whole network for one size of the batch as a single list of kernels: one call of machine code runs it.

What is between parts must be views of tensors, such as a flattening, which take no work.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from torch import Tensor

from prunery.runtime.layers import Layer, Layers
from prunery.runtime.linear import LinearPlan
from prunery.runtime.placed import Placed, fresh, ready
from prunery.runtime.plan import Part
from prunery.runtime.team import Job, Kernel

Piece = Layer | tuple[Part, Placed | LinearPlan]
Place = tuple[np.ndarray, int]  # where in a kernel's table an address stands


class NotRecordableError(Exception):
    """A network of which torch does some of the work; never shown."""


class Recorded:
    """A network that is run as it was recorded.

    pieces: parts with their plans, and the layers between. sample: what to record it with.
    NotRecordableError: torch is needed.
    """

    def __init__(
        self, network: Layers, pieces: Iterable[Piece], sample: Sequence[Tensor], threads: int
    ) -> None:
        self.job = Job(threads)
        self._values = dict(zip(network.inputs, map(ready, sample), strict=True))
        self._batch = sample[0].shape[0]
        self._memory = {number: number for number in network.inputs}  # whose memory a tensor has
        self._places: dict[int, list[Place]] = {number: [] for number in network.inputs}
        for piece in pieces:
            if isinstance(piece, Layer):
                self._view(piece)
            else:
                self._part(*piece)
        self.shapes = [tuple(self._values[number].shape) for number in network.outputs]
        written = [self._memory[number] for number in network.outputs]
        if len({*written, *network.inputs}) < len(written) + len(network.inputs):
            raise NotRecordableError
        self.places = [self._places[number] for number in (*network.inputs, *written)]
        others = {*self._places} - {*network.inputs, *written}
        self._values = {n: self._values[n] for n in others}  # which are kept: kernels know where they lie

    def __call__(self, given: Sequence[Tensor]) -> list[Tensor]:
        """Return the network's outputs."""
        given = [ready(tensor) for tensor in given]
        made = [fresh(*shape) for shape in self.shapes]
        for places, tensor in zip(self.places, (*given, *made), strict=True):
            address = tensor.data_ptr()
            for table, index in places:
                table[index] = address
        self.job.run(self._batch)
        return made

    def _view(self, layer: Layer) -> None:
        """Follow a layer that moves nothing."""
        alone = layer.kind == "torch" and len(layer.inputs) == len(layer.outputs) == 1
        if not alone or {*layer.step.reads()} - {*self._memory}:
            raise NotRecordableError
        layer.run(self._values, self._batch)
        tensors = self._values[layer.inputs[0]], self._values[layer.output]
        if len({(t.data_ptr(), t.numel(), t.dtype, t.is_contiguous()) for t in tensors}) > 1:
            raise NotRecordableError
        self._memory[layer.output] = self._memory[layer.inputs[0]]

    def _part(self, part: Part, plan: Placed | LinearPlan) -> None:
        found = plan.apart(self._batch)
        if found is None or any(number not in self._memory for number in part.inputs):
            raise NotRecordableError
        for number, kernel in zip(part.inputs, found.entries, strict=True):
            self._place(self._memory[number], kernel, 0)
        for number, kernel in zip(part.outputs, found.exits, strict=True):
            self._values[number] = fresh(self._batch, *part.shapes[number])
            self._memory[number], self._places[number] = number, []
            self._place(number, kernel, 1)
        for kernel in (*found.entries, *found.body, *found.exits):
            self.job.add(kernel)

    def _place(self, number: int, kernel: Kernel, index: int) -> None:
        kernel.table[index] = self._values[number].data_ptr()
        self._places[number].append((kernel.table, index))
