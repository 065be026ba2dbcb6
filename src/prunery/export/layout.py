"""The bytes of a file of tensors: parts one behind the other, then a header that says what they are.

So it is written in one go, one tensor at a time; and one tensor is read without the others. docs/format.md
says it byte by byte.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from math import prod
from typing import Any, BinaryIO

import torch
from torch import Tensor

from prunery import atomic
from prunery.errors import ContainerError
from prunery.export.coding import Coded, CodingError, decode, dtype_name, encode, inflated, zstd

MAGIC = b"\x89PRN\r\n\x1a\x02"
_FOOTER = struct.Struct("<QQQ32s")  # where the header begins, its bytes, those it stands for, sha256
_HEADER_MOST = 1 << 26  # bytes
_USUAL, _MOST = 1 << 24, 500  # bytes of tensors that any file may hold; more: times the size of the file


class Writer:
    """Writes tensors, one at a time; `close` writes the header."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._place = file, len(MAGIC)
        self._entries: dict[str, dict[str, Any]] = {}
        file.write(MAGIC)

    def add(self, name: str, tensor: Tensor, **more: Any) -> Coded:
        """Write a tensor on the CPU. more: what else its entry in the header says."""
        coded, digest = encode(tensor), hashlib.sha256()
        for stored, _ in coded.parts:
            self._file.write(stored)
            digest.update(stored)
        self._entries[name] = {
            "at": self._place,
            "dtype": dtype_name(tensor.dtype),
            "shape": list(tensor.shape),
            "coding": coded.coding,
            "count": coded.count,
            "parts": [[len(stored), size] for stored, size in coded.parts],
            "sha256": digest.hexdigest(),
            **more,
        }
        self._place += sum(len(stored) for stored, _ in coded.parts)
        return coded

    def close(self, about: Mapping[str, Any]) -> None:
        """Write the header: `about`, and the entries of the tensors."""
        raw = json.dumps({**about, "tensors": self._entries}, sort_keys=True).encode()
        stored = zstd.compress(raw, level=12)
        self._file.write(stored)
        numbers = (self._place, len(stored), len(raw))
        self._file.write(_FOOTER.pack(*numbers, _digest(stored, numbers)))


def _digest(stored: bytes, numbers: tuple[int, int, int]) -> bytes:
    return hashlib.sha256(stored + struct.pack("<QQQ", *numbers)).digest()


@contextmanager
def writing(path: str | os.PathLike[str], about: Mapping[str, Any]) -> Iterator[Writer]:
    """Within it tensors are written to a file, which is there whole afterwards, or not at all."""
    with atomic.atomic_file(path) as file:
        writer = Writer(file)
        yield writer
        writer.close(about)


class Reader:
    """A file of tensors, open for reading. Whatever is wrong with it is a ContainerError."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = path
        try:
            self._file = open(path, "rb")  # noqa: SIM115  (closed by `close`)
        except (OSError, ValueError, TypeError) as problem:
            raise self.wrong(str(problem)) from problem
        try:
            self.about = self._header()
            self.entries: dict[str, dict[str, Any]] = self.about.pop("tensors", None)
            self._places = self._checked()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def wrong(self, found: str) -> ContainerError:
        """Return the error that says what is wrong with the file."""
        return ContainerError(f"a model from {self.path}", found, "give a whole file that prunery.save wrote")

    def _header(self) -> dict[str, Any]:
        size = os.fstat(self._file.fileno()).st_size
        if self._file.read(len(MAGIC)) != MAGIC or size < len(MAGIC) + _FOOTER.size:
            raise self.wrong("the file holds something else, or is cut short")
        self._file.seek(size - _FOOTER.size)
        place, length, raw, digest = _FOOTER.unpack(self._file.read())
        if place + length + _FOOTER.size != size or raw > _HEADER_MOST:
            raise self.wrong("it is cut short, or longer than it says")
        self._file.seek(place)
        stored = self._file.read(length)
        if _digest(stored, (place, length, raw)) != digest:
            raise self.wrong("its header is damaged")
        try:
            about = json.loads(inflated(stored, raw))
        except (CodingError, ValueError, RecursionError) as problem:
            raise self.wrong(f"its header cannot be read: {problem}") from problem
        if not isinstance(about, dict):
            raise self.wrong("its header is no mapping")
        self._end = place
        return about

    def _checked(self) -> dict[str, int]:
        """Return where the parts of each tensor begin, after a look at what the header says of them."""
        if not isinstance(self.entries, dict):
            raise self.wrong("its header tells of no tensors")
        place, places, total = len(MAGIC), {}, 0
        wrong = [name for name, entry in self.entries.items() if not _is_entry(entry)]
        if wrong:
            raise self.wrong(f"its header says something impossible of {wrong[0]!r}")
        for name, entry in sorted(self.entries.items(), key=lambda item: _place(item[1])):
            places[name] = place
            if entry["at"] != place:
                raise self.wrong(f"its header has {name!r} at another place than where it is")
            place += sum(stored for stored, _ in entry["parts"])
            total += prod(entry["shape"]) * getattr(torch, entry["dtype"]).itemsize
        if place != self._end:
            raise self.wrong("its tensors are not as long as its header says")
        if total > max(_USUAL, _MOST * self._end):
            raise self.wrong(f"it says that it holds {total:,} bytes of tensors, in {self._end:,} bytes")
        return places

    def read(self, name: str) -> Tensor:
        """Return one tensor, as it was written."""
        entry, parts = self.entries[name], []
        self._file.seek(self._places[name])
        digest = hashlib.sha256()
        for length, size in entry["parts"]:
            stored = self._file.read(length)
            digest.update(stored)
            parts.append((stored, size))
        if digest.hexdigest() != entry["sha256"]:
            raise self.wrong(f"{name!r} is damaged")
        try:
            return decode(entry["coding"], entry["dtype"], entry["shape"], entry["count"], parts)
        except CodingError as problem:
            raise self.wrong(f"{name!r} cannot be read: {problem}") from problem


def _place(entry: dict[str, Any]) -> tuple[int, int]:
    """Return where a tensor begins, and its length: one of no bytes lies before the next."""
    return entry["at"], sum(stored for stored, _ in entry["parts"])


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 1 << 62


def _is_entry(entry: Any) -> bool:
    """Whether what a header says of a tensor is of the right kinds."""
    if not isinstance(entry, dict):
        return False
    shape, parts = entry.get("shape"), entry.get("parts")
    return (
        isinstance(getattr(torch, str(entry.get("dtype")), None), torch.dtype)
        and isinstance(shape, list)
        and len(shape) <= 64
        and all(map(_is_count, shape))
        and isinstance(parts, list)
        and len(parts) <= 16
        and all(isinstance(p, list) and len(p) == 2 and all(map(_is_count, p)) for p in parts)
        and _is_count(entry.get("count"))
        and _is_count(entry.get("at"))
        and isinstance(entry.get("sha256"), str)
        and isinstance(entry.get("coding"), str)
    )
