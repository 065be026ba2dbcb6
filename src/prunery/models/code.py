"""The code behind the name of a user's model."""

from __future__ import annotations

import ast
import contextlib
import hashlib
import inspect
import sys

from prunery.factories import is_factory
from prunery.models.build import factory_of


def code(name: str, *, what: str = "model") -> str | None:
    """Return a digest of the module that holds the factory, comments and layout aside.

    None for a model of the library, and where there is no source. What that module imports is not in it.
    `what` the name is of stands in the ModelError if it is not there.
    """
    if not is_factory(name):
        return None
    factory = factory_of(name, what=what)
    named = sys.modules[name.partition(":")[0]]
    with contextlib.suppress(ValueError):  # a wrapper that wraps itself
        factory = inspect.unwrap(factory)
    sources = []
    for holder in (named, inspect.getmodule(factory)):
        # built in, typed at a prompt, generated, or more than the parser can take
        with contextlib.suppress(OSError, TypeError, SyntaxError, ValueError, RecursionError):
            if holder is not None:
                sources.append(ast.dump(ast.parse(inspect.getsource(holder))))
    text = "\n".join(dict.fromkeys(sources))
    return hashlib.sha256(text.encode()).hexdigest()[:16] if text else None
