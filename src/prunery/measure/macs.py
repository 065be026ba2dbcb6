"""How often a model uses each weight on one example: one multiply-accumulate (MAC) per use.

N: batch, L: positions of the queries or of a sequence, S: of the keys. Whichever way a model is written, a
weight is used in

    a linear layer           once for each row, the product of the leading axes
    a convolution            once for each output position (grouped ones too: their weight is smaller)
    a transposed one         once for each input position
    attention                rows of q and the output projection: L; rows of k and v: S
    RNN, LSTM, GRU           L times, in every layer and direction; the cells once
    experts                  once for each row that is sent to the expert, which may depend on the values

See `prunery.graph.uses` for how they are counted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.nn.modules.rnn import RNNCellBase
from torch.nn.utils.rnn import PackedSequence

from prunery.core.layers import Layer
from prunery.errors import ModelError
from prunery.forward import call_of, tensors
from prunery.graph.uses.count import count
from prunery.graph.uses.lineage import Uses, Watched
from prunery.wrappers import named_parameters


@dataclass(frozen=True)
class Counted:
    """What one call uses: every parameter with two or more axes, the prunable ones first."""

    weights: tuple[Watched, ...]
    examples: int  # in the call
    per_example: Mapping[Watched, Uses]  # uses of each element; without those that do not divide
    kernels_of_input: bool  # whether a convolution's kernel depended on the input

    def of_layers(self) -> list[Uses]:
        """Uses of each element of each prunable weight by one example, in the order of the layers."""
        return [self.per_example.get(weight, 0) for weight in self.weights if weight.prunable]


def count_uses(
    model: nn.Module, layers: Sequence[Layer], example: Any, *, batch: int | None = None
) -> Counted:
    """Return the uses of each weight by one call of `model` on `example`.

    A module that runs twice counts twice, and so does a tied parameter at each of its uses. `batch`: see
    `prunery.measure.cost.cost`. Raises ModelError where the model cannot be called with the example, or the
    uses of a layer do not divide by the number of examples.
    """
    watched = _watched(model, layers)
    axis = _BatchAxis(next((tuple(t.shape) for t in tensors(example)), ()))
    with axis.watching(model):
        counter = count(model, watched, example)
    examples = batch or axis.examples(example)
    per_example = {}
    for weight in watched:
        if weight.uses is not None and _divides(weight.uses, examples):
            per_example[weight] = weight.uses // examples
        elif weight.uses is not None and weight.prunable:
            raise _indivisible(weight.name, weight.uses, examples)
    return Counted(watched, examples, per_example, counter.kernels_of_input)


def _divides(uses: Uses, examples: int) -> bool:
    """Whether every number of uses is a multiple of the number of examples."""
    rest = uses % examples
    return not (rest if isinstance(rest, int) else bool(rest.any()))


def _watched(model: nn.Module, layers: Sequence[Layer]) -> tuple[Watched, ...]:
    watched = {id(layer.parameter): Watched(layer.name, layer.parameter, prunable=True) for layer in layers}
    for name, parameter in named_parameters(model):
        if id(parameter) not in watched and parameter.ndim >= 2 and parameter.numel():
            watched[id(parameter)] = Watched(name, parameter, prunable=False)
    return tuple(watched.values())


def _indivisible(name: str, uses: Uses, examples: int) -> ModelError:
    most = uses if isinstance(uses, int) else int(uses.max())
    return ModelError(
        f"the cost of one example in {name!r}",
        f"a weight is used {most} times in a batch of {examples}, which does not divide",
        "give an example of batch size 1, or say batch= if the leading axis is not the batch",
    )


class _BatchAxis:
    """Finds the batch axis of the example from the modules that are called on the example itself."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape  # of the example's first tensor
        self.axis: int | None = 0

    @contextmanager
    def watching(self, model: nn.Module) -> Iterator[None]:
        """Hooks on every module that says where it has its batch axis, gone on exit whatever happens."""
        kinds = (nn.Linear, _ConvNd, nn.MultiheadAttention, nn.RNNBase, RNNCellBase)
        modules = [module for module in model.modules() if isinstance(module, kinds)]
        handles = [module.register_forward_pre_hook(self._see, with_kwargs=True) for module in modules]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _see(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Believe a module that is called without a batch axis, or has it second."""
        name = "query" if isinstance(module, nn.MultiheadAttention) else "input"
        x = args[0] if args else kwargs.get(name)
        if not isinstance(x, Tensor):
            return
        if x.ndim == _batched_ndim(module) - 1 and tuple(x.shape[: len(self.shape)]) == self.shape:
            self.axis = None
        if getattr(module, "batch_first", True) is False and tuple(x.shape[:2]) == self.shape[:2]:
            self.axis = 1 if x.ndim == 3 else self.axis

    def examples(self, example: Any) -> int:
        """The number of examples in the example."""
        args, kwargs = call_of(example)
        first = next(iter((*args, *kwargs.values())), None)
        if isinstance(first, PackedSequence):
            return int(first.batch_sizes[0])
        return 1 if self.axis is None or not self.shape else max(1, self.shape[self.axis])


def _batched_ndim(module: nn.Module) -> int:
    """The axes of an input that has a batch axis (the fewest, for Linear)."""
    if isinstance(module, _ConvNd):
        return len(module.kernel_size) + 2
    return 3 if isinstance(module, nn.RNNBase | nn.MultiheadAttention) else 2
