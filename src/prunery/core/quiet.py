"""Running a model without a trace: on tensors that stand in for its own.

Each module's registered tensors are exchanged for the time of a call and put back, whatever the call did to
them; modules, parameters and buffers keep their identity. (`torch.func.functional_call` does not serve: where
one module is registered under two names it leaves plain tensors in place of the parameters.)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from prunery.core.masks import parameter_of
from prunery.seeds import number

StandIns = dict[int, Tensor]  # by the id of the parameter or buffer that it stands in for


def stand_ins_for(model: nn.Module, masks: Mapping[str, Tensor], where: torch.device) -> StandIns:
    """Parameters, detached and masked, and copies of buffers, on the device `where`."""
    parameters = {id(p): p.detach().to(where) for p in model.parameters()}
    for name, mask in masks.items():
        own = id(parameter_of(model, name))
        zero = torch.zeros((), dtype=parameters[own].dtype, device=where)
        parameters[own] = torch.where(mask.to(where), parameters[own], zero)
    return {**parameters, **{id(b): b.detach().to(where, copy=True) for b in model.buffers()}}


@contextmanager
def standing_in(model: nn.Module, stand_ins: StandIns) -> Iterator[None]:
    """Within it, `model` runs on the stand-ins."""
    modules = list(model.modules())
    own_registries: list[Any] = [r for m in modules for r in (m._parameters, m._buffers)]
    registries = [(registry, dict(registry)) for registry in own_registries]
    recurrent = [(m, m._flat_weights) for m in modules if isinstance(m, nn.RNNBase)]
    try:
        for registry, own in registries:
            registry.update({key: stand_ins.get(id(t), t) for key, t in own.items()})
        for module, weights in recurrent:  # they keep a second list of their parameters
            module.__dict__["_flat_weights"] = [stand_ins.get(id(w), w) for w in weights]
        yield
    finally:
        for registry, own in registries:
            registry.clear()
            registry.update(own)
        for module, weights in recurrent:
            module.__dict__["_flat_weights"] = weights


@contextmanager
def modes_kept(model: nn.Module) -> Iterator[None]:
    """On exit every module is in the mode, train or eval, that it was in."""
    modes = [(module, module.training) for module in model.modules()]
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


@contextmanager
def eval_mode(model: nn.Module) -> Iterator[None]:
    """Within it every module is in eval mode."""
    with modes_kept(model):
        for module in model.modules():
            module.training = False
        yield


@contextmanager
def forked(seed: int, where: torch.device) -> Iterator[None]:
    """Within it the global random state is drawn from `seed`; afterwards it is what it was."""
    devices = [where] if where.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(number(seed, "scoring"))
        yield
