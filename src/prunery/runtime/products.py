"""Sparse convolutions as kernels on buffers: which taps, strips, tables and packed weights each needs."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple
from weakref import WeakValueDictionary

import numpy as np

from prunery.runtime import native
from prunery.runtime.geometry import LINE, Geometry, pitch_of
from prunery.runtime.kernels import product
from prunery.runtime.kernels.product import FIELDS, Product, Tap
from prunery.runtime.layers import Layer
from prunery.runtime.packing import Nonzeros, Packed, nonzeros, packed, widest_block
from prunery.runtime.team import Kernel


class Buffer(NamedTuple):
    """An activation in memory."""

    geometry: Geometry
    floats: np.ndarray


class Variant(NamedTuple):
    """How a product is computed: rows of a strip, floats of a vector, sums apart, input channels a block."""

    rows: int
    lanes: int
    unroll: int
    block: int


@dataclass(eq=False)
class Convolution:
    """A layer's weights, ready to be packed in any way."""

    layer: Layer
    packings: WeakValueDictionary[Any, Packed] = field(default_factory=WeakValueDictionary)

    def packed(self, *how: Any) -> Packed:
        """Return the nonzeros packed (see `packing.packed`); threads share what is packed alike."""
        key = tuple(h.tobytes() if isinstance(h, np.ndarray) else h for h in how)
        weights = self.packings.get(key)
        if weights is None:
            weights = self.packings[key] = packed(self.found, *how)
        return weights

    @cached_property
    def found(self) -> Nonzeros:
        """The nonzeros of the weight."""
        assert self.layer.weight is not None
        return nonzeros(self.layer.weight.numpy())

    @cached_property
    def bias(self) -> np.ndarray:
        """The bias, zeros where there is none."""
        if self.layer.bias is None:
            return np.zeros(self.found.shape[0], np.float32)
        return np.ascontiguousarray(self.layer.bias.numpy(), np.float32)

    def steps(self, axis: int) -> list[tuple[int, int]]:
        """For each position of the kernel along an axis: whole steps of the output, and the phase."""
        layer = self.layer
        places = range(self.found.shape[2 + axis])
        return [divmod(i * layer.dilation[axis] - layer.padding[axis], layer.stride[axis]) for i in places]

    def rows_of_zeros(self) -> int:
        """Rows of zeros that must lie above each (phase) plane of the input; below it needs no more."""
        return max(0, -min(step for step, _ in self.steps(0)))


def activation(layer: Layer) -> dict[str, float | bool | None]:
    """Return what of a layer goes after its sums."""
    return {"low": layer.low, "high": layer.high, "residual": layer.residual is not None}


def table(
    source: Buffer,
    made: Buffer,
    residual: Buffer | None,
    weights: Packed,
    bias: np.ndarray,
    starts: tuple[np.ndarray, np.ndarray, np.ndarray],
    block_floats: int,
    groups: int,
) -> np.ndarray:
    """Return a product kernel's table. starts: of strips in input, output and residual."""
    beside = residual or made
    channels = len(bias)
    given = {
        "p_input": source.floats.ctypes.data,
        "p_output": made.floats.ctypes.data,
        "p_starts": weights.starts.ctypes.data,
        "p_offsets": weights.offsets.ctypes.data,
        "p_values": weights.values.ctypes.data,
        "p_bias": bias.ctypes.data,
        "p_residual": beside.floats.ctypes.data,
        "blocks": weights.blocks,
        "block_bytes": 4 * block_floats,
        "channels": channels,
        "channel_stride": made.geometry.size * made.geometry.lanes,
        "strips": len(starts[0]),
        "p_from": starts[0].ctypes.data,
        "p_to": starts[1].ctypes.data,
        "input_stride": source.geometry.image_stride,
        "output_stride": made.geometry.image_stride,
        "p_residual_to": starts[2].ctypes.data,
        "residual_channel_stride": beside.geometry.size * beside.geometry.lanes,
        "residual_stride": beside.geometry.image_stride,
        "group": -(-channels // groups),
        "groups": groups,
    }
    return np.array([given[name] for name in FIELDS], np.int64)


def in_images(
    conv: Convolution, source: Buffer, made: Buffer, residual: Buffer | None, variant: Variant, groups: int
) -> list[Kernel]:
    """Return the kernels of a convolution in the image layout. source: its input, or its phases."""
    given, shifts = source.geometry, sorted({step for step, _ in conv.steps(1)})
    unit = min(LINE, given.pitch)
    phases = conv.layer.stride[0]
    offsets = np.array(
        [
            [((a * phases + b) * given.size + given.lead + r * given.pitch) // unit for _, b in conv.steps(1)]
            for r, a in conv.steps(0)
        ]
    )
    taps = np.array([[shifts.index(s) for s, _ in conv.steps(1)]] * conv.found.shape[2])
    stride = phases * phases * given.size
    block = min(variant.block, widest_block(conv.found.shape[1], offsets, stride // unit))
    weights = conv.packed(offsets, taps, block, stride // unit)
    kernels: list[Kernel] = []
    for rows, first, count in parts(made.geometry.height, variant.rows):
        vector, unroll = _lanes(rows * given.pitch, variant.lanes), variant.unroll
        sums = rows * given.pitch // vector
        every = tuple((p, p * vector) for p in range(sums))
        spec = Product(
            vector,
            tuple(p * vector for p in range(sums)),
            _masks(made.geometry, sums, vector),
            tuple(Tap(every, s, unroll) for s in shifts),
            given.pitch,
            4 * unit,
            **activation(conv.layer),  # type: ignore[arg-type]
        )
        begin = (first + rows * np.arange(count)) * given.pitch
        beside = (residual or made).geometry.lead
        starts = tuple((begin + lead).astype(np.int32) for lead in (0, made.geometry.lead, beside))
        numbers = table(source, made, residual, weights, conv.bias, starts, block * stride, groups)  # type: ignore[arg-type]
        function = native.address(product.source(spec))
        keep = (source, made, residual, weights, starts, conv)
        kernels.append(
            Kernel(function, numbers, count * groups, True, keep, 0 if kernels else weights.nbytes)
        )
    return kernels


def parts(height: int, rows: int) -> list[tuple[int, int, int]]:
    """Return (rows of a strip, first row, strips) of a plane: strips of `rows`, and one of what is left."""
    rows = min(rows, height)
    count, rest = divmod(height, rows)
    return [(rows, 0, count), *([(rest, height - rest, 1)] if rest else [])]


def _lanes(floats: int, most: int) -> int:
    """The widest vector that divides a strip."""
    lanes = most
    while floats % lanes:
        lanes //= 2
    return lanes


def _masks(made: Geometry, sums: int, vector: int) -> tuple[int, ...]:
    columns = np.arange(sums * vector).reshape(sums, vector) % made.pitch
    if made.width == made.pitch:
        return (-1,) * sums
    return tuple(int(sum(1 << i for i in np.flatnonzero(row < made.width))) for row in columns)


def fits_images(conv: Convolution, given: Geometry, made: tuple[int, int], residual: Geometry | None) -> bool:
    """Whether `in_images` can compute an output of that height and width."""
    layer, shape = conv.layer, conv.found.shape
    phase = given.width if layer.stride == (1, 1) else -(-given.width // layer.stride[1])
    pitch = given.pitch if layer.stride == (1, 1) else pitch_of(phase)
    square = layer.stride[0] == layer.stride[1] and layer.stride[0] <= 4
    made_for = native.isa()
    assert isinstance(made_for, native.Isa)
    widest = made_for.lanes * made_for.sums * 3 // 2
    narrow = made[1] <= pitch <= widest and len({s for s, _ in conv.steps(1)}) <= 11
    fits = residual is None or residual.pitch == pitch
    return layer.groups == 1 and square and narrow and fits and shape[1] > 0


def in_lanes(
    conv: Convolution, source: Buffer, made: Buffer, residual: Buffer | None, variant: Variant, groups: int
) -> list[Kernel]:
    """Return the kernels of a convolution in the lanes layout, a kernel for each tile of `variant.rows`."""
    given, to, layer = source.geometry, made.geometry, conv.layer
    lanes = given.lanes
    block = min(variant.block, widest_block(conv.found.shape[1], np.zeros(1), given.size))
    pixels = [(r, c) for r in range(to.height) for c in range(to.width)]
    tiles = [pixels[i : i + variant.rows] for i in range(0, len(pixels), variant.rows)]
    kernels = []
    for tile in tiles:
        taps, numbers = _static_taps(conv, given, tile, lanes)
        if not taps:
            taps, numbers = [Tap(((0, 0),))], np.full(conv.found.shape[2:], -1)
        used = numbers[conv.found.rows, conv.found.columns] >= 0
        own = conv.found if used.all() else _subset(conv.found, used)
        weights = packed(own, np.zeros_like(numbers), numbers, block, given.size, len(taps))
        stores = tuple((to.lead + r * to.pitch + c) * lanes for r, c in tile)
        spec = Product(
            lanes,
            stores,
            (-1,) * len(tile),
            tuple(taps),
            lanes,
            4 * lanes,
            **activation(layer),  # type: ignore[arg-type]
        )
        zero = np.zeros(1, np.int32)
        block_floats = block * given.size * lanes
        numbers_ = table(source, made, residual, weights, conv.bias, (zero, zero, zero), block_floats, groups)
        keep = (source, made, residual, weights, zero, conv)
        function = native.address(product.source(spec))
        kernels.append(Kernel(function, numbers_, groups, False, keep, weights.nbytes))
    return kernels


def _static_taps(
    conv: Convolution, given: Geometry, tile: list[tuple[int, int]], lanes: int
) -> tuple[list[Tap], np.ndarray]:
    """The taps that reach the tile's pixels, and the tap of each position of the kernel (-1: none)."""
    stride, steps = conv.layer.stride, [conv.steps(0), conv.steps(1)]
    taps: list[Tap] = []
    numbers = np.full(conv.found.shape[2:], -1)
    for i, (down, a) in enumerate(steps[0]):
        for j, (right, b) in enumerate(steps[1]):
            places = [((r + down) * stride[0] + a, (c + right) * stride[1] + b) for r, c in tile]
            reached = tuple(
                (p, (given.lead + y * given.pitch + x) * lanes)
                for p, (y, x) in enumerate(places)
                if 0 <= y < given.height and 0 <= x < given.width
            )
            if reached:
                numbers[i, j] = len(taps)
                taps.append(Tap(reached, 0, max(1, min(4, 8 // len(reached)))))
    return taps, numbers


def _subset(found: Nonzeros, used: np.ndarray) -> Nonzeros:
    own = {name: getattr(found, name)[used] for name in ("outputs", "inputs", "rows", "columns", "values")}
    return replace(found, **own)
