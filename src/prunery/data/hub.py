"""Image sets from their public repositories; asked last, with a time limit."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from prunery.data.names import Facts
from prunery.data.sources import Source, below
from prunery.errors import DataError

T = TypeVar("T")
_PATIENCE = 2.0  # seconds for a first answer; the client library itself retries for 24 s without a network


class HubError(Exception):
    """The repository gave no answer; the text says why."""


def snapshot(facts: Facts) -> Source:
    """Return the files of a set's public repository at its present commit, downloaded if need be.

    HubError: no answer within two seconds, or the download broke off.
    """
    return _downloaded(facts) or _download(facts)


def _downloaded(facts: Facts) -> Source | None:
    """Return the complete earlier download in the client library's cache, or None."""
    try:
        return _source(facts, _snapshot_folder(facts, local_files_only=True))
    except (OSError, DataError):  # not there, or in part: the download completes it
        return None


def _download(facts: Facts) -> Source:
    from huggingface_hub import HfApi

    try:
        _answer(lambda: HfApi().dataset_info(facts.repository, timeout=_PATIENCE))
        path = _snapshot_folder(facts, local_files_only=False)
    except HubError:
        raise
    except Exception as error:  # the client's errors differ between its versions, and none is ours to handle
        text = (str(error).strip().splitlines() or [""])[0].rstrip(".")
        raise HubError(f"{type(error).__name__}: {text}") from error
    source = _source(facts, path)
    if source is None:
        raise HubError(f"its commit {path.name} has no {facts.folder}/{facts.pattern('train')}")
    return source


def _snapshot_folder(facts: Facts, *, local_files_only: bool) -> Path:
    """Return the client library's folder of the repository's present commit; its name is the commit."""
    from huggingface_hub import snapshot_download

    patterns = [f"{facts.folder}/*.parquet"]
    return Path(
        snapshot_download(
            facts.repository,
            repo_type="dataset",
            allow_patterns=patterns,
            local_files_only=local_files_only,
        )
    )


def _source(facts: Facts, path: Path) -> Source | None:
    source = below(facts, path)
    return Source(source.files, path.name) if source else None


def _answer(ask: Callable[[], T]) -> T:
    """Return what `ask` returns; raise what it raises, or HubError if it takes too long."""
    answers: queue.Queue[T | Exception] = queue.Queue()

    def run() -> None:
        try:
            answers.put(ask())
        except Exception as error:
            answers.put(error)

    threading.Thread(target=run, daemon=True).start()
    try:
        answer = answers.get(timeout=_PATIENCE)
    except queue.Empty:
        raise HubError(f"no answer within {_PATIENCE:g} s") from None
    if isinstance(answer, Exception):
        raise answer
    return answer
