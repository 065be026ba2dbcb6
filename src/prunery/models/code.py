"""The code behind the name of a user's model."""

from __future__ import annotations

import ast
import contextlib
import hashlib
import inspect
import sys

from prunery.models.build import factory_of
from prunery.models.names import is_factory


def code(name: str) -> str | None:
    """Return a digest of the module that holds the factory, comments and layout aside.

    None for a model of the library, and where there is no source. What that module imports is not in it.
    """
    if not is_factory(name):
        return None
    factory = factory_of(name)
    named = sys.modules[name.partition(":")[0]]
    sources = []
    for holder in (named, inspect.getmodule(inspect.unwrap(factory))):
        with contextlib.suppress(OSError, TypeError, SyntaxError):  # built in, typed at a prompt, generated
            if holder is not None:
                sources.append(ast.dump(ast.parse(inspect.getsource(holder))))
    text = "\n".join(dict.fromkeys(sources))
    return hashlib.sha256(text.encode()).hexdigest()[:16] if text else None
