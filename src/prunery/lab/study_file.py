"""A study's spec in a store: plain data under a sha256, so that a torn or altered file is seen to be one.

Files without a sha256, which hold the spec alone, are what was written before; they are read too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prunery import atomic
from prunery.errors import StoreError
from prunery.lab.canonical import plain
from prunery.lab.record import json_of, sealed

_SEAL, _SPEC = "sha256", "spec"


def write(path: Path, spec: Mapping[str, Any]) -> None:
    """Write a study's spec, whole or not at all, and wait until it is on the disk."""
    data = plain(dict(spec))
    text = json.dumps({_SEAL: sealed(data), _SPEC: data}, indent=1, ensure_ascii=False) + "\n"
    atomic.atomic_write(path, text.encode(), sync=True)


def read(path: Path, name: str) -> dict[str, Any]:
    """Return the spec in a study's file; StoreError if it was torn or altered, OSError if there is none."""
    content = path.read_bytes()
    try:
        data = json_of(content.decode())
        spec = data[_SPEC] if _SEAL in data else data
        whole = _SEAL not in data or sealed(spec) == data[_SEAL]
    except (ValueError, KeyError, TypeError, RecursionError):
        whole = False
    if whole:
        return spec_named(spec, name, path)
    raise StoreError(
        f"study {name!r}",
        f"its file {path} is torn or was altered",
        "run the study again, which writes it again; finished steps are kept",
    )


def spec_named(spec: Any, name: str, where: object) -> dict[str, Any]:
    """Return the spec that stands under a study's name, once it is a mapping that bears that name."""
    if isinstance(spec, Mapping) and spec.get("name") == name:
        return dict(spec)
    raise StoreError(f"study {name!r}", f"what {where} has under that name is not its spec", "run it again")
