"""One tensor in few bytes: where its values are, and the values, in whichever form is the smallest.

A value is kept unless all its bits are 0, so nothing is lost, -0.0 and NaN included. See docs/format.md.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

__all__ = ["Coded", "CodingError", "decode", "dtype_name", "encode", "inflated", "zstd"]

Bytes = NDArray[np.uint8]

ROTATED = frozenset(["float16", "bfloat16", "float32", "float64"])
"""Types whose sign is moved behind the other bits, so that a byte holds nothing but exponent."""
_UNSIGNED = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}
_WORDS = {"complex32": 2, "complex64": 4, "complex128": 8}
_FAST, _SMALL = 1, 12  # levels of compression; at 1 random bytes are entropy-coded, which is best for gaps
_SMALL_UP_TO = 1 << 16  # bytes


class CodingError(ValueError):
    """Bytes that are not what their description says."""


@dataclass(frozen=True)
class Coded:
    """A tensor in parts. coding: "dense", "bitmask" or "gaps"; count: of the values that are there."""

    coding: str
    count: int
    parts: tuple[tuple[bytes, int], ...]  # what is stored, and how many bytes it stands for


def dtype_name(dtype: torch.dtype) -> str:
    """Return the name of a type as it stands in a file."""
    return str(dtype).removeprefix("torch.")


def encode(tensor: Tensor) -> Coded:
    """Return a tensor on the CPU in the smallest of three forms."""
    name, words = dtype_name(tensor.dtype), _words_of(tensor)
    kept = np.flatnonzero(words)
    dense = len(kept) * 4 > 3 * len(words)
    values = tuple(map(_packed, planes(words if dense else words[kept], rotated=name in ROTATED)))
    if dense:
        return Coded("dense", len(words), values)
    forms: dict[str, Callable[[], Bytes]] = {
        "bitmask": lambda: np.packbits(words != 0, bitorder="little"),
        "gaps": lambda: gaps(kept),
    }
    if len(kept) * 3 > len(words):  # as bits they are smaller for certain
        del forms["gaps"]
    where = {coding: _packed(form()) for coding, form in forms.items()}
    best = min(where, key=lambda coding: len(where[coding][0]))
    return Coded(best, len(kept), (where[best], *values))


def decode(
    coding: str, dtype: str, shape: Sequence[int], count: int, parts: Sequence[tuple[bytes, int]]
) -> Tensor:
    """Return the tensor that `encode` took; CodingError where the parts do not fit the description."""
    kind, size = getattr(torch, dtype), _word_bytes(dtype)
    total = prod(shape) * (2 if dtype in _WORDS else 1)
    sparse = coding in ("bitmask", "gaps")
    counted = 0 <= count <= total if sparse else count == total
    if not (sparse or coding == "dense") or not counted or len(parts) != size + sparse:
        raise CodingError(f"{coding!r} with {count} values in {len(parts)} parts of a tensor of {total}")
    values = parts[1:] if sparse else parts
    stored = [_unpacked(part, count if sparse else total) for part in values]
    words = joined(stored, rotated=dtype in ROTATED)
    if sparse:
        where = _positions(coding, parts[0], count, total)
        everything = np.zeros(total, words.dtype)
        everything[where] = words
        words = everything
    return torch.from_numpy(words.view(np.uint8)).view(kind).reshape(tuple(shape))


def _positions(coding: str, part: tuple[bytes, int], count: int, total: int) -> NDArray[Any]:
    if coding == "bitmask":
        bits = np.unpackbits(_unpacked(part, (total + 7) // 8), count=total, bitorder="little")
        where = np.flatnonzero(bits)
    else:
        if part[1] > count + total // 255:
            raise CodingError(f"{part[1]} bytes of gaps for {count} values of {total}")
        where = from_gaps(_unpacked(part, part[1]))
    if len(where) != count or (count and int(where[-1]) >= total):
        raise CodingError(f"positions of {len(where)} values where there are {count} of {total}")
    return where


def planes(words: NDArray[Any], *, rotated: bool) -> list[Bytes]:
    """Return the first, second, ... byte of all values, the lowest first."""
    bits = words.dtype.itemsize * 8
    if rotated:
        words = (words << words.dtype.type(1)) | (words >> words.dtype.type(bits - 1))
    each = (
        words.astype(words.dtype.newbyteorder("<"), copy=False)
        .view(np.uint8)
        .reshape(len(words), words.itemsize)
    )
    return [np.ascontiguousarray(each[:, place]) for place in range(each.shape[1])]


def joined(each: Sequence[Bytes], *, rotated: bool) -> NDArray[Any]:
    """Return the values whose bytes `planes` gave."""
    kind = np.dtype(_UNSIGNED[len(each)])
    words = np.ascontiguousarray(np.stack(each, 1)).reshape(-1).view(kind.newbyteorder("<")).astype(kind)
    if rotated:
        words = (words >> kind.type(1)) | (words << kind.type(kind.itemsize * 8 - 1))
    return words


def gaps(positions: NDArray[Any]) -> Bytes:
    """Return how many places lie before each position, in bytes: 255 stands for 255 places and goes on."""
    between = np.diff(positions, prepend=-1) - 1
    more, last = np.divmod(between, 255)
    code = np.full(int(more.sum()) + len(last), 255, np.uint8)
    code[np.cumsum(more + 1) - 1] = last
    return code


def from_gaps(code: Bytes) -> NDArray[np.int64]:
    """Return the positions whose gaps `gaps` gave."""
    ends = np.flatnonzero(code != 255)
    return np.cumsum(code, dtype=np.int64)[ends] + np.arange(len(ends))


def _words_of(tensor: Tensor) -> NDArray[Any]:
    """Return the elements as whole numbers of their size; of a complex one, its two parts."""
    size = _word_bytes(dtype_name(tensor.dtype))
    data = tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy()
    return data.view(_UNSIGNED[size])


def _word_bytes(dtype: str) -> int:
    kind = getattr(torch, dtype, None)
    size = _WORDS.get(dtype, kind.itemsize if isinstance(kind, torch.dtype) else 0)
    if size not in _UNSIGNED:
        raise CodingError(f"tensors of type {dtype!r} are not known")
    return size


def _packed(data: Bytes) -> tuple[bytes, int]:
    """Return bytes as they are stored, compressed if that is smaller, and how many they are."""
    raw = data.tobytes()
    quick = zstd.compress(raw, level=_FAST)
    if len(quick) < 0.3 * len(raw) or len(raw) <= _SMALL_UP_TO:
        quick = min(quick, zstd.compress(raw, level=_SMALL), key=len)
    return (quick if len(quick) < len(raw) else raw), len(raw)


def _unpacked(part: tuple[bytes, int], expected: int) -> Bytes:
    """Return the bytes of a part; CodingError unless they are as many as expected."""
    stored, size = part
    if size != expected:
        raise CodingError(f"a part of {size} bytes where {expected} are expected")
    return np.frombuffer(inflated(stored, size), np.uint8)


def inflated(stored: bytes, size: int) -> bytes:
    """Return `size` bytes from what is stored: themselves, or one frame of zstd; no more is ever made."""
    if len(stored) >= size:
        if len(stored) > size:
            raise CodingError(f"{len(stored)} bytes are stored for {size}")
        return stored
    reader = zstd.ZstdDecompressor()
    try:
        raw: bytes = reader.decompress(stored, max_length=size)
        whole = reader.eof or not reader.decompress(b"", max_length=1)
    except zstd.ZstdError as problem:
        raise CodingError(f"they are compressed, and cannot be read: {problem}") from problem
    if len(raw) != size or not whole or reader.unused_data:
        found = f"{len(raw)} bytes come out" if len(raw) < size else "more come out, or follow,"
        raise CodingError(f"{found} where there should be {size} bytes")
    return raw
