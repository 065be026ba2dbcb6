"""Calling a model: what it is called with, on which tensors, and leaving no trace of it.

Each module's registered tensors are exchanged for the time of a call and put back, whatever the call did to
them; modules, parameters and buffers keep their identity. (`torch.func.functional_call` does not serve: where
one module is registered under two names it leaves plain tensors in place of the parameters.)
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable, Iterator, Mapping, ValuesView
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from prunery.seeds import number
from prunery.wrappers import parameter_of


def call_of(example: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """(args, kwargs) of the call: a mapping is keywords, a tuple or list arguments, anything else one."""
    if isinstance(example, Mapping):
        return (), dict(example)
    if isinstance(example, tuple | list) and not isinstance(example, PackedSequence):
        return tuple(example), {}
    return (example,), {}


def mapped(function: Callable[[Tensor], Tensor], value: Any) -> Any:
    """Return `value` with `function` applied to each tensor in it: in mappings, sequences and dataclasses.

    Other objects are returned as they are, whatever they hold.
    """
    if isinstance(value, Tensor):
        return function(value)
    if isinstance(value, PackedSequence):
        return PackedSequence(function(value.data), *value[1:])
    if isinstance(value, Mapping):
        return {key: mapped(function, item) for key, item in value.items()}
    if type(value) in (tuple, list):
        return type(value)(mapped(function, item) for item in value)
    if isinstance(value, tuple) and hasattr(value, "_make"):  # a named tuple
        return value._make(mapped(function, item) for item in value)
    if isinstance(value, SimpleNamespace):
        return SimpleNamespace(**mapped(function, vars(value)))
    if dataclasses.is_dataclass(value) and not isinstance(value, type) and any(True for _ in tensors(value)):
        fields = [f.name for f in dataclasses.fields(value) if f.init]
        return dataclasses.replace(value, **{name: mapped(function, getattr(value, name)) for name in fields})
    return value


def tensors(value: Any) -> Iterator[Tensor]:
    """Yield every tensor in `value`, in order: in mappings, sequences and dataclasses."""
    if isinstance(value, Tensor):
        yield value
    elif (named := named_items(value)) is not None:
        for item in named.values():
            yield from tensors(item)
    elif isinstance(value, SEVERAL):
        for item in value:
            yield from tensors(item)


def memory_of(tensor: Tensor) -> int | None:
    """What identifies a tensor's memory while it lives; None for a tensor without one (a sparse one)."""
    try:
        return int(tensor.untyped_storage()._cdata)
    except (NotImplementedError, RuntimeError):
        return None


SEVERAL = (tuple, list, set, frozenset, deque, ValuesView)


def named_items(value: Any) -> Mapping[Any, Any] | None:
    """Return what a mapping, dataclass or namespace holds by name; None for anything else."""
    if isinstance(value, Mapping):
        return value
    if isinstance(value, SimpleNamespace):
        return vars(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    return None


StandIns = dict[int, Tensor]  # by the id of the parameter or buffer that it stands in for


def stand_ins_for(model: nn.Module, masks: Mapping[str, Tensor], where: torch.device) -> StandIns:
    """Parameters, detached and masked, and copies of buffers, on the device `where`."""
    parameters = {id(p): p.detach().to(where, copy=p.is_inference()) for p in model.parameters()}
    for name, mask in masks.items():
        own = id(parameter_of(model, name))
        zero = torch.zeros((), dtype=parameters[own].dtype, device=where)
        parameters[own] = torch.where(mask.to(where), parameters[own], zero)
    return {**parameters, **{id(b): b.detach().to(where, copy=True) for b in model.buffers()}}


@contextmanager
def standing_in(model: nn.Module, stand_ins: StandIns) -> Iterator[None]:
    """Within it, `model` runs on the stand-ins; TorchScript parts of it run on what they hold."""
    modules = [m for m in model.modules() if not isinstance(m, torch.jit.ScriptModule)]
    own_registries: list[Any] = [r for m in modules for r in (m._parameters, m._buffers)]
    registries = [(registry, dict(registry)) for registry in own_registries]
    recurrent = [(m, m._flat_weights) for m in modules if isinstance(m, nn.RNNBase)]
    with attributes_kept(model):
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


@contextmanager
def attributes_kept(model: nn.Module) -> Iterator[None]:
    """On exit the plain attributes of all modules are as they were: what a call caches or counts is gone.

    A table cached while a model runs in float64 would not fit the model afterwards. Lists, mappings and
    tensors have their content back; what other objects hold is not looked into.
    """
    own = vars(nn.Module()).keys()  # the registries and the mode, which others keep
    modules = [vars(m) for m in model.modules() if not isinstance(m, torch.jit.ScriptModule)]
    kept = [(now, {name: value for name, value in now.items() if name not in own}) for now in modules]
    contents = [(value, _content(value)) for _, before in kept for value in before.values()]
    try:
        yield
    finally:
        for now, before in kept:
            for name in now.keys() - before.keys() - own:
                del now[name]
            now.update(before)
        for value, content in contents:
            _refill(value, content)


def _content(value: Any) -> Any:
    if type(value) is Tensor and value.layout is torch.strided and not (value.is_nested or value.is_meta):
        return value.detach().clone(), value.grad_fn is not None
    return dict(value) if isinstance(value, dict) else list(value) if isinstance(value, list) else None


def _refill(value: Any, content: Any) -> None:
    if isinstance(value, dict):
        value.clear()
        value.update(content)
    elif isinstance(value, list):
        value[:] = content
    elif content is not None and not torch.equal(value, content[0]):  # a write would spoil a backward pass
        with torch.no_grad():
            value.copy_(content[0])
        if value.grad_fn is not None and not content[1]:
            value.detach_()


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


def placed(example: Any, model: nn.Module) -> Any:
    """`example` on the device of `model`, floating-point tensors in its precision."""
    like = next((p for p in model.parameters() if p.is_floating_point()), None)
    if like is None:
        return example
    dtype, device = like.dtype, like.device
    return mapped(lambda t: t.to(device, dtype if t.is_floating_point() else None), example)


@contextmanager
def no_trace(model: nn.Module, *, evaluates: bool = True) -> Iterator[None]:
    """`model` in eval mode, on exit modes, buffers and the global random state are as they were.

    evaluates: False leaves each module in its mode. Modes are set module by module, so that one that was
    frozen in eval mode stays so. A buffer is written back only if it was touched: a write would spoil a
    backward pass that is still to come.
    """
    buffers = [
        (module, name, buffer, _version(buffer), buffer.clone())
        for module in model.modules()
        for name, buffer in module._buffers.items()
        if buffer is not None
    ]
    devices = {p.device for p in model.parameters() if p.device.type == "cuda"}
    mode = eval_mode(model) if evaluates else modes_kept(model)
    with torch.random.fork_rng(devices=list(devices)), mode:
        try:
            yield
        finally:
            _put_back(buffers)


def _version(tensor: Tensor) -> int:
    return -1 if tensor.is_inference() else tensor._version


def _put_back(buffers: list[tuple[nn.Module, str, Tensor, int, Tensor]]) -> None:
    for module, name, buffer, version, before in buffers:
        module._buffers[name] = buffer
        if version == -1 or buffer._version != version:
            with torch.no_grad():
                buffer.copy_(before)
