"""Running a network's parts: the plan of each for the batch at hand, torch for what is between them."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from prunery.runtime import native
from prunery.runtime.layers import Layer, Layers
from prunery.runtime.linear import ByTorch, LinearPlan, in_chunks, quickest
from prunery.runtime.plan import Part, Plan, Staged
from prunery.runtime.tune import Tuner

CACHE = 400 * 1024  # bytes of the second cache that activations may take
MOST_IMAGES = 16
SEARCH = {"fast": 0.5, "best": 5.0}  # seconds for the linear layers of a part
Runner = Plan | Staged | LinearPlan | ByTorch


class Running:
    """A network whose parts run by plans, which are made where they are needed first."""

    def __init__(self, network: Layers, parts: list[Layer | Part], threads: int, tuner: Tuner) -> None:
        self.network, self.parts, self.threads, self.tuner = network, parts, threads, tuner
        self.plans: dict[tuple[int, int], Runner] = {}
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
        begin = 0
        while begin < batch:
            plan = self._plan(part, batch - begin)
            here = slice(begin, begin + plan.images)
            plan.run([t[here] for t in given], [t[here] for t in made])
            begin += plan.images
        values.update(zip(part.outputs, made, strict=True))

    def _plan(self, part: Part, left: int) -> Plan | Staged:
        """The plan for that many images, or for the first of them."""
        staged = left > self.lanes // 2 and part.stages[1] is not None
        plan = self.plans.get((id(part), staged))
        if plan is None:
            make = partial(self._made, left=left)
            plan = Staged(part, self.lanes, make) if staged else make(part, 1)
            self.plans[id(part), staged] = plan
        assert isinstance(plan, Plan | Staged)
        return plan

    def _made(self, part: Part, lanes: int, left: int) -> Plan:
        fitting = max(self.threads, min(MOST_IMAGES, CACHE // part.bytes()))
        return Plan(part, lanes if lanes > 1 else min(left, fitting), self.threads, self.tuner, lanes)
