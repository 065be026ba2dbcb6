"""What runs on the nodes of a Ray cluster: a process joins a run once, then does its steps one by one."""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from prunery.errors import PruneryError, StoreError
from prunery.lab.engines.attempt import Answer, Work, attempt, reason, reporter, resolved, trace
from prunery.lab.environment import library_version
from prunery.lab.plan import Step
from prunery.lab.store import Store

_SECONDS_BETWEEN = 1.0  # progress more often than that is not told
_PARENT_SECONDS = 60.0  # that a shared file system may take to show what another node wrote


@dataclass(frozen=True)
class Site:
    """A run as its processes on other nodes need to know it.

    store: its folder, the same on all nodes. token: the claim that the run holds there. work: the function
    that does a step. paths: where modules lie. version: of this library.
    """

    store: str
    token: str
    work: str
    paths: tuple[str, ...]
    version: str


class News:
    """How far the running steps are, as their processes told it last; one process of the cluster has it."""

    def __init__(self) -> None:
        self._epochs: dict[str, float] = {}

    def tell(self, key: str, epochs: float) -> None:
        """Note the epochs that a step has behind it."""
        self._epochs[key] = epochs

    def take(self) -> dict[str, float]:
        """Return what was told since it was taken last: epochs by key."""
        news, self._epochs = self._epochs, {}
        return news


def enter(site: Site) -> Answer:
    """Return whether a process of this node can join the run: `ready`, or `broken` with the reason."""
    try:
        _joined(site)
    except Exception as error:
        return {"is": "broken", "reason": reason(error), "trace": trace()}
    return {"is": "ready"}


def perform(order: Mapping[str, Any], site: Site, news: Any) -> Answer:
    """Do a step here; return what became of it. `news` is told how far it is, unless it is None."""
    answer = enter(site)
    if answer["is"] == "broken":
        return answer
    store, work = _joined(site)
    step = Step(order["key"], order["kind"], order["args"], tuple(order["parents"]))
    _wait_for_parents(store, step)
    report = reporter(lambda told: news.tell.remote(step.key, told["epochs"]), _SECONDS_BETWEEN)
    return attempt(step, store, work=work, **({} if news is None else {"report": report}))


@lru_cache(maxsize=1)
def _joined(site: Site) -> tuple[Store, Work]:
    """The store and the work, once this process is known to see what the run sees."""
    sys.path += [path for path in site.paths if path not in sys.path]
    node = socket.gethostname()
    if (here := library_version()) != site.version:
        installed = f"prunery {here} is installed there, {site.version} where the run started"
        raise PruneryError(f"node {node}", installed, "install the same version everywhere")
    do = "put it on a file system that all nodes share under one path (--store)"
    asked = f"the store {site.store} on node {node}"
    if not Store.is_at(site.store):
        raise StoreError(asked, "there is none", do)
    store = Store(site.store, create=False)
    if different := store.shared(site.token):
        raise StoreError(asked, different, do)
    store.leave_claims_to_parent()
    return store, resolved(site.work)


def _wait_for_parents(store: Store, step: Step, seconds: float = _PARENT_SECONDS) -> None:
    """Wait until this node sees the step's parents, which are done: it may remember that they were not."""
    end = time.monotonic() + seconds
    while not all(map(store.has, step.parents)) and time.monotonic() < end:
        os.listdir(store.path(step.key).parent)  # makes a network file system look again
        time.sleep(0.2)
