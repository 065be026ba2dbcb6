"""Masks as bits: a mask acts as a bitwise AND on the floats that it covers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

_INTEGER = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}

_PIECE = 1 << 17  # fits the second-level cache


def packed(mask: Tensor) -> Tensor:
    """Return the mask as uint8, eight weights a byte."""
    return torch.from_numpy(np.packbits(mask.reshape(-1).cpu().numpy()))


def unpacked(packed: Tensor, shape: Sequence[int]) -> Tensor:
    """Return the bool mask of this shape that `packed` gave."""
    count = int(np.prod(shape, dtype=np.int64))
    return torch.from_numpy(np.unpackbits(packed.numpy(), count=count).astype(bool)).reshape(tuple(shape))


@contextmanager
def one_thread() -> Iterator[None]:
    """Run the calling thread's tensor operations on one thread.

    Work on cache-sized pieces is too short to share: torch would wake its other threads for each operation,
    which costs more than it saves, and 40 times more where the cores are busy.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def bits_of(parameter: Tensor, mask: Tensor) -> Tensor:
    """The mask as integers of the parameter's element size, -1 where kept and 0 where removed.

    A mask acts as a bitwise AND on the float's bits: as fast as multiplying by a float mask and, unlike it,
    it turns NaN and infinity into 0 as well. The bits lie in memory as the parameter does (channels last
    too), so that the two are walked together.
    """
    integer = _INTEGER[parameter.element_size()]
    bits = torch.empty_like(parameter, dtype=integer, requires_grad=False)
    return bits.copy_(mask).neg_()


def and_(values: Tensor, bits: Tensor) -> None:
    """Clear the values whose bits are 0, in place."""
    if values.element_size() != bits.element_size():  # a gradient in another precision than its weight
        bits = bits.to(_INTEGER[values.element_size()])
    values.detach().view(bits.dtype).bitwise_and_(bits)


def clear_(parameter: Tensor, mask: Tensor) -> None:
    """Set the removed weights to exactly 0, piece by piece, so that no copy of the whole mask is made."""
    mask = mask.to(parameter.device)
    if not parameter.is_contiguous():
        return and_(parameter, bits_of(parameter, mask))
    flat, kept = parameter.detach().view(-1), mask.reshape(-1)
    for at in range(0, len(flat), _PIECE):
        values = flat[at : at + _PIECE]
        and_(values, bits_of(values, kept[at : at + _PIECE]))
    return None
