"""Decoded sets on disk: one file each, with its sha256 beside it, written whole or not at all.

    <cache>/sets-1/mnist-<key>.safetensors          pixels, labels, statistics, revision
    <cache>/sets-1/mnist-<key>.safetensors.sha256   as `sha256sum` writes it
    <cache>/sets-1/seen/<stamp>                     the key of files that proved right before

The key is a hash of the source files. The sha256 is checked on every read.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import re
import secrets
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

from prunery.data.images import Images, ImageSet
from prunery.data.names import Facts
from prunery.data.sources import Source, hashes, stamp
from prunery.errors import DataError

log = logging.getLogger(__name__)

VARIABLE = "PRUNERY_CACHE"
_FOLDER = "sets-1"  # bump the number when decoding changes its meaning
_ABANDONED = 3600  # seconds after which a temporary file belongs to nobody


def root(cache_dir: str | Path | None = None) -> Path:
    """Return the cache folder: the argument, PRUNERY_CACHE, $XDG_CACHE_HOME/prunery or ~/.cache/prunery."""
    if cache_dir is not None:
        return Path(cache_dir)
    if named := os.environ.get(VARIABLE):
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "prunery"


def seen_file(facts: Facts, source: Source, folder: Path) -> Path:
    """Return the path of the note of these source files' key; it holds while the files look the same."""
    return folder / _FOLDER / "seen" / stamp(facts, source)


def key_of(facts: Facts, source: Source, seen: Path) -> str:
    """Return the key of these source files; they are read only if there is no note of it."""
    known = seen.read_text(errors="replace").strip() if seen.is_file() else ""
    if re.fullmatch(r"[0-9a-f]{16}", known):
        return known
    parts = [facts.name, str(facts.shape), facts.label, *hashes(source)]
    return hashlib.sha256("/".join(parts).encode()).hexdigest()[:16]


def note(seen: Path, key: str) -> None:
    """Write down the key of source files that were right, so that they need not be hashed again."""
    try:
        if not seen.is_file():
            _write(seen, lambda temporary: temporary.write_text(key))
    except (
        OSError
    ) as error:  # a cache that can only be read still serves; the files are hashed again next time
        log.debug("cannot note a key in %s: %s", seen, error)


def file_of(facts: Facts, key: str, folder: Path) -> Path:
    """Return the path of the set with this key, whether it exists or not."""
    return folder / _FOLDER / f"{facts.name}-{key}.safetensors"


def kept(facts: Facts, folder: Path) -> list[Path]:
    """Return the paths of all decoded copies of a set, from any source, sorted."""
    form = re.compile(rf"{re.escape(facts.name)}-[0-9a-f]{{16}}\.safetensors")
    return sorted(path for path in (folder / _FOLDER).glob("*.safetensors") if form.fullmatch(path.name))


def load(path: Path) -> ImageSet:
    """Return the set in a cache file; DataError if a byte of it differs from what was written."""
    try:
        data, stated = path.read_bytes(), _beside(path).read_text().split(" ")[0]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"the cached set {path}", f"it cannot be read ({error})", "delete it") from error
    if hashlib.sha256(data).hexdigest() != stated:
        raise DataError(
            f"the cached set {path}",
            f"it was altered or cut: its sha256 is not the one in {_beside(path).name}",
            "delete it, and load the set again from its source",
        )
    try:
        return _decoded(data)
    except (safetensors.SafetensorError, ValueError, LookupError, TypeError, AttributeError) as error:
        found = f"it holds something else ({type(error).__name__}: {error})"
        raise DataError(f"the cached set {path}", found, "delete it") from error


def _decoded(data: bytes) -> ImageSet:
    tensors = safetensors.torch.load(data)
    facts = json.loads(tensors.pop("facts").numpy().tobytes())
    train, test = (Images(tensors[f"{split}_x"], tensors[f"{split}_y"]) for split in ("train", "test"))
    fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in facts.items()}
    return ImageSet(train=train, test=test, **fields)


def check_writable(folder: Path) -> None:
    """Check, before the work of decoding, that a set can be written below this folder; else DataError."""
    try:
        (folder / _FOLDER).mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder / _FOLDER).close()
    except OSError as error:
        raise _unwritable(folder, error) from error


def save(image_set: ImageSet, path: Path) -> None:
    """Write the set and its sha256; a reader sees the whole file or none. DataError if there is no room."""
    about = {k: v for k, v in vars(image_set).items() if k not in ("train", "test")}
    facts = torch.frombuffer(bytearray(json.dumps(about).encode()), dtype=torch.uint8)
    tensors = {"facts": facts}
    for split, images in (("train", image_set.train), ("test", image_set.test)):
        tensors |= {f"{split}_x": images.x, f"{split}_y": images.y}
    data = safetensors.torch.save(tensors)  # `save_file` makes files that only their owner can read
    digest = hashlib.sha256(data).hexdigest()
    try:
        _tidy(path.parent)
        _write(path, lambda temporary: temporary.write_bytes(data))
        _write(_beside(path), lambda temporary: temporary.write_text(f"{digest}  {path.name}\n"))
    except OSError as error:
        raise _unwritable(path.parent, error) from error


def _unwritable(folder: Path, error: Exception) -> DataError:
    return DataError(
        f"the cache folder {folder}",
        f"it cannot be written ({error})",
        f"make room in it, or set {VARIABLE} to a folder that can be written",
    )


def _beside(path: Path) -> Path:
    return path.with_name(path.name + ".sha256")


def _write(path: Path, write: Callable[[Path], object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    try:
        write(temporary)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _tidy(folder: Path) -> None:
    """Remove the partial files of a killed process."""
    for path in folder.glob("*.tmp"):
        with contextlib.suppress(OSError):  # another process may have removed it
            if time.time() - path.stat().st_mtime > _ABANDONED:
                path.unlink()
