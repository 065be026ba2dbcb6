"""One call of an operation, as torch dispatches it, and what kind of operation it is."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor

from prunery.forward import memory_of
from prunery.graph.uses.products import Operand, Product, product

_ELEMENTWISE = """
    _to_copy clone lift_fresh tril triu _weight_norm_interface native_batch_norm _native_batch_norm_legit
    _native_batch_norm_legit_no_training cudnn_batch_norm native_layer_norm native_group_norm _fused_rms_norm
"""  # beside those that torch marks: the first result holds what the first operand does, place for place
_MULTIPLIES = frozenset(["mul", "div", "addcmul", "addcdiv", "lerp", "pow"])
_WITHOUT_PRODUCT = """
    cat stack copy index index_select gather take embedding _embedding_bag _embedding_bag_forward_only
    index_put _index_put_impl slice_scatter select_scatter scatter scatter_add index_add index_copy
    masked_scatter _batch_norm_no_update miopen_batch_norm _prelu_kernel
    empty_like zeros_like ones_like full_like
"""


@dataclass(frozen=True)
class Operation:
    """What is known of an operation, whatever it is called with."""

    name: str  # without the underscore of its in-place form
    product: Product | None
    elementwise: bool
    writes: tuple[tuple[int, str], ...]  # the arguments that it changes in place: position and name
    composite: bool  # made of other operations, which `decompose` runs one by one

    @property
    def multiplies(self) -> bool:
        """Whether a weight that goes into it may be multiplied there, and is not only passed on."""
        passes_on = self.elementwise or self.name in _WITHOUT_PRODUCT.split()
        return self.name in _MULTIPLIES or not passes_on


@cache
def operation_of(function: Any) -> Operation:
    """The facts of an operation."""
    name = getattr(function, "_overloadpacket", function).__name__
    name = name[:-1] if name.endswith("_") and not name.endswith("__") else name
    elementwise = name in _ELEMENTWISE.split() or torch.Tag.pointwise in getattr(function, "tags", ())
    schema = getattr(function, "_schema", None)
    writes = tuple(
        (position, argument.name)
        for position, argument in enumerate(schema.arguments if schema else ())
        if argument.alias_info is not None and argument.alias_info.is_write
    )
    key = torch._C.DispatchKey.CompositeImplicitAutograd
    aten = getattr(function, "namespace", "") == "aten"
    composite = aten and bool(torch._C._dispatch_has_kernel_for_dispatch_key(function.name(), key))
    return Operation(name, product(name), elementwise, writes, composite)


class Call:
    """One call of an operation: the tensors in it, the memory of each, and what came out."""

    __slots__ = ("args", "function", "given", "kwargs", "memories", "operation", "output")

    def __init__(
        self, operation: Operation, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any
    ) -> None:
        self.operation, self.function, self.output = operation, function, output
        self.args, self.kwargs = args, kwargs
        self.given = every_tensor(args)
        if kwargs:
            self.given += every_tensor(kwargs.values())
        self.memories = [memory_of(tensor) for tensor in self.given]

    def results(self) -> list[Tensor]:
        """The tensors that came out."""
        return [self.output] if isinstance(self.output, Tensor) else every_tensor((self.output,))

    def operands(self) -> list[Operand] | None:
        """The factors of a product and the uses of their elements; None for any other operation."""
        if self.operation.product is None:
            return None
        try:
            return list(self.operation.product(self.args, self.kwargs, self.output))
        except (IndexError, NotImplementedError, RuntimeError):  # called otherwise, or on the meta device
            return None

    def written(self) -> list[Tensor]:
        """The tensors that were changed in place."""
        args, kwargs = self.args, self.kwargs
        if not self.operation.writes:
            return []
        return every_tensor(
            args[position] if position < len(args) else kwargs.get(name)
            for position, name in self.operation.writes
        )


def every_tensor(values: Iterable[Any]) -> list[Tensor]:
    """The tensors in arguments or results of an operation."""
    tensors: list[Tensor] = []
    for value in values:
        if isinstance(value, Tensor):
            tensors.append(value)
        elif isinstance(value, list | tuple):
            tensors += every_tensor(value)
        elif isinstance(value, dict):
            tensors += every_tensor(value.values())
    return tensors
