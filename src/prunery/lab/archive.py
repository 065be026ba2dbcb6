"""The records of a store in one small file: enough for every report, without weights and masks.

The file is gzip over lines of JSON: first what it is, with the studies' specs, the failures and a sha256 of
it all (archives of before have none), then one record a line, by key. Equal stores give equal bytes.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import zlib
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

from prunery import atomic
from prunery.errors import StoreError
from prunery.filenames import file_name, is_key
from prunery.lab import record as records
from prunery.lab.failure import Failure, failure_of
from prunery.lab.plan import Plan, plan
from prunery.lab.record import Record
from prunery.lab.spec import from_plain
from prunery.lab.store import Store
from prunery.lab.study_file import spec_named
from prunery.registry import nearest, no_imports

VERSION = 1
MOST_BYTES = 256 << 20
"""Of an archive's text: those of some 50 000 steps."""
_LONGEST = 16 << 20  # of one line
_PIECE = 1 << 16
_RATIO, _FREE = 200, 1 << 20  # records are 8 times as long as their archive; so much is read of any file
_ABOUT, _SEAL = {"archive", "version", "studies", "failures"}, "sha256"


class Archive:
    """The records in an archive, read as a store's are; StoreError if the file is something else.

    Names and keys are looked at when it is opened; a record when it is asked for.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root).absolute()
        self._lines: dict[str, tuple[int, bytes]] = {}  # by key: the line's number and its record
        self._read: dict[str, Record] = {}
        try:
            lines = _lines(self.root)
            about = records.json_of(next(lines, b"").decode())
            self._studies, self._failures = self._about(about)
            seal = about.pop(_SEAL, None)
            digest = _digest(about)
            for number, line in enumerate(lines, 2):
                self._add(number, line)
                digest.update(line)
            if seal not in (None, digest.hexdigest()):
                raise ValueError("its contents do not match their sha256: it was altered or cut off")
        except (OSError, EOFError, zlib.error, ValueError) as error:
            raise _no_archive(self.root, str(error) or type(error).__name__) from error

    def _about(self, about: Any) -> tuple[dict[str, dict[str, Any]], dict[str, Failure]]:
        """Return the studies and the failures that the first line names."""
        if not isinstance(about, dict) or about.get("archive") != "prunery":
            raise ValueError("it holds something else")
        if about.get("version") != VERSION:
            raise ValueError(f"its version is {about.get('version')!r}, this prunery reads {VERSION}")
        studies, failures = about.get("studies"), about.get("failures")
        if {*about} - {_SEAL} != _ABOUT or not isinstance(studies, dict) or not isinstance(failures, list):
            raise ValueError("line 1 does not say its studies and failures, and these alone")
        where = f"line 1 of {self.root}"
        named = {file_name("the study", name): spec_named(studies[name], name, where) for name in studies}
        found = [failure for entry in failures if (failure := failure_of(entry))]
        if len(found) < len(failures):
            raise ValueError("line 1 has a failure that is none")
        return named, {failure.key: failure for failure in found}

    def _add(self, number: int, line: bytes) -> None:
        key, space = line[:16].decode(errors="replace"), line[16:17]
        if not is_key(key) or space != b" ":
            raise ValueError(f"line {number} does not begin with a step's key")
        if key in self._lines:
            raise ValueError(f"line {number} is a second record of step {key}")
        self._lines[key] = (number, line[17:])

    def has(self, key: str) -> bool:
        """Whether the step's record is there."""
        return key in self._lines

    def record(self, key: str) -> Record:
        """The step's record; StoreError if there is none, if it was altered or is that of another step."""
        if key not in self._read:
            if key not in self._lines:
                raise StoreError(f"the record of step {key!r}", f"{self.root} has none", "give another key")
            number, line = self._lines[key]
            source = f"{key} in {self.root}, line {number}"
            try:
                self._read[key] = records.from_json(line.decode(), source=source, key=key)
            except ValueError as error:
                raise StoreError(f"the record {source}", f"it is none: {error}", _WHOLE) from error
        return self._read[key]

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
        return tuple(self._studies)

    def study(self, name: str) -> dict[str, Any]:
        """The spec of a study, as plain data; StoreError names those there are."""
        if name not in self._studies:
            known = self.studies()
            raise StoreError(
                f"study {name!r} in {self.root}",
                f"it is not there{nearest(name, known)}",
                f"choose one of: {', '.join(known)}",
            )
        return dict(self._studies[name])

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
    first = records.plain(about)
    digest = _digest(first)
    digest.update("".join(lines).encode())
    first[_SEAL] = digest.hexdigest()
    atomic.atomic_write(file, _packed("\n".join([json.dumps(first), *lines, ""])))
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


def _digest(about: dict[str, Any]) -> Any:
    """Return the sha256 of an archive's first line, which its other lines are added to."""
    return hashlib.sha256(records.sealed(about).encode())


def _compact(text: str) -> str:
    return json.dumps(json.loads(text), separators=(",", ":"), ensure_ascii=False)


def _packed(text: str) -> bytes:
    out = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", fileobj=out, mtime=0) as file:
        file.write(text.encode())
    return out.getvalue()


def _lines(path: Path) -> Iterator[bytes]:
    """Yield the lines of a gzip file that are not empty; ValueError for more than any archive has."""
    packed = unpacked = 0
    unpack, left = zlib.decompressobj(31), b""
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            packed += len(piece)
            while piece and not unpack.eof:
                data = unpack.decompress(piece, _PIECE)
                piece, unpacked = unpack.unconsumed_tail, unpacked + len(data)
                if unpacked > min(MOST_BYTES, _FREE + _RATIO * packed):
                    raise ValueError(f"it unpacks to more than {unpacked >> 20} MB, which no archive does")
                *lines, left = (left + data).split(b"\n")
                if len(left) > _LONGEST:
                    raise ValueError(f"a line of it is longer than {_LONGEST >> 20} MB")
                yield from filter(None, lines)
            if unpack.unused_data or (piece and unpack.eof):
                raise ValueError("something follows its end")
    if not unpack.eof:
        raise EOFError("it is cut off")
    if left:
        yield left


def _no_archive(path: Path, found: str) -> StoreError:
    return StoreError(f"an archive in {path}", found, _WHOLE)


_WHOLE = "give a whole file that `prunery archive` wrote"
