"""Running a network's parts: the plan of each for the batch at hand, torch for what is between them."""

from __future__ import annotations

import contextlib
from functools import partial

from torch import Tensor

from prunery.core.bits import threads_of
from prunery.runtime import native
from prunery.runtime.layers import Layer, Layers
from prunery.runtime.linear import ByTorch, LinearPlan, in_chunks, quickest
from prunery.runtime.placed import Placed, Staged, fresh, ready
from prunery.runtime.plan import Part, Plan
from prunery.runtime.recorded import NotRecordableError, Piece, Recorded
from prunery.runtime.team import at_once
from prunery.runtime.tune import Tuner

CACHE = 400 * 1024  # bytes of the second cache that activations may take
MOST_IMAGES = 16
SEARCH = {"fast": 0.5, "best": 5.0}  # seconds for the linear layers of a part
Runner = Placed | Staged | LinearPlan | ByTorch


class Running:
    """A network whose parts run by plans, which are made where they are needed first."""

    def __init__(self, network: Layers, parts: list[Layer | Part], threads: int, tuner: Tuner) -> None:
        self.network, self.parts, self.threads, self.tuner = network, parts, threads, tuner
        self.plans: dict[tuple[int, ...], Runner] = {}
        self.recorded: dict[int, Recorded] = {}  # by size of the batch
        self.tried: set[int] = set()
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
        if batch in self.recorded:
            return self.recorded[batch](given)
        values.update(zip(self.network.inputs, given, strict=True))
        for part in self.parts:
            if isinstance(part, Layer):
                part.run(values, batch)
            elif part.of_rows:
                self._rows(part, values)
            else:
                self._planes(part, values, batch)
        self._record(given)
        return [values[number] for number in self.network.outputs]

    def _record(self, given: list[Tensor]) -> None:
        """Record the network for this size of the batch, if each part is a single plan of kernels alone."""
        batch, pieces = given[0].shape[0], list[Piece]()
        if batch in self.tried or len(shares(batch, self.threads, self.lanes)) > 1:
            return
        self.tried.add(batch)
        for part in self.parts:
            if isinstance(part, Layer):
                pieces.append(part)
                continue
            plan = self.plans.get(_rows_key(part, batch)) if part.of_rows else self._first(part, batch)
            if not isinstance(plan, Placed | LinearPlan):
                return
            pieces.append((part, plan))
        with contextlib.suppress(NotRecordableError):
            self.recorded[batch] = Recorded(self.network, pieces, given, self.threads)

    def _rows(self, part: Part, values: dict[int, Tensor]) -> None:
        given = [values[n] for n in part.inputs]
        rows = given[0].shape[0]
        made = [fresh(rows, *part.shapes[n]) for n in part.outputs]
        key = _rows_key(part, rows)
        plan = self.plans.get(key)
        if plan is None:
            plan = quickest(part, given, self.threads, self.tuner, SEARCH[self.tuner.effort])
            self.plans[key] = plan
        assert isinstance(plan, LinearPlan | ByTorch)
        in_chunks(plan, given, made)
        values.update(zip(part.outputs, made, strict=True))

    def _planes(self, part: Part, values: dict[int, Tensor], batch: int) -> None:
        given = [ready(values[n]) for n in part.inputs]
        made = [fresh(batch, *part.shapes[n]) for n in part.outputs]
        pieces = shares(batch, self.threads, self.lanes)
        runs = [
            partial(self._piece, part, given, made, piece, worker, len(pieces) > 1)
            for worker, piece in enumerate(pieces)
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

    def _piece(
        self, part: Part, given: list[Tensor], made: list[Tensor], images: slice, worker: int, alone: bool
    ) -> None:
        begin, plan = images.start, None
        sources = [(t.data_ptr(), part.size(n)) for n, t in zip(part.inputs, given, strict=True)]
        targets = [(t.data_ptr(), part.size(n)) for n, t in zip(part.outputs, made, strict=True)]
        while begin < images.stop:
            left = images.stop - begin
            if plan is None or isinstance(plan, Staged) != self._staged(part, left):  # less may be left
                plan = self._plan(part, left, worker, 1 if alone else self.threads)
            source, target = ([a + begin * size for a, size in tensors] for tensors in (sources, targets))
            plan.run(source, target, min(left, plan.images))
            begin += plan.images

    def _staged(self, part: Part, left: int) -> bool:
        return left > self.lanes // 2 and part.stages[1] is not None

    def _first(self, part: Part, batch: int) -> Placed | Staged:
        """The plan that all threads share, for a batch or the beginning of one."""
        return self._plan(part, batch, 0, self.threads)

    def _plan(self, part: Part, left: int, worker: int, threads: int) -> Placed | Staged:
        """A worker's plan for that many images, or for the first of them; about as many share one."""
        staged = self._staged(part, left)
        left = min(1 << (left - 1).bit_length(), self._fitting(part, threads))
        key = (id(part), staged or -left, worker, threads)
        plan = self.plans.get(key)
        if plan is None:
            make = partial(self._made, left=left, threads=threads)
            plan = Staged(part, self.lanes, make) if staged else Placed(make(part, 1), part.inputs)
            self.plans[key] = plan
        assert isinstance(plan, Placed | Staged)
        return plan

    def _made(self, part: Part, lanes: int, left: int, threads: int) -> Plan:
        images = min(left, self._fitting(part, threads))
        return Plan(part, lanes if lanes > 1 else images, threads, self.tuner, lanes)

    @staticmethod
    def _fitting(part: Part, threads: int) -> int:
        """Return how many images of a part the second cache holds, one for each thread at least."""
        return max(threads, min(MOST_IMAGES, CACHE // part.bytes()))


def _rows_key(part: Part, rows: int) -> tuple[int, ...]:
    return (id(part), rows.bit_length())  # what is the quickest for about as many rows


def shares(batch: int, threads: int, lanes: int) -> list[slice]:
    """Return the images of each thread, whole groups of lanes where there are enough; one: all work together.

    Threads that have images of their own need not wait for each other after every layer.
    """
    if threads == 1 or batch < 2 * threads:
        return [slice(0, batch)]
    unit = lanes if batch >= lanes * threads else 1
    step = -(-batch // (threads * unit)) * unit
    return [slice(begin, min(batch, begin + step)) for begin in range(0, batch, step)]
