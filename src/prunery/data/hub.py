"""Image sets from their public repositories; asked last, and only for as long as a person would wait."""

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
    """The files of a set's public repository at its present commit, downloaded if need be.

    HubError: no answer within two seconds, or the download broke off.
    """
    return _downloaded(facts) or _download(facts)


def _downloaded(facts: Facts) -> Source | None:
    """What an earlier download left in the client library's own cache, if it is complete."""
    from huggingface_hub import snapshot_download

    try:
        path = Path(snapshot_download(facts.repository, repo_type="dataset", local_files_only=True))
        return _source(facts, path)
    except (OSError, DataError):  # not there, or in part: the download completes it
        return None


def _download(facts: Facts) -> Source:
    from huggingface_hub import HfApi, snapshot_download

    try:
        commit = _answer(lambda: HfApi().dataset_info(facts.repository, timeout=_PATIENCE).sha)
        path = snapshot_download(
            facts.repository,
            repo_type="dataset",
            revision=commit,
            allow_patterns=[f"{facts.folder}/*.parquet"],
        )
    except HubError:
        raise
    except Exception as error:  # the client's errors differ between its versions, and none is ours to handle
        text = (str(error).strip().splitlines() or [""])[0].rstrip(".")
        raise HubError(f"{type(error).__name__}: {text}") from error
    source = _source(facts, Path(path))
    if source is None:
        raise HubError(f"its commit {commit} has no {facts.folder}/{facts.pattern('train')}")
    return source


def _source(facts: Facts, path: Path) -> Source | None:
    source = below(facts, path)
    return Source(source.files, path.name) if source else None


def _answer(ask: Callable[[], T]) -> T:
    """What `ask` returns or raises, or HubError when that takes too long (a name server may hang)."""
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
