"""The records of a store in one small file: enough for every report, without weights and masks.

The file is gzip over lines of JSON: first what it is, with the studies' specs and the failures, then one
record a line, by key. Equal stores give equal bytes.
"""

from __future__ import annotations

import gzip
import io
import json
import zlib
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

from prunery import atomic
from prunery.errors import StoreError
from prunery.lab import record as records
from prunery.lab.plan import Plan, plan
from prunery.lab.record import Record
from prunery.lab.spec import from_plain
from prunery.lab.store import Failure, Store
from prunery.registry import nearest, no_imports

VERSION = 1


class Archive:
    """The records in an archive, read as a store's are; StoreError if the file is something else."""

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        try:
            lines = gzip.decompress(self.root.read_bytes()).decode().split("\n")
            self._about: dict[str, Any] = json.loads(lines[0])
            version = self._about["version"] if self._about["archive"] == "prunery" else None
        except (OSError, EOFError, zlib.error, ValueError, KeyError, TypeError, IndexError) as error:
            raise _no_archive(self.root, str(error) or type(error).__name__) from error
        if version != VERSION:
            raise _no_archive(self.root, f"its version is {version!r}, this prunery reads {VERSION}")
        self._lines = {line[:16]: line[17:] for line in lines[1:] if line}
        self._read: dict[str, Record] = {}

    def has(self, key: str) -> bool:
        """Whether the step's record is there."""
        return key in self._lines

    def record(self, key: str) -> Record:
        """The step's record; StoreError if there is none, or if it was altered."""
        if key not in self._read:
            if key not in self._lines:
                raise StoreError(f"the record of step {key!r}", f"{self.root} has none", "give another key")
            self._read[key] = records.from_json(self._lines[key], source=f"{key} in {self.root}")
        return self._read[key]

    @cached_property
    def _failures(self) -> dict[str, Failure]:
        return {found["key"]: Failure(**found) for found in self._about["failures"]}

    def failed(self, key: str) -> Failure | None:
        """Why the step failed, or None if it did not."""
        return self._failures.get(key)

    def failures(self) -> list[Failure]:
        """All noted failures, by key."""
        return list(self._failures.values())

    def running(self) -> list[str]:
        """Nothing runs in a file."""
        return []

    def finished(self) -> Iterator[str]:
        """The keys of all records, in order."""
        return iter(self._lines)

    def studies(self) -> tuple[str, ...]:
        """The names of the studies, in order."""
        return tuple(self._about["studies"])

    def study(self, name: str) -> dict[str, Any]:
        """The spec of a study, as plain data; StoreError names those there are."""
        if name not in self._about["studies"]:
            known = self.studies()
            raise StoreError(
                f"study {name!r} in {self.root}",
                f"it is not there{nearest(name, known)}",
                f"choose one of: {', '.join(known)}",
            )
        return dict(self._about["studies"][name])

    def path(self, key: str) -> Path:
        """Where the record is: in the one file."""
        return self.root


def write(store: Store, file: str | Path) -> int:
    """The number of records written to `file`: those that the store's studies plan and that are there.

    Whole or not at all. StoreError: no study ran in the store.
    """
    names = store.studies()
    if not names:
        raise StoreError(f"an archive of {store.root}", "no study ran there", "run one: prunery run SPEC")
    studies = {name: store.study(name) for name in names}
    keys = sorted({key for spec in studies.values() for key in plan(from_plain(spec)).steps})
    lines = [f"{key} {_compact(records.to_json(store.record(key)))}" for key in keys if store.has(key)]
    failures = [asdict(failure) for failure in store.failures() if failure.key in keys]
    about = {"archive": "prunery", "version": VERSION, "studies": studies, "failures": failures}
    atomic.atomic_write(file, _packed("\n".join([json.dumps(records.plain(about)), *lines, ""])))
    return len(lines)


def opened(path: str | Path) -> Store | Archive:
    """The store in a folder, or the archive in a file; StoreError if there is neither."""
    return Archive(path) if Path(path).is_file() else Store(path, create=False)


def plan_of(source: Store | Archive, name: str) -> Plan:
    """Return the plan of a study that ran; for an archive no module of a user's own is imported.

    StoreError: there is no such study. SpecError: its spec cannot be, or names a schedule or an action of a
    user's own in an archive, whose plan cannot be made without running it.
    """
    spec = source.study(name)
    with no_imports() if isinstance(source, Archive) else nullcontext():
        return plan(from_plain(spec, source=f"study {name} in {source.root}"))


def _compact(text: str) -> str:
    return json.dumps(json.loads(text), separators=(",", ":"), ensure_ascii=False)


def _packed(text: str) -> bytes:
    out = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", fileobj=out, mtime=0) as file:
        file.write(text.encode())
    return out.getvalue()


def _no_archive(path: Path, found: str) -> StoreError:
    return StoreError(f"an archive in {path}", found, "give a whole file that `prunery archive` wrote")
