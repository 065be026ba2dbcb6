"""The steps of a run that are on their way in a Ray cluster, and the cluster's nodes."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from prunery.errors import PruneryError
from prunery.lab.engines.attempt import Answer
from prunery.lab.engines.process import KEEP_MEMORY
from prunery.lab.engines.ray_task import News, Site, enter, perform
from prunery.lab.plan import Step

_NEWS_SECONDS = 0.5  # between questions how far the running steps are
_LOOK_SECONDS = 3.0  # between looks at the cluster's nodes
_ROOM_SECONDS = 60.0  # that steps wait for a node which has room for them
_STOP_SECONDS = 10.0  # that stopped steps have to end


def threads(step: Step) -> int:
    """Return how many cores a step keeps busy."""
    return int(step.args.get("threads", 1))


def gpu_share(nodes: Sequence[Mapping[str, float]], cpus: int, workers: int | None) -> float:
    """Return the share of a GPU that each step gets: such that all may run that find cores; 0 without GPUs.

    nodes: what each has of `CPU` and `GPU`. cpus: what a step takes. workers: how many steps at once at most.
    """
    with_gpu = [node for node in nodes if node.get("GPU", 0) > 0]
    gpus = sum(node["GPU"] for node in with_gpu)
    if not gpus:
        return 0.0
    at_once = workers or max(1, int(sum(node.get("CPU", 0) // cpus for node in with_gpu)))
    return min(1.0, int(1e4 * gpus / at_once) / 1e4)  # Ray counts in ten-thousandths


class Cluster:
    """The steps that are on their way; a context manager that leaves none behind.

    ray: the module, connected to a cluster. workers: how many steps at once; None for as many as find cores.
    listening: whether somebody wants to know how far running steps are.
    """

    def __init__(self, ray: Any, site: Site, workers: int | None, *, listening: bool) -> None:
        self._ray, self._site, self._workers = ray, site, workers
        self._flying: dict[Any, Step] = {}
        self._nodes: dict[str, dict[str, float]] = {}
        self._waits_since: float | None = None
        self._looked = 0.0
        self._look()
        # Ray starts a fresh process for each step on a GPU, as a process keeps the GPU that it saw first;
        # where a node has one GPU alone that cannot go wrong, and processes are kept.
        keep = (
            {"max_calls": 0} if max((n.get("GPU", 0) for n in self._nodes.values()), default=0) <= 1 else {}
        )
        self._perform = ray.remote(max_retries=0, runtime_env={"env_vars": _environment()}, **keep)(perform)
        self._listener = self._news() if listening else None
        self._news_on_its_way: Any = None
        self._asked = 0.0

    def check_nodes(self) -> None:
        """Check on each node that a process there can join the run; PruneryError says what is wrong."""
        entering = self._ray.remote(num_cpus=0, max_retries=0, runtime_env={"env_vars": _environment()})(
            enter
        )
        tasks = [
            entering.options(scheduling_strategy=self._on(node)).remote(self._site)
            for node, has in self._nodes.items()
            if has.get("CPU", 0) >= 1
        ]
        for task in tasks:
            self._answer(task)  # of a node that is lost meanwhile: no matter

    def has_room(self) -> bool:
        """Return whether another step should be handed to Ray."""
        if self._workers is not None or not self._flying:
            return len(self._flying) < (self._workers or 1)
        return sum(map(threads, self._flying.values())) < sum(n.get("CPU", 0) for n in self._nodes.values())

    def give(self, step: Step) -> None:
        """Hand a step to Ray."""
        order = {"key": step.key, "kind": step.kind, "args": dict(step.args), "parents": step.parents}
        share = gpu_share(list(self._nodes.values()), threads(step), self._workers)
        task = self._perform.options(num_cpus=threads(step), num_gpus=share)
        self._flying[task.remote(order, self._site, self._listener)] = step

    def answers(self, seconds: float) -> Iterator[tuple[Step, Answer]]:
        """What became of steps within that time, and how far those are that run."""
        self._ask()
        news = [] if self._news_on_its_way is None else [self._news_on_its_way]
        waiting = [*self._flying, *news]
        if waiting:
            self._ray.wait(waiting, num_returns=1, timeout=seconds)
            waiting, _ = self._ray.wait(waiting, num_returns=len(waiting), timeout=0)
        else:
            time.sleep(seconds)
        for task in waiting:
            if task in self._flying:
                step = self._flying.pop(task)
                yield step, self._answer(task)
            else:
                yield from self._told(task)
        self._look()

    def _ask(self) -> None:
        """Ask how far the running steps are, if it is time to."""
        now = time.monotonic()
        if self._listener is not None and self._news_on_its_way is None and now - self._asked > _NEWS_SECONDS:
            self._asked, self._news_on_its_way = now, self._listener.take.remote()

    def _told(self, news: Any) -> Iterator[tuple[Step, Answer]]:
        self._news_on_its_way = None
        try:
            epochs = self._ray.get(news)
        except self._ray.exceptions.RayError:  # steps go on without it
            self._listener = None
            return
        for step in [step for step in self._flying.values() if step.key in epochs]:
            yield step, {"is": "running", "epochs": epochs[step.key]}

    def _answer(self, task: Any) -> Answer:
        """What a task says; `dead` if its process or node is lost, PruneryError if it cannot run there."""
        errors = self._ray.exceptions
        try:
            answer: Answer = self._ray.get(task)
        except (errors.RayTaskError, errors.RuntimeEnvSetupError) as error:
            lines = str(error).strip().splitlines()
            raise PruneryError(
                "a task of Ray", lines[-1], "prunery must be installed on all nodes"
            ) from error
        except errors.RayError as error:
            what = " ".join(str(error).split()).split(". ")[0]  # more sentences of advice follow
            return {"is": "dead", "reason": f"{type(error).__name__}: {what}"}
        if answer["is"] == "broken":
            raise PruneryError("starting a worker", answer["reason"], f"correct this:\n{answer['trace']}")
        return answer

    def _look(self) -> None:
        """Look at the nodes, if it is time to; PruneryError if none has had room for a while."""
        now = time.monotonic()
        if self._nodes and now - self._looked < _LOOK_SECONDS:
            return
        self._looked = now
        alive = [node for node in self._ray.nodes() if node["Alive"]]
        self._nodes = {node["NodeID"]: node["Resources"] for node in alive}
        largest = int(max((has.get("CPU", 0) for has in self._nodes.values()), default=0))
        least = min(map(threads, self._flying.values()), default=0)
        if least <= largest:
            self._waits_since = None
            return
        self._waits_since = now if self._waits_since is None else self._waits_since
        if now - self._waits_since > _ROOM_SECONDS:
            found = f"the largest node of the cluster has {largest}"
            raise PruneryError(
                f"a step on {least} cores", found, "add a node, or give the spec fewer threads"
            )

    def _news(self) -> Any:
        """The process that hears how far steps are; on this node, for others may be lost."""
        here = self._on(self._ray.get_runtime_context().get_node_id(), soft=True)
        return self._ray.remote(num_cpus=0)(News).options(scheduling_strategy=here).remote()

    def _on(self, node: str, *, soft: bool = False) -> Any:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        return NodeAffinitySchedulingStrategy(node, soft=soft)

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, *raised: object) -> None:
        with suppress(Exception):  # whatever ended the run is what counts
            for task in self._flying:
                self._ray.cancel(task, force=True)
            if self._flying:
                self._ray.wait(list(self._flying), num_returns=len(self._flying), timeout=_STOP_SECONDS)
            if self._listener is not None:
                self._ray.kill(self._listener)


def _environment() -> dict[str, str]:
    """What the processes of all nodes find in their environment beside what is theirs."""
    ours = {name: value for name, value in os.environ.items() if name.startswith("PRUNERY_")}
    return {**KEEP_MEMORY, **ours}
