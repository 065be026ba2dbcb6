"""Makes a model smaller by what cannot matter: the same outputs from fewer channels.

masked copy ─▶ graph ─▶ reads and constants ─▶ plan ─▶ edited copy ─▶ smaller copy ─▶ checked
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from prunery.core.masks import Masks
from prunery.errors import CompactError
from prunery.export.agree import check
from prunery.export.duplicates import duplicates
from prunery.export.edit import fold_, merge_constants_, merge_duplicates_, registered, silence_
from prunery.export.optimizer import Places, carried
from prunery.export.parting import Stage
from prunery.export.reader import reads_of
from prunery.export.reads import Read
from prunery.export.removable import Options, Plan, by_group, never_read, plan_of
from prunery.forward import placed
from prunery.graph.coupling import graph_of
from prunery.graph.shrink import Removal, shrunk
from prunery.wrappers import unwrapped

_OPTIONS = (Options(), Options(fold=False, merge=False))
"""What is tried, in order: where constants cannot be folded to the digit, only what is 0 goes."""


@dataclass
class Compaction:
    """A smaller model, and what was done.

    removed: units that went, by the name of their group. folded: constant units that went into biases.
    merged: constant units that another one stands for. twins: units that went because another one computes
    the same. idle: units that do not matter and stay, because one of a group must. pinned: why channels had
    to stay, by the name of their group. parameters: numbers of them, before and after. exact_in_training: it
    does the same in train mode. held_back: why constants were not folded, where that did not work out.
    """

    model: nn.Module
    removed: dict[str, int] = field(default_factory=dict)
    folded: int = 0
    merged: int = 0
    twins: int = 0
    idle: int = 0
    pinned: dict[str, tuple[str, ...]] = field(default_factory=dict)
    parameters: tuple[int, int] = (0, 0)
    exact_in_training: bool = True
    held_back: str = ""


def compact(
    model: nn.Module, masks: Mapping[str, Tensor] | None, example: Any, *, optimizer: Any = None
) -> nn.Module:
    """Return a smaller copy of `model` that computes what the masked model does.

    A channel goes when all its inputs or all its uses are 0. One that is constant goes too: into the bias of
    what reads it where that is exact, else all constant channels of a layer become one. Channels that compute
    the same become one. `model` is not changed.

    masks: `Masks`, or any mapping from parameter name to mask; None for the zeros that the model has.
    example: what the model can be called with. optimizer: torch's; afterwards it trains the smaller model,
    with its state for what is left.

    Raises CompactError where the outputs differ by more than 1e-5 of the largest (in float32) on the example,
    on random or large inputs, in another batch size or, where no constant was folded, in training; MasksError
    for masks that do not fit; ModelError where the model cannot be called with the example.
    """
    return compacted(model, masks, example, optimizer=optimizer).model


def compacted(
    model: nn.Module, masks: Mapping[str, Tensor] | None, example: Any, *, optimizer: Any = None
) -> Compaction:
    """Return what `compact` does, with what was done."""
    bare = unwrapped(model)
    masked, example = _masked(bare, masks), placed(example, bare)
    held_back = ""
    for options in _OPTIONS:
        job = _Job(masked, example, options)
        try:
            check(job.run(), example, training=job.done.exact_in_training)
            break
        except CompactError as problem:
            if options is _OPTIONS[-1]:
                raise
            held_back = problem.found
    job.done.held_back = held_back
    if optimizer is not None:
        carried(optimizer, bare, job.done.model, job.places)
    return job.done


def _masked(model: nn.Module, masks: Mapping[str, Tensor] | None) -> nn.Module:
    try:
        masked = copy.deepcopy(model)
    except Exception as problem:  # whatever the model's own parts raise
        found = f"copying it raised {type(problem).__name__}: {problem}"
        raise CompactError(
            "a smaller copy of the model", found, "give a model that can be copied"
        ) from problem
    if masks:
        (masks if isinstance(masks, Masks) else Masks(masks)).apply_(masked)
    return masked


class _Job:
    """One try: passes over the model, each smaller than the last, until nothing more is alike."""

    def __init__(self, masked: nn.Module, example: Any, options: Options) -> None:
        self.masked, self.example, self.options = masked, example, options
        self.places: Places = {}
        self.done = Compaction(masked)

    def run(self) -> list[Stage]:
        """Return what each pass made of the masked model."""
        model, stages, twins = self.masked, list[Stage](), 1
        while twins:
            stage, twins = self._pass(model)
            stages.append(stage)
            model = stage.after
        counts = [sum(p.numel() for p in m.parameters()) for m in (self.masked, model)]
        self.done.model, self.done.parameters = model, (counts[0], counts[1])
        return stages

    def _pass(self, model: nn.Module) -> tuple[Stage, int]:
        graph = graph_of(model, self.example)
        reads = reads_of(graph, model, registered(model))
        plan = plan_of(graph, reads, self.options)
        edited = copy.deepcopy(model)
        made = fold_(edited, plan)
        merge_constants_(edited, plan)
        rows = {name: read.rows for name, read in made.items()}
        twins = duplicates(plan, registered(edited), rows)
        merge_duplicates_(edited, plan, twins)
        silence_(edited, plan)
        removal = Removal(graph.flow, np.concatenate([plan.removed, np.asarray(list(twins), np.int64)]))
        self._note(model, plan, removal, len(twins))
        return Stage(model, _cut(edited, removal, plan, made), removal, plan.idle), len(twins)

    def _note(self, model: nn.Module, plan: Plan, removal: Removal, twins: int) -> None:
        """Note what a pass removes."""
        graph, done = plan.graph, self.done
        for group, count in by_group(graph, removal.removed):
            if count:
                done.removed[group.name] = done.removed.get(group.name, 0) + count
        folded = len(_folded(plan))
        done.folded += folded
        done.merged, done.twins = done.merged + len(plan.merged), done.twins + twins
        done.idle = len(plan.idle)
        done.pinned = done.pinned or {group.name: group.pinned for group in graph.groups if group.pinned}
        in_training = graph.flow.training is not None
        if folded or plan.merged or (twins and in_training):
            done.exact_in_training = False
        elif done.exact_in_training and len(plan.gone):
            reads = plan.reads
            if in_training or any("batch_norm" in call.name for call in graph.program.calls):
                reads = reads_of(graph, model, registered(model), training=True)
            never = graph.flow.channels.among(never_read(graph, reads))
            done.exact_in_training = bool(never[plan.gone].all())
        for name, tensor in registered(model).items():
            index = removal.index(name, tensor.ndim)
            before = self.places.get(name, [None] * tensor.ndim)
            self.places[name] = [_composed(a, b) for a, b in zip(before, index, strict=True)]


def _folded(plan: Plan) -> set[int]:
    """Return the units that a bias has taken in."""
    units: set[int] = set()
    for read in plan.reads if plan.folds else ():
        if read.folds:
            units |= set(read.columns[read.matters & read.known].tolist())
    return units & set(plan.gone.tolist())


def _composed(before: Tensor | None, after: Tensor | None) -> Tensor | None:
    return after if before is None else before if after is None else before[after]


def _cut(edited: nn.Module, removal: Removal, plan: Plan, made: Mapping[str, Read]) -> nn.Module:
    """Return the smaller copy; a new bias is cut as the rows of its weight are."""

    def cut(name: str, tensor: Tensor) -> Tensor:
        if name not in made:
            return removal.cut(name, tensor)
        kept = torch.from_numpy(np.flatnonzero(removal.kept(made[name].rows)))
        return tensor.index_select(0, kept.to(tensor.device))

    return shrunk(edited, removal, plan.graph.widths, cut=cut, share=True)  # the edited copy is given up
