"""The one rule for names that become files or folders: of studies, of steps, of the files of a record."""

from __future__ import annotations

import re

from prunery.errors import PruneryError, StoreError

FILE_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
"""As a schema spells it; `LONGEST` bounds it."""
LONGEST = 80
_FORM = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_KEY = re.compile(r"[0-9a-f]{16}")


def is_file_name(name: object) -> bool:
    """Return whether `name` is a file's name that leads nowhere else: no separator, no dot in front."""
    return isinstance(name, str) and len(name) <= LONGEST and _FORM.fullmatch(name) is not None


def is_key(name: object) -> bool:
    """Return whether `name` has the form of a step's key."""
    return isinstance(name, str) and _KEY.fullmatch(name) is not None


def file_name(what: str, name: object, error: type[PruneryError] = StoreError) -> str:
    """Return `name` if it may become a file's or folder's name; else raise `error`, which calls it `what`."""
    if not is_file_name(name):
        text = repr(name)
        shown = text if len(text) <= LONGEST else f"{text[:LONGEST]}..."
        found = f"it is no name for a file: letters, digits, '.', '_' and '-' are, at most {LONGEST} of them"
        raise error(f"{what} {shown}", found, "give it another name; do not use files that others altered")
    assert isinstance(name, str)
    return name
