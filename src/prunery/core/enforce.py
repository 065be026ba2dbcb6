"""Keep removed weights at exactly 0 while any loop trains: on gradients as they are accumulated, on weights
after each step.

A mask acts as a bitwise AND on the float's bits (see `bits.bits_of`).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor, nn

from prunery.core.bits import and_, bits_of, clear_, revived
from prunery.core.optimizers import after_steps
from prunery.errors import MasksError, RevivedWeightsWarning
from prunery.wrappers import parameter_of, route


@contextmanager
def enforced(masks: Mapping[str, Tensor], optimizer: Any, model: nn.Module) -> Iterator[None]:
    """Within it, gradients of removed weights are 0 as soon as they are accumulated, and the weights are 0 on
    entry, after every step of the optimiser, and on exit; then optimiser and model have no hook left.

    masks: True = kept, by parameter name. Clipping and gradient scaling see masked gradients. A replaced
    parameter is followed from the next step on. Raises MasksError, then or on exit, where the model no
    longer has a parameter of that name and shape; warns (RevivedWeightsWarning) of weights not 0 on exit.
    """
    with ExitStack() as hooks:
        parts: list[_Enforced] = []

        def clear() -> None:
            for part in parts:
                part.clear()

        hooks.enter_context(after_steps(optimizer, clear))
        parts += [hooks.enter_context(_Enforced(model, name, mask)) for name, mask in masks.items()]
        yield
    revived = {part.name: count for part in parts if (count := part.finish())}
    if revived:
        counts = ", ".join(f"{count} in {name}" for name, count in revived.items())
        warnings.warn(
            "weights that the masks remove were written by something other than a step of the optimiser "
            f"given to `enforce` ({counts}); they are 0 again. Give `enforce` the outermost optimiser",
            RevivedWeightsWarning,
            stacklevel=3,
        )


class _Enforced:
    """One mask in force: it holds the parameter that the model has under the name now."""

    def __init__(self, model: nn.Module, name: str, mask: Tensor) -> None:
        self.name = name
        self._model, self._mask = model, mask
        self._hook: Any = None

    def __enter__(self) -> _Enforced:
        self._take()
        self.clear()
        return self

    def __exit__(self, *_: object) -> None:
        if self._hook is not None:
            self._hook.remove()

    def clear(self) -> None:
        """Set the removed weights to 0."""
        if not self._is_current():
            self._take()
        and_(self._parameter, self._bits)

    def finish(self) -> int:
        """Return how many removed weights are not 0, and set them to 0; to be called after the exit."""
        parameter = self._find()
        if parameter.is_meta:
            return 0
        count = revived(parameter, self._mask)
        if count:
            clear_(parameter, self._mask)
        return count

    def _is_current(self) -> bool:
        """Whether the model still has this parameter, in the place that it was in.

        In another place it may hold another kind of number, lie otherwise, or have lost its hook.
        """
        module: Any = self._model
        try:
            for step in self._route:
                module = module._modules[step]
            return _place(module._parameters[self._last]) == self._place
        except (KeyError, AttributeError):
            return False

    def _find(self) -> nn.Parameter:
        try:
            parameter = parameter_of(self._model, self.name)
        except MasksError:
            raise self._lost("the model no longer has a parameter of that name") from None
        if parameter.shape != self._mask.shape:
            raise self._lost(f"the parameter now has shape {tuple(parameter.shape)}")
        return parameter

    def _lost(self, found: str) -> MasksError:
        asked = f"enforcing the mask of {self.name!r} {tuple(self._mask.shape)}"
        return MasksError(
            asked, found, "leave the context before a layer is replaced, removed or parametrized"
        )

    def _take(self) -> None:
        """Hold the parameter that has the name now, with a hook on its gradient."""
        self.__exit__()
        self._parameter = parameter = self._find()
        *self._route, self._last = route(self._model, self.name)
        self._place = _place(parameter)
        self._bits = bits_of(parameter, self._mask)
        self._hook = _hooked(parameter, self._clear_gradient)
        self._clear_gradient(parameter)

    def _clear_gradient(self, parameter: Tensor) -> None:
        if parameter.grad is not None and not parameter.grad.is_sparse:
            and_(parameter.grad.data, self._bits)  # .data: under create_graph the gradient itself has a graph


def _place(parameter: Tensor) -> tuple[int, int]:
    """Return the parameter's memory, and the tensor behind the object, which a swap of tensors exchanges."""
    return parameter.data_ptr(), parameter._cdata


def _hooked(parameter: nn.Parameter, call: Any) -> Any:
    """Return the hook on the parameter's gradient; a frozen one has it too, for it may be trained later."""
    frozen = not parameter.requires_grad
    real = parameter.is_floating_point() or parameter.is_complex()
    if parameter.is_inference() or (frozen and not real):  # such have no gradient
        return None
    parameter.requires_grad_(True)
    hook = parameter.register_post_accumulate_grad_hook(call)  # type: ignore[no-untyped-call]
    hooks = parameter._post_accumulate_grad_hooks  # after a swap of tensors nothing reads them
    parameter._post_accumulate_grad_hooks = hooks
    if frozen:
        parameter.requires_grad_(False)
    return hook
