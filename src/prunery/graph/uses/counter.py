"""Counts how often one call uses each element of each watched parameter, whatever the model is written with.

Every operation of the call is seen as torch dispatches it. A product of a tensor that holds a weight with
anything is counted; where the weight's elements are no longer apart in it, or where an operation without a
rule multiplies them, the parameter remembers that, so that no 0 is silent.

What is computed from weights alone (a norm of them, a product of two layers) is no cost of an example. Of two
weights that are multiplied with each other the one is counted that stands for a layer.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

from prunery.graph.read_torch import RECURRENT
from prunery.graph.uses.lineage import Part, Watched
from prunery.graph.uses.memory import Memory
from prunery.graph.uses.operations import Call, Operation, operation_of
from prunery.graph.uses.products import Operand, product

_VECTORS = ("mv", "addmv", "dot", "vdot")
_LOOKUPS = ("index", "index_select", "gather", "embedding")


class UseCounter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """While entered, adds up the uses of the watched parameters; every call runs as it is."""

    supports_higher_order_operators = True

    def __init__(self, watched: Sequence[Watched], inputs: Iterable[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.kernels_of_input = False  # whether a convolution's kernel depends on the input
        self._memory = Memory(watched, inputs)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run the operation, then take note of it."""
        kwargs = kwargs or {}
        operation = operation_of(func)
        if operation.composite and operation.product is None:  # such arrive under inference mode
            with self:
                return func.decompose(*args, **kwargs)
        output = func(*args, **kwargs)
        self.take_note(Call(operation, func, args, kwargs, output))
        return output

    def take_note(self, call: Call) -> None:
        """Count what a call uses, and note what came out of it."""
        if self._memory.holds_weights(call):
            self._note(call, live=self._memory.is_live(call))
        if call.operation.name == "convolution" and not self._memory.sources(call.args[1]):
            self.kernels_of_input |= self._memory.depends_on_input(call.args[1])
        self._memory.pass_on(call)

    def _note(self, call: Call, *, live: bool) -> None:
        """Count a product; else note where weights go, or what is made of them."""
        operands = call.operands()
        if operands is not None:
            self._multiplied(call, operands, live=live)
        elif any(self._memory.depends_on_input(t) and not self._memory.sources(t) for t in call.given):
            self._entered(call)
        else:
            self._memory.derive(call)

    def _multiplied(self, call: Call, operands: list[Operand], *, live: bool) -> None:
        for weight in self._memory.all_sources(call.given):
            weight.entered.add(call.operation.name)
        if not live and call.operation.name in _VECTORS:  # such as those of a spectral norm
            self._memory.derive(call, parts=())
            return
        made_from: set[Watched] = set()
        for number in {operand.product for operand in operands}:
            made_from |= self._one_product(call, [o for o in operands if o.product == number], live=live)
        if not live:
            self._memory.derive(call, parts=(), made_from=made_from)

    def _one_product(self, call: Call, operands: list[Operand], *, live: bool) -> set[Watched]:
        """Count the uses of the factor that is a weight, and return what the product comes from."""
        factors = [(operand, self._memory.parts(operand.tensor)) for operand in operands]
        factors = [(operand, parts) for operand, parts in factors if parts]
        if not factors:
            return self._multiplied_as_one(operands)
        factors.sort(key=lambda factor: _rank(factor[1]), reverse=True)
        if len(factors) > 1 and _rank(factors[0][1]) == _rank(factors[1][1]):
            sources = {part.source for _, parts in factors for part in parts}
            for weight in sources if live else ():
                weight.unknown.add(call.operation.name)
            return sources
        operand, parts = factors[0]
        for part in parts:
            part.source.add(part.back(operand.uses))
        return {part.source for part in parts}

    def _multiplied_as_one(self, operands: list[Operand]) -> set[Watched]:
        """A product with what was computed from weights, whose elements are no longer apart in it."""
        for operand in operands:
            for weight in self._memory.sources(operand.tensor):
                weight.derived = True
                weight.remade |= operand.weight
        return self._memory.all_sources(operand.tensor for operand in operands)

    def _entered(self, call: Call) -> None:
        """Weights meet values of the input: chosen by them, joined to them, or multiplied without a rule."""
        if call.operation.name in _LOOKUPS and self._picked(call):
            return
        for tensor in call.given:
            apart = bool(self._memory.parts(tensor))
            for weight in self._memory.sources(tensor):
                weight.entered.add(call.operation.name)
                if call.operation.multiplies:
                    weight.derived |= not apart
                    weight.unknown |= {call.operation.name} if apart else set()

    def _picked(self, call: Call) -> bool:
        """Matrices that the input picks out of a stack; rows of one matrix are looked up, and no weights."""
        stack = call.args[0]
        parts = self._memory.moved(call, stack) if stack.ndim > 2 else ()
        if not parts:
            for weight in self._memory.sources(stack) if stack.ndim > 2 else ():
                weight.unknown.add(call.operation.name)  # on the meta device, where the choice is not known
            return False
        self._memory.derive(call, parts=tuple(part.behind(lambda uses: uses, chosen=True) for part in parts))
        return True


class RecurrentLayers(TorchFunctionMode):
    """While entered, a recurrent layer is one call for the counter; torch would take it apart by steps."""

    def __init__(self, counter: UseCounter) -> None:
        super().__init__()
        self.counter = counter

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run the function, and tell the counter of a recurrent one."""
        kwargs, name = kwargs or {}, getattr(func, "__name__", "")
        if name not in RECURRENT:
            return func(*args, **kwargs)
        with _disable_current_modes():
            output = func(*args, **kwargs)
            operation = Operation(name, product(name), elementwise=False, writes=(), composite=False)
            self.counter.take_note(Call(operation, func, args, kwargs, output))
        return output


def _rank(parts: Sequence[Part]) -> tuple[bool, bool, bool]:
    """Which of two weights stands for a layer: not picked by the input, prunable, not a copy."""
    return (
        not any(part.chosen for part in parts),
        any(part.source.prunable for part in parts),
        all(part.direct for part in parts),
    )
