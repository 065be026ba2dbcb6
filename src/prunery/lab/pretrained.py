"""Weights of a user's own that a study starts from: their digest, and the copy that its store keeps.

The digest enters keys, the path does not. A run copies the file into the store before its first step, so that
every worker finds it and a later change of the file changes no result.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field

from prunery.atomic import atomic_file
from prunery.errors import SpecError, StoreError
from prunery.lab.limits import shown

if TYPE_CHECKING:
    from prunery.lab.store import Store

ENDINGS = (".safetensors", ".pt")


class Weights(BaseModel):
    """A file of weights, by its path and by the sha256 of its content."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    file: str
    """Where it lies, from the folder that the command runs in."""
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    """What it holds: 64 hex digits."""


def weights_of(value: Any) -> Any:
    """Return a path with the digest of its file; other values as they are. SpecError: no such file."""
    if not isinstance(value, str):
        return value
    asked, path = f"weights {shown(value)}", Path(value)
    if path.suffix not in ENDINGS:
        do = "save a state dict with safetensors or torch.save under such a name"
        raise SpecError(asked, f"the name does not end in {' or '.join(ENDINGS)}", do)
    try:
        return {"file": value, "sha256": _sha256(path)}
    except OSError as error:
        do = "name a file from the folder that the command runs in, or by its whole path"
        raise SpecError(asked, f"it cannot be read: {error.strerror or error}", do) from None


def keep(store: Store, weights: Weights) -> None:
    """Copy the file into the store, if it is not there; SpecError where it is not what it was."""
    if _copy(store, weights.sha256) is None:
        with atomic_file(store.weights(weights.sha256 + Path(weights.file).suffix), sync=True) as out:
            out.write(unchanged(weights).read_bytes())


def unchanged(weights: Weights) -> Path:
    """Return the path of the file; SpecError where it is gone, or holds something else now."""
    asked = f"weights {weights.file!r}"
    try:
        found = _sha256(Path(weights.file))
    except OSError as error:
        found = f"no file ({error.strerror})"
    if found != weights.sha256:
        problem = f"the study was begun with the sha256 {weights.sha256[:12]}, and there is {found[:40]}"
        raise SpecError(asked, problem, "put the file back, or write weights: FILE to begin with the new one")
    return Path(weights.file)


def kept(store: Store, sha256: str) -> Path:
    """Return the store's copy of weights; StoreError where there is none, or it was altered."""
    path = _copy(store, sha256)
    if path is None or _sha256(path) != sha256:
        found = "there is no copy in the store" if path is None else "the copy in the store was altered"
        raise StoreError(f"weights of sha256 {sha256[:12]}", found, "run the study with prunery run")
    return path


def _copy(store: Store, sha256: str) -> Path | None:
    paths = (store.weights(sha256 + ending) for ending in ENDINGS)
    return next((path for path in paths if path.is_file()), None)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
