"""Text that does nothing but be read: for names of others in a terminal and in files."""

from __future__ import annotations

import codecs
import re
from typing import Any

# what a terminal obeys (escape sequences begin with one), and marks that turn the direction of what follows
_ACTIVE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff\ufffe\uffff]"
)


def inert(text: str) -> str:
    """Return the text with control characters and direction marks spelt out, as in `\\u001b`.

    Line ends and tabs stay. What is JSON stays JSON that says the same.
    """
    return _ACTIVE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def show_all(stream: Any) -> None:
    """Let a text stream replace what its encoding lacks, instead of raising: `±` becomes `+/-`."""
    codecs.register_error("prunery", _replaced)
    if hasattr(stream, "reconfigure"):
        stream.reconfigure(errors="prunery")


_PLAIN = {"±": "+/-", "−": "-", "×": "x", "…": "...", "†": "+", "–": "-", "\u2009": " ", "\u00a0": " "}


def _replaced(error: UnicodeError) -> tuple[str | bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(
        _PLAIN.get(character, "?") for character in error.object[error.start : error.end]
    ), error.end
