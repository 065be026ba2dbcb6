"""Running a network's parts: the plan of each for the batch at hand, torch for what is between them."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from prunery.core.bits import threads_of
from prunery.runtime import native
from prunery.runtime.layers import Layer, Layers
from prunery.runtime.linear import ByTorch, LinearPlan, in_chunks, quickest
from prunery.runtime.plan import Part, Plan, Staged
from prunery.runtime.team import at_once
from prunery.runtime.tune import Tuner

CACHE = 400 * 1024  # bytes of the second cache that activations may take
MOST_IMAGES = 16
SEARCH = {"fast": 0.5, "best": 5.0}  # seconds for the linear layers of a part
Runner = Plan | Staged | LinearPlan | ByTorch


class Running:
    """A network whose parts run by plans, which are made where they are needed first."""

    def __init__(self, network: Layers, parts: list[Layer | Part], threads: int, tuner: Tuner) -> None:
        self.network, self.parts, self.threads, self.tuner = network, parts, threads, tuner
        self.plans: dict[tuple[int, ...], Runner] = {}
        self.ready: set[tuple[int, int, int]] = set()  # parts, workers, images: their plans are made
        between = [layer for layer in parts if isinstance(layer, Layer)]
        read = {n for layer in between for n in layer.step.reads()} | {*network.outputs}
        self.constants = {n: t for n, t in network.constants.items() if n in read}
        made_for = native.isa()
        assert isinstance(made_for, native.Isa)
        self.lanes = made_for.lanes

    def __call__(self, given: list[Tensor]) -> list[Tensor]:
        """Return the network's outputs."""
        values, batch = dict(self.constants), given[0].shape[0]
        values.update(zip(self.network.inputs, given, strict=True))
        for part in self.parts:
            if isinstance(part, Layer):
                part.run(values, batch)
            elif part.of_rows:
                self._rows(part, values)
            else:
                self._planes(part, values, batch)
        return [values[number] for number in self.network.outputs]

    def _rows(self, part: Part, values: dict[int, Tensor]) -> None:
        given = [values[n] for n in part.inputs]
        rows = given[0].shape[0]
        made = [torch.empty(rows, *part.shapes[n]) for n in part.outputs]
        key = (id(part), rows.bit_length())  # what is the quickest for about as many rows
        plan = self.plans.get(key)
        if plan is None:
            plan = quickest(part, given, self.threads, self.tuner, SEARCH[self.tuner.effort])
            self.plans[key] = plan
        assert isinstance(plan, LinearPlan | ByTorch)
        in_chunks(plan, given, made)
        values.update(zip(part.outputs, made, strict=True))

    def _planes(self, part: Part, values: dict[int, Tensor], batch: int) -> None:
        given = [values[n] for n in part.inputs]
        made = [torch.empty(batch, *part.shapes[n]) for n in part.outputs]
        pieces = shares(batch, self.threads, self.lanes)
        runs = [
            partial(self._piece, part, [t[p] for t in given], [t[p] for t in made], worker, len(pieces) > 1)
            for worker, p in enumerate(pieces)
        ]
        used = {(id(part), worker, p.stop - p.start) for worker, p in enumerate(pieces)}
        if len(runs) == 1:
            runs[0]()
        elif used <= self.ready:
            at_once(runs)
        else:  # plans are tried one at a time, or they would slow each other
            with threads_of(1):
                for run in runs:
                    run()
            self.ready |= used
        values.update(zip(part.outputs, made, strict=True))

    def _piece(self, part: Part, given: list[Tensor], made: list[Tensor], worker: int, alone: bool) -> None:
        batch, begin = given[0].shape[0], 0
        plan: Plan | Staged | None = None
        while begin < batch:
            staged = batch - begin > self.lanes // 2 and part.stages[1] is not None
            if plan is None or isinstance(plan, Staged) != staged:  # what is left is less: the plan serves it
                plan = self._plan(part, staged, batch - begin, worker, 1 if alone else self.threads)
            here = slice(begin, begin + plan.images)
            plan.run([t[here] for t in given], [t[here] for t in made])
            begin += plan.images

    def _plan(self, part: Part, staged: bool, left: int, worker: int, threads: int) -> Plan | Staged:
        """A worker's plan for that many images, or for the first of them; about as many share one."""
        left = min(1 << (left - 1).bit_length(), self._fitting(part, threads))
        key = (id(part), staged or -left, worker, threads)
        plan = self.plans.get(key)
        if plan is None:
            make = partial(self._made, left=left, threads=threads)
            plan = self.plans[key] = Staged(part, self.lanes, make) if staged else make(part, 1)
        assert isinstance(plan, Plan | Staged)
        return plan

    def _made(self, part: Part, lanes: int, left: int, threads: int) -> Plan:
        images = min(left, self._fitting(part, threads))
        return Plan(part, lanes if lanes > 1 else images, threads, self.tuner, lanes)

    @staticmethod
    def _fitting(part: Part, threads: int) -> int:
        """Return how many images of a part the second cache holds, one for each thread at least."""
        return max(threads, min(MOST_IMAGES, CACHE // part.bytes()))


def shares(batch: int, threads: int, lanes: int) -> list[slice]:
    """Return the images of each thread, whole groups of lanes where there are enough; one: all work together.

    Threads that have images of their own need not wait for each other after every layer.
    """
    if threads == 1 or batch < 2 * threads:
        return [slice(0, batch)]
    unit = lanes if batch >= lanes * threads else 1
    step = -(-batch // (threads * unit)) * unit
    return [slice(begin, min(batch, begin + step)) for begin in range(0, batch, step)]
