"""Image sets read from parquet files: every row is checked and every image decoded.

A row is a struct of encoded bytes (PNG or WebP) and an integer label, as dataset libraries write them.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from prunery.data.names import SPLITS, Facts
from prunery.data.sources import Source
from prunery.errors import DataError

log = logging.getLogger(__name__)

_PNG = b"\x89PNG\r\n\x1a\n"
_FORMATS = ("PNG", "WEBP")
_MODES = {1: "L", 3: "RGB"}
_ROWS = 1000  # decoded at a time

Pixels = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Decoded:
    """Per split: pixels uint8 (n, C, H, W) and labels int64 (n,), in file order; and the classes' names."""

    splits: dict[str, tuple[Pixels, Labels]]
    class_names: tuple[str, ...]


def read(facts: Facts, source: Source) -> Decoded:
    """Return all images and labels of a set; DataError says which file is wrong, and how.

    What can be seen without decoding (columns, row counts, labels) is checked first, for all files.
    """
    files = {split: [_opened(facts, path) for path in source.files[split]] for split in SPLITS}
    labels = {split: _all_labels(facts, source, split, files[split]) for split in SPLITS}
    for split in SPLITS:
        for path, file in zip(source.files[split], files[split], strict=True):
            _check_png(facts, path, file)
    splits: dict[str, tuple[Pixels, Labels]] = {}
    with _progress(facts.name, sum(facts.rows.values())) as advance:
        for split in SPLITS:
            pixels = _all_pixels(facts, source, split, files[split], advance)
            splits[split] = pixels, labels[split]
            _check_fingerprint(facts, source, split, pixels, labels[split])
    return Decoded(splits, _class_names(facts, files["train"][0].schema_arrow.metadata))


def fingerprint(x: Pixels, y: Labels) -> str:
    """Return the sha256 (hex) of a split's images and labels whatever their order and encoding."""
    rows = sorted(
        hashlib.sha256(image.tobytes() + int(label).to_bytes(8, "little")).digest()
        for image, label in zip(x, y, strict=True)
    )
    return hashlib.sha256(b"".join(rows)).hexdigest()


def _opened(facts: Facts, path: Path) -> pq.ParquetFile:
    try:
        file = pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        size = path.stat().st_size if path.exists() else 0
        raise _bad(path, f"it is no whole parquet file ({size} bytes: {_first_line(error)})") from error
    _check_columns(facts, path, file.schema_arrow)
    return file


def _check_columns(facts: Facts, path: Path, schema: Any) -> None:
    for column in (facts.image, facts.label):
        if column not in schema.names:
            has = ", ".join(schema.names)
            raise _bad(path, f"it has no column {column!r}; its columns are: {has}")
    kind = schema.field(facts.image).type
    if not pa.types.is_struct(kind) or kind.get_field_index("bytes") < 0:
        raise _bad(
            path, f"its column {facts.image!r} is {kind}, not a struct with the images' encoded 'bytes'"
        )
    if not pa.types.is_integer(schema.field(facts.label).type):
        raise _bad(path, f"its column {facts.label!r} is {schema.field(facts.label).type}, not an integer")


def _all_labels(facts: Facts, source: Source, split: str, files: list[pq.ParquetFile]) -> Labels:
    paths = source.files[split]
    count = sum(file.metadata.num_rows for file in files)
    if count != facts.rows[split]:
        raise DataError(
            f"the {split} split of {facts.name!r} ({', '.join(map(str, paths))})",
            f"it has {count} images, the whole set has {facts.rows[split]}",
            "copy the files again; give a set of your own with prunery.data.sets.from_dataset",
        )
    return np.concatenate([_labels(facts, path, file) for path, file in zip(paths, files, strict=True)])


def _labels(facts: Facts, path: Path, file: pq.ParquetFile) -> Labels:
    column = _read(path, lambda: file.read(columns=[facts.label])).column(facts.label)
    if column.null_count:
        raise _bad(path, f"{column.null_count} of its labels are empty")
    labels: Labels = column.to_numpy().astype(np.int64)
    wrong = np.flatnonzero((labels < 0) | (labels >= facts.classes))
    if len(wrong):
        problem = f"label {labels[wrong[0]]} in row {wrong[0]} is not in 0..{facts.classes - 1}"
        raise _bad(path, f"{problem} ({len(wrong)} rows are like that)")
    return labels


def _all_pixels(
    facts: Facts, source: Source, split: str, files: list[pq.ParquetFile], advance: Callable[[int], None]
) -> Pixels:
    channels, height, width = facts.shape
    pixels = np.empty((facts.rows[split], channels, height, width), np.uint8)
    at = 0
    for path, file in zip(source.files[split], files, strict=True):
        for row, encoded in _encoded(facts, path, file):
            images = [_image(facts, path, row + i, data) for i, data in enumerate(encoded)]
            flat = np.frombuffer(b"".join(images), np.uint8)
            rows = flat.reshape(len(images), height, width, channels)
            pixels[at : at + len(images)] = rows.transpose(0, 3, 1, 2)
            at += len(images)
            advance(len(images))
    return pixels


def _encoded(facts: Facts, path: Path, file: pq.ParquetFile) -> Iterator[tuple[int, list[bytes]]]:
    """Yield the first row and the encoded images of each batch of rows."""
    batches = file.iter_batches(batch_size=_ROWS, columns=[f"{facts.image}.bytes"])
    row = 0
    while (batch := _read(path, lambda: next(batches, None))) is not None:
        encoded = batch.column(0).field("bytes").to_pylist()
        if not all(encoded):
            empty = next(i for i, data in enumerate(encoded) if not data)
            raise _bad(path, f"the image in row {row + empty} is empty")
        yield row, encoded
        row += len(encoded)


def _check_png(facts: Facts, path: Path, file: pq.ParquetFile) -> None:
    """Raise DataError if a checksum within a PNG is wrong; decoding would notice much later."""
    for row, encoded in _encoded(facts, path, file):
        for i, data in enumerate(encoded):
            if data.startswith(_PNG) and not _whole_png(data):
                raise _bad(path, f"the image in row {row + i} was altered (a PNG checksum is wrong)")


def _whole_png(data: bytes) -> bool:
    at = len(_PNG)  # a chunk is: length (4), type (4), content (length), CRC of type and content (4)
    while at < len(data):
        end = at + 8 + int.from_bytes(data[at : at + 4])
        if zlib.crc32(data[at + 4 : end]) != int.from_bytes(data[end : end + 4]):
            return False
        at = end + 4
    return True


def _image(facts: Facts, path: Path, row: int, encoded: bytes) -> bytes:
    """Return the pixels (H, W, C) of one encoded image; DataError if it is broken or of another size."""
    try:
        image = Image.open(io.BytesIO(encoded), formats=_FORMATS)
        size, mode = image.size, image.mode
        pixels = image.tobytes() if size == facts.shape[:0:-1] else b""
    except Exception as error:  # a broken image raises a dozen types, SyntaxError and struct.error among them
        raise _bad(path, f"the image in row {row} cannot be decoded ({_first_line(error)})") from error
    if not pixels or mode != _MODES[facts.shape[0]]:
        channels, height, width = facts.shape
        wanted = f"{width}×{height} {_MODES[channels]}"
        raise _bad(path, f"the image in row {row} is {size[0]}×{size[1]} {mode}, not {wanted}")
    return pixels


def _check_fingerprint(facts: Facts, source: Source, split: str, x: Pixels, y: Labels) -> None:
    if facts.pixels.get(split, "") not in ("", fingerprint(x, y)):
        raise DataError(
            f"the {split} split of {facts.name!r} ({', '.join(map(str, source.files[split]))})",
            "some of its images or labels are not those of the published set",
            "copy the files again; give a set of your own with prunery.data.sets.from_dataset",
        )


def _class_names(facts: Facts, metadata: dict[bytes, bytes] | None) -> tuple[str, ...]:
    """Return the names in the schema's metadata, or the numbers where there are none."""
    numbers = tuple(map(str, range(facts.classes)))
    try:
        features = json.loads((metadata or {})[b"huggingface"])["info"]["features"]
        names = tuple(map(str, features[facts.label]["names"]))
    except (KeyError, TypeError, ValueError):
        return numbers
    return names if len(names) == facts.classes else numbers


def _read(path: Path, read: Callable[[], Any]) -> Any:
    try:
        return read()
    except (pa.ArrowException, OSError) as error:
        raise _bad(path, f"it cannot be read ({_first_line(error)})") from error


def _bad(path: Path, problem: str) -> DataError:
    return DataError(f"the file {path}", problem, "copy the file again from its repository")


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200].rstrip(".")


@contextmanager
def _progress(name: str, total: int) -> Iterator[Callable[[int], None]]:
    """A function to call with the number of images just done; draws a bar where there is a terminal."""
    from rich.console import Console
    from rich.progress import Progress

    log.info("decoding %s: %d images, once", name, total)
    start = time.perf_counter()
    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task(f"decoding {name}, once", total=total)
        yield lambda count: bar.advance(task, count)
    log.info("decoded %s in %.1f s", name, time.perf_counter() - start)
