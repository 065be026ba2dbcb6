"""The folder that keeps every finished step; the only file that knows its paths.

store.json         says that this is a store, and its version
steps/KEY/         record.json and the step's files; appears whole, by one rename
partial/KEY/       the checkpoint of a step that is under way; outlives a killed run
scratch/KEY-*/     what a worker is writing now; worthless once the worker is gone
failed/KEY.json    why a step failed; removed when it succeeds
locks/KEY          held (flock) by the worker that does the step; a dead process holds nothing
studies/NAME.json  the spec of each study that ran here
weights/           copies of weights that studies start from, by their sha256
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from prunery import atomic
from prunery.errors import StoreError
from prunery.filenames import file_name, is_file_name, is_key
from prunery.lab import record as records
from prunery.lab import study_file
from prunery.lab.failure import Failure, failure_of
from prunery.lab.locks import Claim, Locks
from prunery.lab.record import Record
from prunery.registry import nearest

VERSION = 1
_MARK, _RECORD = "store.json", "record.json"
_SYNCS = 8  # files that are written out at the same time
_FOLDERS = ("steps", "partial", "scratch", "failed", "locks", "studies", "weights")


class Store:
    """A store at `root`, made there unless `create` is False; StoreError if the folder is something else.

    It stays where it is when the working folder changes.
    """

    def __init__(self, root: str | Path, *, create: bool = True) -> None:
        self.root = Path(root).absolute()
        mark = self.root / _MARK
        if not mark.exists():
            self._make(create)
        self._check(mark)
        self._steps = str(self.root / "steps")
        self._seen: dict[str, tuple[tuple[int, int, int], tuple[str, ...]]] = {}  # by `has`; what it read
        self._locks = Locks(self.root / "locks")

    @staticmethod
    def is_at(root: str | Path) -> bool:
        """Whether something at `root` is, or says that it is, a store."""
        return (Path(root) / _MARK).exists() or Path(root).is_file()

    # -- steps -----------------------------------------------------------------------------------------

    def has(self, key: str) -> bool:
        """Return whether the step is there, whole; a folder that a broken disk cut short counts as absent.

        StoreError if its record was altered. A record that did not change is not read a second time.
        """
        try:
            names = self._verified(key)
        except (OSError, ValueError):
            return False
        return all(os.path.isfile(f"{self._steps}/{key}/{name}") for name in names)

    def _verified(self, key: str) -> tuple[str, ...]:
        """The names of a finished step's files, once its record is known to be whole."""
        path = f"{self._steps}/{key}/{_RECORD}"
        status = os.stat(path)
        mark = (status.st_mtime_ns, status.st_size, status.st_ino)
        known = self._seen.get(key)
        if known is None or known[0] != mark:
            with open(path, encoding="utf-8") as file:
                names = tuple(records.files_in(file.read(), source=path, key=key))
            known = self._seen[key] = (mark, names)
        return known[1]

    def record(self, key: str) -> Record:
        """The step's record; StoreError if there is none, if it was altered or is that of another step."""
        path = self.path(key) / _RECORD
        try:
            return records.from_json(path.read_text(encoding="utf-8"), source=str(path), key=key)
        except (OSError, ValueError) as error:
            raise StoreError(
                f"the record of step {key!r}", f"{path} is not there or cut off", "run the study (again)"
            ) from error

    def environment(self, key: str) -> dict[str, Any]:
        """Return where and with what a step ran that is there (see `has`); its record is not verified."""
        with open(f"{self._steps}/{key}/{_RECORD}", encoding="utf-8") as file:
            environment: dict[str, Any] = json.load(file)["record"]["environment"]
        return environment

    def path(self, key: str) -> Path:
        """The folder of a finished step."""
        return self.root / "steps" / file_name("the step", key)

    def weights(self, name: str) -> Path:
        """The path of a copy of weights that a study starts from."""
        return self.root / "weights" / file_name("the weights", name)

    def file(self, key: str, name: str) -> Path:
        """The path of a step's file, once its sha256 is that of the record; else StoreError."""
        path = self.path(key) / name
        expected = self.record(key).files.get(name)
        if expected is None or not path.is_file():
            raise StoreError(f"file {name!r} of step {key!r}", "it is not there", "run the study again")
        if _sha256(path) != expected:
            found = "its contents do not match their sha256: it was altered"
            do = f"delete {self.path(key)} and run the study again"
            raise StoreError(f"file {name!r} of step {key!r}", found, do)
        return path

    def commit(self, record: Record, scratch: Path | None = None) -> Record:
        """The record as kept, with the hashes of the files in `scratch`, which becomes the step's folder."""
        scratch = scratch or self.scratch(record.key)
        made = (p for p in sorted(scratch.iterdir()) if p.name != _RECORD)
        files = {file_name("the file", p.name): _sha256(p) for p in made}
        record = replace(record, files=files)
        (scratch / _RECORD).write_text(records.to_json(record), encoding="utf-8")
        _sync(scratch, *scratch.iterdir())
        self._clear_wreck(record.key)
        os.rename(scratch, self.path(record.key))
        _sync_one(self.root / "steps")
        shutil.rmtree(self.root / "partial" / record.key, ignore_errors=True)
        self._failure(record.key).unlink(missing_ok=True)
        return record

    def claim(self, key: str) -> Claim | None:
        """Return the right to do the step, or None while another process has it."""
        return self._locks.claim(key)

    def leave_claims_to_parent(self) -> None:
        """See to it that what forks off this process holds no claim of it, and so outlives none."""
        self._locks.leave_to_parent()

    def shared(self, token: str) -> str:
        """Return why this process does not share the store of the one who holds the claim `token`, or ""."""
        return self._locks.shared(token)

    def scratch(self, key: str) -> Path:
        """A new empty folder to do a claimed step in; what dead workers left of that step is removed."""
        self._clear_scratch(key)
        return Path(tempfile.mkdtemp(prefix=f"{key}-", dir=self.root / "scratch"))

    def tidy(self, key: str) -> None:
        """Remove what a dead worker left of a step's scratch folder, unless somebody else does the step."""
        if (claim := self.claim(key)) is not None:
            with claim:
                self._clear_scratch(key)

    def partial(self, key: str) -> Path:
        """The folder for a step's checkpoint, which a rerun of the step finds again."""
        path = self.root / "partial" / key
        path.mkdir(exist_ok=True)
        return path

    def begun(self, key: str) -> bool:
        """Return whether the step is there, or was begun some time."""
        return self.has(key) or (self.root / "partial" / key).exists()

    # -- failures, studies, looking around -------------------------------------------------------------

    def fail(self, failure: Failure) -> None:
        """Note that a step failed."""
        _write(self._failure(failure.key), asdict(failure))

    def failed(self, key: str) -> Failure | None:
        """Why the step failed, or None if it did not."""
        try:
            failure = failure_of(records.json_of(self._failure(key).read_text(encoding="utf-8")))
        except (OSError, ValueError):
            return None
        return failure if failure and failure.key == key else None

    def save_study(self, name: str, spec: Mapping[str, Any]) -> None:
        """Keep a study's spec (plain data) under its name."""
        study_file.write(self._study(name), spec)

    def study(self, name: str) -> dict[str, Any]:
        """The spec of a study that ran here, as plain data; StoreError names those there are.

        StoreError says so too where its file is torn or was altered.
        """
        try:
            return study_file.read(self._study(name), name)
        except OSError:
            known = self.studies()
            raise StoreError(
                f"study {name!r} in {self.root}",
                f"it did not run here{nearest(name, known)}",
                f"choose one of: {', '.join(known) or 'none yet'}",
            ) from None

    def studies(self) -> tuple[str, ...]:
        """The names of the studies that ran here, in order."""
        stems = (p.stem for p in (self.root / "studies").glob("*.json"))
        return tuple(sorted(filter(is_file_name, stems)))

    def finished(self) -> Iterator[str]:
        """The keys of all finished steps, in order."""
        steps = sorted((self.root / "steps").iterdir())
        return (p.name for p in steps if is_key(p.name) and (p / _RECORD).is_file())

    def failures(self) -> list[Failure]:
        """All noted failures, by key."""
        names = (p.stem for p in sorted((self.root / "failed").glob("*.json")))
        found = [self.failed(name) for name in names if is_file_name(name)]
        return [failure for failure in found if failure]

    def running(self) -> list[str]:
        """The keys of steps that some process is doing now."""
        return self._locks.held()

    def sweep(self) -> None:
        """Remove what dead workers left: locks that nobody holds, and what finished steps need no more."""
        running = self.running()  # looking at a lock that nobody holds removes it
        for path in (p for name in ("scratch", "partial", "failed") for p in (self.root / name).iterdir()):
            key = path.name.partition(".")[0].partition("-")[0]
            if key not in running and is_key(key) and (self.path(key) / _RECORD).is_file():
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)

    # -- inside ----------------------------------------------------------------------------------------

    def _make(self, create: bool) -> None:
        inside = self.root.iterdir() if self.root.is_dir() else ()
        if self.root.is_file() or any(_MARK not in path.name for path in inside):
            do = "name a new folder, or one that is a store"
            raise StoreError(f"a store at {self.root}", "something else is there", do)
        if not create:
            raise StoreError(f"a store at {self.root}", "there is none", "run a study there, or name another")
        self.root.mkdir(parents=True, exist_ok=True)
        _write(self.root / _MARK, {"store": "prunery", "version": VERSION})

    def _check(self, mark: Path) -> None:
        try:
            data = records.json_of(mark.read_text(encoding="utf-8"))
            version = data["version"] if data["store"] == "prunery" else None
        except (OSError, ValueError, KeyError, TypeError):
            version = None
        if version != VERSION:
            raise StoreError(
                f"a store at {self.root}",
                f"its {_MARK} says version {version!r}, this prunery reads {VERSION}",
                "use the prunery that wrote it, or another folder",
            )
        for folder in _FOLDERS:
            (self.root / folder).mkdir(exist_ok=True)

    def _failure(self, key: str) -> Path:
        return self.root / "failed" / f"{file_name('the step', key)}.json"

    def _study(self, name: str) -> Path:
        return self.root / "studies" / f"{file_name('the study', name)}.json"

    def _clear_scratch(self, key: str) -> None:
        for remains in (self.root / "scratch").glob(f"{key}-*"):
            shutil.rmtree(remains, ignore_errors=True)

    def _clear_wreck(self, key: str) -> None:
        if self.path(key).exists():
            wreck = Path(tempfile.mkdtemp(prefix=f"{key}-", dir=self.root / "scratch"))
            os.rename(self.path(key), wreck / "wreck")
            shutil.rmtree(wreck, ignore_errors=True)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(*paths: Path) -> None:
    """Wait until all are on the disk; at the same time, for a file system writes them in one go then."""
    with ThreadPoolExecutor(min(len(paths), _SYNCS)) as threads:
        list(threads.map(_sync_one, paths))


def _sync_one(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write(path: Path, data: Mapping[str, Any]) -> None:
    text = json.dumps(records.plain(data), indent=1, ensure_ascii=False) + "\n"
    atomic.atomic_write(path, text.encode(), sync=True)
