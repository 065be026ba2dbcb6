"""How often a model uses each weight on one example: one multiply-accumulate (MAC) per use.

Counted by forward hooks. N: batch, L: positions of the queries or of a sequence, S: of the keys.

    Linear                   product of the leading axes
    Conv1-3d                 output positions (grouped ones too: their weight is smaller)
    ConvTranspose1-3d        input positions
    MultiheadAttention       rows of q and the output projection: L; rows of k and v: S
    RNN, LSTM, GRU           L for every weight of every layer and direction; the cells 1
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.modules.rnn import RNNCellBase
from torch.nn.utils.rnn import PackedSequence

from prunery.core.forward import call_of, no_trace, tensors
from prunery.errors import ModelError

Times = int | Tensor  # of every weight, or an int64 tensor (rows,) of every weight of each row


def uses_of(model: nn.Module, example: Any, *, batch: int | None = None) -> dict[int, Tensor]:
    """Uses per example of each weight: id(parameter) -> int64 scalar, or (rows,) where rows differ.

    A module that runs twice counts twice, and so does a tied parameter under each of its modules; one that
    is never called is not in the result. `batch`: see `prunery.measure.cost.cost`.
    """
    recorder = _Recorder(next((tuple(t.shape) for t in tensors(example)), ()))
    args, kwargs = call_of(example)
    try:
        with no_trace(model), torch.no_grad(), _modules_called(), recorder.watching(model):
            model(*args, **kwargs)
    except Exception as error:
        found = f"the model raised {type(error).__name__} on the example: {error}"
        raise ModelError(
            "the cost of a model", found, "give an example that it can be called with"
        ) from error
    examples = batch or recorder.batch(example)
    return {key: _per_example(times, examples) for key, times in recorder.times.items()}


def _per_example(times: Tensor, examples: int) -> Tensor:
    if bool((times % examples != 0).any()):
        raise ModelError(
            "the cost of one example",
            f"a weight is used {int(times.max())} times in a batch of {examples}, which does not divide",
            "give an example of batch size 1, or say batch= if the leading axis is not the batch",
        )
    return times // examples


@contextmanager
def _modules_called() -> Iterator[None]:
    """Transformer layers call their parts: the fused kernel of eval mode would pass the hooks by."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


class _Recorder:
    """Adds up uses over the calls of one forward pass, and notes where the batch axis is."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape  # of the example's first tensor
        self.times: dict[int, Tensor] = {}
        self.axis: int | None = 0

    @contextmanager
    def watching(self, model: nn.Module) -> Iterator[None]:
        """Hooks on every module that uses weights, gone on exit whatever happens."""
        handles = []
        try:
            for module in model.modules():
                counter = next((count for kind, count in COUNTERS if isinstance(module, kind)), None)
                if counter is not None:
                    handles.append(module.register_forward_hook(self._hook(counter), with_kwargs=True))
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _hook(self, counter: Counter) -> Callable[..., None]:
        def see(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
            call = Call(module, args, kwargs, output)
            self._place_batch(call)
            for name, times in counter(call).items():
                parameter = module.get_parameter(name)
                before = self.times.get(id(parameter), torch.tensor(0))
                self.times[id(parameter)] = before + times

        return see

    def _place_batch(self, call: Call) -> None:
        """Believe a module that is called on the example itself and has no batch axis, or has it second."""
        x = call.input("query" if isinstance(call.module, nn.MultiheadAttention) else "input")
        if not isinstance(x, Tensor):
            return
        if x.ndim == _batched_ndim(call.module) - 1 and tuple(x.shape[: len(self.shape)]) == self.shape:
            self.axis = None
        if getattr(call.module, "batch_first", True) is False and tuple(x.shape[:2]) == self.shape[:2]:
            self.axis = 1 if x.ndim == 3 else self.axis

    def batch(self, example: Any) -> int:
        """The number of examples in the example."""
        args, kwargs = call_of(example)
        first = next(iter((*args, *kwargs.values())), None)
        if isinstance(first, PackedSequence):
            return int(first.batch_sizes[0])
        return 1 if self.axis is None or not self.shape else max(1, self.shape[self.axis])


@dataclass(frozen=True)
class Call:
    """One call of a module."""

    module: Any
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    output: Any

    def input(self, name: str, position: int = 0) -> Any:
        """An argument, however it was passed."""
        return self.args[position] if len(self.args) > position else self.kwargs.get(name)


Counter = Callable[[Call], dict[str, Times]]


def _batched_ndim(module: nn.Module) -> int:
    """The axes of an input that has a batch axis (the fewest, for Linear)."""
    if isinstance(module, _ConvNd):
        return len(module.kernel_size) + 2
    return 3 if isinstance(module, nn.RNNBase | nn.MultiheadAttention) else 2


def _linear(call: Call) -> dict[str, Times]:
    return {"weight": call.output.numel() // call.module.out_features}


def _conv(call: Call) -> dict[str, Times]:
    return {"weight": call.output.numel() // call.module.out_channels}


def _conv_transpose(call: Call) -> dict[str, Times]:
    return {"weight": call.input("input").numel() // call.module.in_channels}


def _recurrent(call: Call) -> dict[str, Times]:
    x = call.input("input")
    x = x.data if isinstance(x, PackedSequence) else x
    steps = x.numel() // call.module.input_size
    return {name: steps for name, p in call.module.named_parameters(recurse=False) if p.ndim == 2}


def _attention(call: Call) -> dict[str, Times]:
    module, width = call.module, call.module.embed_dim
    q = call.input("query").numel() // width
    k = call.input("key", 1).numel() // module.kdim
    v = call.input("value", 2).numel() // module.vdim
    if module.in_proj_weight is not None:
        rows = torch.tensor([q, k, v]).repeat_interleave(width)
        return {"in_proj_weight": rows, "out_proj.weight": q}
    return {"q_proj_weight": q, "k_proj_weight": k, "v_proj_weight": v, "out_proj.weight": q}


COUNTERS: tuple[tuple[type[nn.Module], Counter], ...] = (
    (nn.Linear, _linear),
    (_ConvTransposeNd, _conv_transpose),
    (_ConvNd, _conv),
    (nn.MultiheadAttention, _attention),
    (nn.RNNBase, _recurrent),
    (RNNCellBase, _recurrent),
)
