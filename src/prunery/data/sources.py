"""Where the parquet files of a set lie on this machine, and whether they are all there and unaltered."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from prunery.data.names import SPLITS, Facts
from prunery.errors import DataError

VARIABLE = "PRUNERY_DATA"
SUMS = "SHA256SUMS"


@dataclass(frozen=True)
class Source:
    """The parquet files of each split, in order, and the commit they come from ("" where unknown)."""

    files: Mapping[str, tuple[Path, ...]]
    revision: str = ""

    def __iter__(self) -> Iterator[Path]:
        return (path for split in SPLITS for path in self.files[split])


def local(facts: Facts, data_dir: str | Path | None) -> Source | None:
    """Return the files in `data_dir`, or else in the mirror that PRUNERY_DATA names, or None.

    DataError: `data_dir` is given and lacks the set, or the set is there in part.
    """
    if data_dir is not None:
        source = below(facts, Path(data_dir))
        if source is None:
            raise _missing(facts, Path(data_dir))
        return source
    mirror = os.environ.get(VARIABLE)
    return below(facts, Path(mirror)) if mirror else None


def below(facts: Facts, root: Path) -> Source | None:
    """Return the files under `root`, laid out as a mirror (`mnist/mnist/`) or a repository (`mnist/`)."""
    for folder in (root / facts.path, root / facts.repository / facts.folder, root / facts.folder):
        if any(any(folder.glob(facts.pattern(split))) for split in SPLITS):
            return Source({split: _shards(facts, folder, split) for split in SPLITS})
    return None


def hashes(source: Source) -> list[str]:
    """Return the sha256 (hex) of each file; DataError if one differs from the SHA256SUMS of its mirror."""
    stated = {path: digest for folder in _above(source) for path, digest in _sums(folder / SUMS)}
    digests = []
    for path in source:
        digest = digest_of(path)
        if stated.get(path, digest) != digest:
            raise DataError(
                f"the file {path}",
                f"it was altered or cut: its sha256 is {digest[:12]}…, {SUMS} says {stated[path][:12]}…",
                "copy the file again",
            )
        digests.append(digest)
    return digests


def digest_of(path: Path) -> str:
    """Return the sha256 (hex) of a file's bytes; DataError if it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(
            f"the file {path}", f"it cannot be read ({error})", "check its permissions"
        ) from error


def stamp(facts: Facts, source: Source) -> str:
    """Return a name for these files as they look without reading them: paths, sizes and times of change."""
    looks = [(str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns) for path in source]
    return hashlib.sha256(json.dumps([facts.name, looks]).encode()).hexdigest()[:16]


def _shards(facts: Facts, folder: Path, split: str) -> tuple[Path, ...]:
    files = tuple(sorted(folder.glob(facts.pattern(split))))
    total = re.search(r"-of-(\d+)\.parquet$", files[0].name) if files else None
    if not files or (total and len(files) != int(total[1])):
        raise DataError(
            f"data set {facts.name!r}",
            f"{folder} holds {len(files)} of its {int(total[1]) if total else 1} {split} files",
            f"copy all of {facts.pattern(split)} from the repository {facts.repository}",
        )
    return files


def _above(source: Source) -> list[Path]:
    folder = next(iter(source)).parent
    return [folder, *list(folder.parents)[:2]]


def _sums(file: Path) -> Iterator[tuple[Path, str]]:
    if file.is_file():
        for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
            if match := re.fullmatch(r"([0-9a-f]{64}) [ *](.+)", line.strip()):
                yield file.parent / match[2], match[1]


def _missing(facts: Facts, root: Path) -> DataError:
    problem = "holds no" if root.is_dir() else "is not a folder, so there is no"
    return DataError(
        f"data set {facts.name!r} in {root}",
        f"it {problem} {facts.path}/{facts.pattern('train')}",
        f"put the parquet files of {facts.repository} there, or leave the folder out to look in {VARIABLE}, "
        "the cache and the public repository",
    )
