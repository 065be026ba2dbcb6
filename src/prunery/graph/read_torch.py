"""Reads what a model computes: one run on an example, operation by operation as torch dispatches them.

Tensors of the run have shapes and no values where that is possible, so that it costs no arithmetic and no
memory. Where the model asks for a value (a branch that depends on data) it is run for real.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from prunery.errors import ModelError
from prunery.forward import call_of, mapped, modes_kept, no_trace, standing_in, tensors
from prunery.graph.short import SHORT
from prunery.wrappers import named_modules, unwrapped

_VALUES = ("aten::_local_scalar_dense", "aten::is_nonzero", "aten::item", "aten::equal")
RECURRENT = ("lstm", "gru", "rnn_tanh", "rnn_relu")
_TORCH = os.path.dirname(torch.__file__)
_LAYERS = tuple(os.path.join(_TORCH, "nn", part) for part in ("modules", "utils"))
_FAKE = logging.getLogger("torch._subclasses.fake_tensor")


@dataclass
class Call:
    """One operation: its name, its arguments and what came out.

    name: torch's own without its namespace and without the underscore of the in-place form.
    """

    name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    output: Any
    module: str  # the innermost module that was running
    place: str  # file and line of the code that called it
    pointwise: bool  # each element of the output comes from the elements at its place
    writes: bool  # whether its first argument is changed
    function: Any = None  # what torch ran

    def tensors(self) -> list[Tensor]:
        """Return the tensors among the arguments."""
        return list(tensors((self.args, self.kwargs)))

    def outputs(self) -> list[Tensor]:
        """Return the tensors that came out."""
        return list(tensors(self.output))

    def __str__(self) -> str:
        where = f" in {self.module!r}" if self.module else ""
        return f"{self.name}{where} ({self.place})" if self.place else f"{self.name}{where}"


@dataclass
class Program:
    """What one run of a model computed.

    registered: parameters and buffers by name, as they took part. passed: for each module, what came out of
    the modules that it called. asked_for_values: the modules that looked at a value of a tensor.
    has_values: its tensors have values, and not shapes alone.
    """

    calls: list[Call] = field(default_factory=list)
    registered: dict[str, Tensor] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)
    inputs: list[Tensor] = field(default_factory=list)
    outputs: list[Tensor] = field(default_factory=list)
    passed: dict[str, list[Tensor]] = field(default_factory=dict)
    asked_for_values: list[Call] = field(default_factory=list)
    has_values: bool = False
    error: Exception | None = None

    @cached_property
    def by_module(self) -> dict[str, list[Call]]:
        """Return the calls of each module, after the run."""
        calls: dict[str, list[Call]] = {}
        for call in self.calls:
            calls.setdefault(call.module, []).append(call)
        return calls

    def idle(self) -> set[int]:
        """Return the ids of the calls whose results nothing uses."""
        used, idle = {id(tensor) for tensor in self.outputs}, set[int]()
        for call in reversed(self.calls):
            outputs = call.outputs()
            if outputs and not call.writes and used.isdisjoint(map(id, outputs)):
                idle.add(id(call))
            else:
                used.update(map(id, call.tensors()))
        return idle


def read(model: nn.Module, example: Any, *, training: bool = False) -> Program:
    """Return what `model` computes on `example`, in eval mode; nothing about the model changes.

    training: each module in the mode that it is in. ModelError: the model cannot be called with the example.
    """
    model = unwrapped(model)
    program = attempt(model, example, training=training)
    if program.error is not None:  # perhaps only without values
        program = with_values(model, example, training=training)
    if program.error is not None:
        problem = f"the model raised {type(program.error).__name__} on the example: {program.error}"
        do = "give an example that it can be called with"
        raise ModelError("the graph of a model", problem, do) from program.error
    return program


def attempt(model: nn.Module, example: Any, *, training: bool = False) -> Program:
    """Return what `model` computes on `example`, up to where it raised; `error` says what."""
    return _run(model, example, FakeTensorMode(allow_non_fake_inputs=True), training)


def in_train_mode(model: nn.Module, example: Any) -> Program:
    """Return what `attempt` does, of a run with every module in train mode."""
    with modes_kept(model):
        return attempt(model.train(), example, training=True)


def with_values(model: nn.Module, example: Any, *, training: bool = False) -> Program:
    """Return what `attempt` does, of a run whose tensors have their values."""
    return _run(model, example, None, training)


def _run(model: nn.Module, example: Any, fake: FakeTensorMode | None, training: bool) -> Program:
    program, stand_ins = Program(has_values=fake is None), dict[int, Tensor]()

    def stand_in(tensor: Tensor) -> Tensor:
        tensor = tensor.detach()
        return tensor.clone() if fake is None else fake.from_tensor(tensor, static_shapes=True)

    with torch.inference_mode(False), torch.no_grad():
        names: dict[int, str] = {}
        for name, tensor in _registered(model):
            if id(tensor) in names:
                program.aliases[name] = names[id(tensor)]
            else:
                names[id(tensor)] = name
                program.registered[name] = stand_ins[id(tensor)] = stand_in(tensor)
        args, kwargs = call_of(mapped(stand_in, example))
        program.inputs = list(tensors((args, kwargs)))
        reader = _Reader(program, {id(module): name for name, module in named_modules(model)})
        with (
            no_trace(model, evaluates=not training),
            unfused(),
            _unlogged(),
            standing_in(model, stand_ins),
            fake or nullcontext(),
            reader.following(),
        ):
            try:
                program.outputs = list(tensors(model(*args, **kwargs)))
            except Exception as error:  # whatever the user's forward raises
                program.error = error
    return program


def _registered(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    for name, module in named_modules(model):
        for short, tensor in (*module._parameters.items(), *module._buffers.items()):
            if tensor is not None:
                yield (f"{name}.{short}" if name else short), tensor


@contextmanager
def unfused() -> Iterator[None]:
    """Transformer layers run their parts, which a fused kernel would hide."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


@contextmanager
def _unlogged() -> Iterator[None]:
    """What a smaller copy cannot compute is an answer here, which torch would print as an error."""
    before, _FAKE.disabled = _FAKE.disabled, True
    try:
        yield
    finally:
        _FAKE.disabled = before


class _Reader(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """While entered, notes every operation."""

    def __init__(self, program: Program, names: dict[int, str]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.program, self.names = program, names
        self.running = [""]

    @contextmanager
    def following(self) -> Iterator[None]:
        """Within it operations are noted with the module that they run in."""
        before = nn.modules.module.register_module_forward_pre_hook(self._enter)
        after = nn.modules.module.register_module_forward_hook(self._leave, always_call=True)
        try:
            with _WholeLayers(self), self:
                yield
        finally:
            before.remove()
            after.remove()

    def _enter(self, module: nn.Module, args: Any) -> None:
        self.running.append(self.names.get(id(module), self.running[-1]))

    def _leave(self, module: nn.Module, args: Any, output: Any) -> None:
        self.running.pop()
        self.program.passed.setdefault(self.running[-1], []).extend(tensors(output))

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run the operation, then take note of it."""
        kwargs = kwargs or {}
        if func.name() in _VALUES:
            self.note(func.name().removeprefix("aten::"), args, kwargs, None)
            self.program.asked_for_values.append(self.program.calls[-1])
        short = None if self.program.has_values or kwargs else SHORT.get(func)
        output = func(*args, **kwargs) if short is None else short(func, *args)
        if func.name() not in _VALUES and func.namespace != "prim":
            name = func._overloadpacket.__name__
            name = name if func.namespace == "aten" else f"{func.namespace}::{name}"
            writes = name.endswith("_") and not name.endswith("__")
            pointwise = torch.Tag.pointwise in func.tags
            self.note(name[:-1] if writes else name, args, kwargs, output, pointwise=pointwise, writes=writes)
            self.program.calls[-1].function = func
        return output

    def note(
        self,
        name: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        output: Any,
        *,
        pointwise: bool = False,
        writes: bool = False,
    ) -> None:
        """Note one operation."""
        call = Call(name, args, kwargs, output, self.running[-1], _place(), pointwise, writes)
        self.program.calls.append(call)


class _WholeLayers(TorchFunctionMode):
    """While entered, a recurrent layer is one operation; torch would take it apart by steps."""

    def __init__(self, reader: _Reader) -> None:
        super().__init__()
        self.reader = reader

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run the function, and note a recurrent one."""
        kwargs, name = kwargs or {}, getattr(func, "__name__", "")
        if name not in RECURRENT:
            return func(*args, **kwargs)
        calls = self.reader.program.calls
        count = len(calls)
        output = func(*args, **kwargs)
        del calls[count:]  # its steps
        self.reader.note(name, args, kwargs, output)
        calls[-1].function = func
        return output


def _place() -> str:
    """Return file and line of the model's own code that is running, or of torch's layer that it is."""
    frame, layer = sys._getframe(2), ""
    while frame is not None and frame.f_code is not _run.__code__:
        path = frame.f_code.co_filename
        if path.startswith(_LAYERS):
            layer = layer or f"{os.path.basename(path)}:{frame.f_lineno}"
        elif not path.startswith((_TORCH, __file__, "<")) and "contextlib" not in path:
            return f"{os.path.basename(path)}:{frame.f_lineno}"
        frame = frame.f_back  # type: ignore[assignment]
    return layer
