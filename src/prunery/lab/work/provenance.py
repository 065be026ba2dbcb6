"""What a result depends on that its key does not hold: the images and the code behind two names.

The content of the data set, and the source of a model of one's own, are kept in each record's environment,
and must not change along a path.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from prunery.errors import StoreError
from prunery.lab.plan import Plan, Step
from prunery.lab.record import Record
from prunery.lab.store import Store
from prunery.lab.work.context import images
from prunery.models.code import code


def origin(args: Mapping[str, Any]) -> dict[str, Any]:
    """The data's name, revision and content; of a model that is not the library's own, its code."""
    found = images(args["data"])
    data = {"name": args["data"], "revision": found.revision, "content": found.content}
    own = _code(args["model"])
    return {"data": data} if own is None else {"data": data, "model": {"name": args["model"], "code": own}}


def check_parents(step: Step, store: Store) -> None:
    """StoreError if a parent of the step was made from other images or other code."""
    for key in step.parents:
        _check(store.record(key), step.args, f"step {step.key} of kind {step.kind}, which goes on from {key}")


def check_begun(plan: Plan, store: Store) -> None:
    """StoreError if what a store has of a plan was begun with other images or other code."""
    for step in plan.steps.values():
        if step.kind == "init" and store.has(step.key):
            _check(store.record(step.key), step.args, f"going on in {store.root}")


def _check(record: Record, args: Mapping[str, Any], asked: str) -> None:
    mine, before = origin(args), record.environment
    if _part(before, "data", "content") != _part(mine, "data", "content"):
        raise StoreError(
            f"{asked}, with data set {args['data']!r}",
            "what ran there saw other images under that name",
            "use another store, or the data that it was begun with; a data set of one's own must give the "
            "same images at every call",
        )
    if _part(before, "model", "code") not in (None, _part(mine, "model", "code")):
        raise StoreError(
            f"{asked}, with model {args['model']!r}",
            "the code of that model has changed since",
            "use another store (--store), or the code that it was begun with",
        )


def _part(environment: Mapping[str, Any], what: str, name: str) -> Any:
    return environment.get(what, {}).get(name)


@lru_cache(maxsize=8)
def _code(model: str) -> str | None:
    """Read once per process: what counts is the code that this process runs."""
    return code(model)
