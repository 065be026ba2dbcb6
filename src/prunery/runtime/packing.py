"""Nonzeros in the order that kernels read them: by block of input channels, output channel and tap."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

TINY = 1e-30
"""Weights below are 0: products with them may be subnormal, which slows processors 10 to 50 times."""
MOST = 65535  # the largest offset


@dataclass(frozen=True)
class Nonzeros:
    """The nonzeros of a weight (outputs, inputs, rows, columns), sorted by output and input."""

    outputs: np.ndarray
    inputs: np.ndarray
    rows: np.ndarray
    columns: np.ndarray
    values: np.ndarray  # float32
    shape: tuple[int, int, int, int]
    flushed: int  # weights that were taken for 0

    @property
    def density(self) -> float:
        """The fraction that is not zero."""
        return len(self.values) / max(1, int(np.prod(self.shape)))


@dataclass(frozen=True)
class Packed:
    """What the kernel of a product reads of its weights."""

    starts: np.ndarray  # int32, by (block, output channel, tap), and the end
    offsets: np.ndarray  # uint16, in units
    values: np.ndarray  # float32
    blocks: int

    @property
    def nbytes(self) -> int:
        """Bytes in memory."""
        return self.starts.nbytes + self.offsets.nbytes + self.values.nbytes


def nonzeros(weight: np.ndarray) -> Nonzeros:
    """Return the nonzeros of a weight of four axes."""
    kept = np.abs(weight) >= TINY
    outputs, inputs, rows, columns = np.nonzero(kept)
    values = np.ascontiguousarray(weight[kept], np.float32)
    flushed = int(np.count_nonzero(weight)) - len(values)
    shape = (weight.shape[0], weight.shape[1], weight.shape[2], weight.shape[3])
    return Nonzeros(outputs, inputs, rows, columns, values, shape, flushed)


def packed(
    found: Nonzeros, offsets: np.ndarray, taps: np.ndarray, block: int, stride: int, count: int = 0
) -> Packed:
    """Return the nonzeros packed.

    offsets (rows, columns): units from a channel's start; taps (rows, columns): the tap of each position;
    block: input channels a block; stride: units from one input channel to the next; count: of taps.
    """
    outputs, inputs = found.shape[:2]
    blocks, count = -(-inputs // block), count or int(taps.max()) + 1
    own, within = np.divmod(found.inputs, block)
    key = (own * outputs + found.outputs) * count + taps[found.rows, found.columns]
    order = np.argsort(key, kind="stable")
    starts = np.zeros(blocks * outputs * count + 1, np.int32)
    np.cumsum(np.bincount(key, minlength=len(starts) - 1), out=starts[1:])
    where = within * stride + offsets[found.rows, found.columns]
    assert where.size == 0 or (where.min() >= 0 and where.max() <= MOST)
    return Packed(starts, where[order].astype(np.uint16), found.values[order], blocks)


def widest_block(inputs: int, offsets: np.ndarray, stride: int) -> int:
    """The most input channels of a block whose offsets fit 16 bits."""
    return max(0, min(inputs, (MOST - int(offsets.max())) // max(1, stride) + 1))
