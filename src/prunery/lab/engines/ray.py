"""The engine for a cluster: each step is a task of Ray, with its cores and a share of a GPU where there are.

Order, tries and claims are those of the local engine; Ray says where a step runs. The store lies in a folder
that all nodes see under the same path (a shared file system); each process looks whether that is so: it must
see the lock that the run holds there. A step whose process or node is lost is tried again elsewhere, as soon
as the lock of the lost one is gone (at once on one machine, after the lease of NFS where that is used).

Limits: the command runs on a node of the cluster, all of which have this library and the user's modules. If
any node has a GPU, steps run on nodes with GPUs alone, so that all results come from one kind of device.
"""

from __future__ import annotations

import logging
import os
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from prunery.errors import PruneryError, StoreError
from prunery.lab.engines.attempt import WORK, Work, dotted
from prunery.lab.engines.local import cores
from prunery.lab.engines.outcome import Outcome, Progress
from prunery.lab.engines.ray_cluster import Cluster, threads
from prunery.lab.engines.ray_task import Site
from prunery.lab.engines.walk import Walk
from prunery.lab.environment import library_version
from prunery.lab.plan import Plan
from prunery.lab.store import Store

_WAIT_SECONDS = 0.2
_OBJECTS = 100 << 20  # bytes that Ray sets aside for data between tasks: there are only answers


def run(
    plan: Plan,
    store: Store,
    *,
    workers: int | None = None,
    progress: Progress | None = None,
    work: str | Work = WORK,
    address: str | None = None,
) -> Outcome:
    """Do all steps of the plan that the store does not have on a Ray cluster; return what became of each.

    workers: how many steps at once; as many as find cores for None. address: of the cluster, as `ray.init`
    takes it (`auto`: the one that this machine belongs to); None for RAY_ADDRESS, and where that is not set
    for a Ray on this machine alone. work, Ctrl-C: as on the local engine.
    """
    if workers is not None and workers < 1:
        raise PruneryError(f"{workers} workers", "somebody must do the work", "give at least 1")
    ray = _ray()
    with Walk(plan, store, progress) as walk:
        if walk.todo:
            widest = max(map(threads, walk.todo.values()))
            cpus = max(cores(), widest) if workers is None else workers * widest
            with (
                _connected(ray, address, cpus),
                _site(store, dotted(work)) as site,
                Cluster(ray, site, workers, listening=progress is not None) as cluster,
            ):
                cluster.check_nodes()
                _through(walk, cluster)
    return walk.outcome()


def _through(walk: Walk, cluster: Cluster) -> None:
    """Go on until nothing is running and nothing can be."""
    free: list[str] = []  # of each place that became free, the step that was done there
    while walk.active:
        while cluster.has_room():
            step = walk.take(free.pop() if free else "")
            if step is None:
                break
            cluster.give(step)
        for step, answer in cluster.answers(_WAIT_SECONDS):
            walk.hear(step, answer)
            if answer["is"] == "done":
                free.append(step.key)
        walk.progress.tick()


@contextmanager
def _connected(ray: Any, address: str | None, cpus: int) -> Iterator[None]:
    """A connection to the cluster; one that the caller's process has already is used, and left as it is."""
    if ray.is_initialized():
        yield
        return
    where = address or os.environ.get("RAY_ADDRESS") or "local"
    own = {"num_cpus": cpus, "include_dashboard": False, "object_store_memory": _OBJECTS}
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    try:
        ray.init(address=where, **quiet, **(own if where == "local" else {}))
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        do = "start one (ray start --head), or leave --address out for a Ray on this machine alone"
        raise PruneryError(f"the Ray cluster at {where}", reason.rstrip("."), do) from error
    try:
        yield
    finally:
        ray.shutdown()


@contextmanager
def _site(store: Store, work: str) -> Iterator[Site]:
    """What the processes of the run are told, while it holds the claim by which they know its store."""
    token = f".run-{uuid.uuid4().hex}"
    claim = store.claim(token)
    if claim is None:
        raise StoreError(
            f"a lock in {store.root}", "it is taken, though it is new", "look at the file system"
        )
    with claim:
        paths = tuple(os.path.abspath(path) for path in sys.path)
        yield Site(str(store.root.resolve()), token, work, paths, library_version())


def _ray() -> Any:
    """The module, which is no part of the base install; it sends nothing to its makers."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        do = "install it: pip install 'prunery[ray]'"
        raise PruneryError("engine 'ray'", "the package ray is not installed", do) from error
    return ray
