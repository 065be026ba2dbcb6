"""What a result depends on that its key does not hold: the images, and the code behind names of a user's own.

The content of the data set, and the source of a model or row of a user's own, are kept in each record's
environment, those of rows in the records of later steps too. They must not change along a path.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from prunery.core.criteria import criterion
from prunery.core.granularity import granularity
from prunery.core.schedule import schedule
from prunery.core.scope import scope
from prunery.errors import PruneryError, StoreError
from prunery.lab.plan import Plan, Step
from prunery.lab.store import Store
from prunery.lab.work.context import images
from prunery.models.code import code
from prunery.registry import Registry
from prunery.train.recovery import recovery

_REGISTRIES: tuple[Registry, ...] = (criterion, granularity, scope, schedule, recovery)


def origin_of(step: Step, store: Store) -> dict[str, Any]:
    """Return what a step's record says of its data and of the code of the user's own that it depends on."""
    rows: dict[str, str] = {}
    for key in step.parents:
        rows |= store.record(key).environment.get("rows", {})
    rows |= {name: digest for name in step.rows if (digest := _row_code(name)) is not None}
    return origin(step.args) | ({"rows": dict(sorted(rows.items()))} if rows else {})


def origin(args: Mapping[str, Any]) -> dict[str, Any]:
    """Return the data's name, revision and content; and the code of a model that is not the library's."""
    image_set = images(args["data"])
    data = {"name": args["data"], "revision": image_set.revision, "content": image_set.content}
    digest = _code(args["model"])
    model = {} if digest is None else {"model": {"name": args["model"], "code": digest}}
    return {"data": data, **model}


def check_parents(step: Step, store: Store) -> None:
    """Raise StoreError if a parent of the step was made from other images or other code."""
    for key in step.parents:
        asked = f"step {step.key} of kind {step.kind}, which goes on from {key}"
        environment = store.record(key).environment
        _check(environment, step.args, asked)
        _check_rows(environment, asked)


def check_begun(plan: Plan, store: Store) -> None:
    """Raise StoreError if what a store has of a plan was begun with other images or other code."""
    asked = f"going on in {store.root}"
    for step in plan.steps.values():
        if (step.kind == "init" or step.rows) and store.has(step.key):
            environment = store.environment(step.key)
            if step.kind == "init":
                _check(environment, step.args, asked)
            _check_rows(environment, asked)


def _check(before: Mapping[str, Any], args: Mapping[str, Any], asked: str) -> None:
    now = origin(args)
    if _part(before, "data", "content") != _part(now, "data", "content"):
        raise StoreError(
            f"{asked}, with data set {args['data']!r}",
            "what ran there saw other images under that name",
            "use another store, or the data that it was begun with; a data set of your own must give the "
            "same images at every call",
        )
    if _part(before, "model", "code") not in (None, _part(now, "model", "code")):
        raise StoreError(
            f"{asked}, with model {args['model']!r}",
            "the code of that model has changed since",
            "use another store (--store), or the code that it was begun with",
        )


def _check_rows(before: Mapping[str, Any], asked: str) -> None:
    for name, digest in before.get("rows", {}).items():
        if _row_code(name) != digest:
            raise StoreError(
                f"{asked}, with {name!r}",
                "the code of that row has changed since",
                "use another store (--store), or the code that it was begun with",
            )


def _part(environment: Mapping[str, Any], what: str, name: str) -> Any:
    return environment.get(what, {}).get(name)


@lru_cache(maxsize=8)
def _code(model: str) -> str | None:
    """Read once per process: what counts is the code that this process runs."""
    return code(model)


@lru_cache(maxsize=64)
def _row_code(name: str) -> str | None:
    """Return the digest of the module that holds a row; None where it is not there, or has no source."""
    module, _, row = name.partition(":")
    for registry in _REGISTRIES:
        try:
            function = registry[name].function
        except PruneryError:
            continue
        if hasattr(sys.modules.get(module), row):
            return code(name)
        return code(f"{function.__module__}:{function.__qualname__}")
    return None
