"""Masks as bits: a mask acts as a bitwise AND on the floats that it covers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import numpy as np
import torch
from torch import Tensor

_INTEGER = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64, 16: torch.int64}
"""By element size in bytes; a complex number of two doubles is two integers."""

_GLANCE = 1 << 11  # weights that a first look at a large parameter reads
_PIECE = 1 << 17  # fits the second-level cache


def packed(mask: Tensor) -> Tensor:
    """Return the mask as uint8, eight weights a byte."""
    return torch.from_numpy(np.packbits(mask.reshape(-1).cpu().numpy()))


def unpacked(packed: Tensor, shape: Sequence[int]) -> Tensor:
    """Return the bool mask of this shape that `packed` gave."""
    count = int(np.prod(shape, dtype=np.int64))
    return torch.from_numpy(np.unpackbits(packed.numpy(), count=count).astype(bool)).reshape(tuple(shape))


@contextmanager
def threads_of(count: int | None) -> Iterator[None]:
    """Within it torch works on so many threads where the calling thread asks it to; None leaves them."""
    before = torch.get_num_threads()
    torch.set_num_threads(before if count is None else count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


one_thread = partial(threads_of, 1)
"""Within it the calling thread's tensor operations run on one thread.

Work on cache-sized pieces is too short to share: torch would wake its other threads for each operation,
which costs more than it saves, and 40 times more where the cores are busy.
"""


def bits_of(parameter: Tensor, mask: Tensor) -> Tensor:
    """Return the mask as integers of the parameter's element size, -1 where kept and 0 where removed.

    A mask acts as a bitwise AND on the float's bits: as fast as multiplying by a float mask and, unlike it,
    it turns NaN and infinity into 0 as well. The bits lie in memory as the parameter does (channels last
    too), so that the two are walked together.
    """
    integer = _INTEGER[parameter.element_size()]
    bits = torch.empty_like(parameter, dtype=integer, requires_grad=False)
    return bits.copy_(mask).neg_()


def and_(values: Tensor, bits: Tensor) -> None:
    """Clear the values whose bits are 0, in place."""
    size = values.element_size()
    if bits.dtype is not _INTEGER[size] or bits.device != values.device:  # a gradient unlike its weight
        bits = bits.to(values.device, _INTEGER[size])
    values = values.detach()
    if size == 16:
        values, bits = torch.view_as_real(values), bits.unsqueeze(-1)
    values.view(bits.dtype).bitwise_and_(bits)


def clear_(parameter: Tensor, mask: Tensor) -> None:
    """Set the removed weights to exactly 0, piece by piece, so that no copy of the whole mask is made."""
    mask = mask.to(parameter.device)
    if not parameter.is_contiguous() or parameter.element_size() == 16:
        return and_(parameter, bits_of(parameter, mask))
    integers = parameter.detach().view(_INTEGER[parameter.element_size()]).view(-1)
    flat = mask.reshape(-1)
    for values, kept in zip(torch.split(integers, _PIECE), torch.split(flat, _PIECE), strict=True):
        values.mul_(kept)  # integers: NaN and infinity become 0 too
    return None


def nonzero(values: Tensor) -> Tensor:
    """Return where the values are not 0 (NaN is not); -0.0 is."""
    return (values.detach().float() if values.element_size() == 1 else values.detach()) != 0


def revived(parameter: Tensor, mask: Tensor) -> int:
    """Return how many weights that the mask removes are not 0."""
    return int((nonzero(parameter) & ~mask.to(parameter.device)).count_nonzero())


def zeros_kept(parameter: Tensor, kept: int, mask: Tensor | None = None) -> int:
    """Return how many of the `kept` weights are 0, for a parameter whose removed weights are +0.0.

    On the CPU they are counted as integers first, which takes a third of the time and misses -0.0: a second
    look is taken only where that finds a zero. Of a large parameter a few weights are looked at first: where
    none of those that `mask` keeps is 0, hardly any is.
    """
    values, size = parameter.detach(), parameter.element_size()
    step = values.numel() // _GLANCE | 1  # odd: rows of 64 or 512 are not met at one column alone
    if step > 1 and mask is not None and values.is_contiguous() and not values.is_meta:
        some, kept_some = nonzero(values.view(-1)[::step]), mask.reshape(-1)[::step]
        if torch.equal(some, kept_some.to(some.device)):
            return 0
    quick = values.device.type == "cpu" and size < 16
    if values.is_meta or (quick and np.count_nonzero(values.view(_INTEGER[size]).numpy()) >= kept):
        return 0
    return kept - int(nonzero(values).count_nonzero())
