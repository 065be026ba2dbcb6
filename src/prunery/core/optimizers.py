"""Optimisers of any make: torch's, one around another, or any object with `step` and `param_groups`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import wraps
from types import MethodType
from typing import Any

from prunery.errors import MasksError


@contextmanager
def after_steps(optimizer: Any, call: Callable[[], None]) -> Iterator[None]:
    """Within it `call()` runs after each step of `optimizer` and of every optimiser inside it.

    optimizer: one, or a list or mapping of several. Torch's have a hook for this; any other `step` is wrapped
    on the object. On exit the hooks and the wrapped methods are gone. Raises MasksError for what is no
    optimiser, or does not let its `step` be wrapped.
    """
    with ExitStack() as stack:
        for one in optimizers_of(optimizer):
            stack.enter_context(_after_steps_of(one, call))
        yield


def optimizers_of(optimizer: Any) -> list[Any]:
    """Return `optimizer`, or those in a list or mapping, and the optimisers that these have as attributes."""
    asked = _members(optimizer)
    found: dict[int, Any] = {}
    for one in asked:
        _follow(one, found)
        if not callable(getattr(one, "step", None)) or isinstance(one, type):
            raise _refused(one, "it has no method `step`")
        if not _is_optimizer(one) and not list(_inside(one)):
            raise _refused(one, "it has neither `param_groups` nor an optimiser in it")
    if not asked:
        raise _refused(optimizer, "there is no optimiser in it")
    return list(found.values())


def _follow(one: Any, found: dict[int, Any]) -> None:
    if id(one) not in found:
        found[id(one)] = one
        for inner in _inside(one):
            _follow(inner, found)


def _inside(one: Any) -> Iterator[Any]:
    """Yield the optimisers that an object has as attributes, alone or in a list or mapping."""
    values = [getattr(one, "optimizer", None), getattr(one, "optimizers", None)]  # properties as well
    for value in (*values, *getattr(one, "__dict__", {}).values()):
        yield from (member for member in _members(value) if member is not one and _is_optimizer(member))


def _members(value: Any) -> list[Any]:
    if isinstance(value, Mapping):
        return list(value.values())
    return list(value) if isinstance(value, list | tuple) else [value]


def _is_optimizer(value: Any) -> bool:
    return callable(getattr(value, "step", None)) and hasattr(value, "param_groups")


@contextmanager
def _after_steps_of(one: Any, call: Callable[[], None]) -> Iterator[None]:
    """As `after_steps`, for this object alone.

    Where a torch optimiser was given another `step` (by a scheduler, a compiler), it has the hook and the
    wrapped method: that `step` may do more than torch's, and others may exchange it while the loop runs.
    """
    running: list[None] = []  # not empty while the wrapped step runs: it has the call at its own end
    has_hook = getattr(getattr(type(one), "step", None), "hooked", False)
    has_hook = has_hook and "_optimizer_step_post_hooks" in getattr(one, "__dict__", {})
    with ExitStack() as stack:
        if has_hook:
            hook = one.register_step_post_hook(lambda *_: None if running else call())
            stack.callback(hook.remove)
        if not has_hook or "step" in vars(one):
            stack.enter_context(_wrapped_step(one, call, running))
        yield


@contextmanager
def _wrapped_step(one: Any, call: Callable[[], None], running: list[None]) -> Iterator[None]:
    step = _step_of(one, call, running)
    bound = MethodType(step, one)
    attributes = getattr(one, "__dict__", None)
    if attributes is not None:
        attributes["step"] = bound
    if getattr(one, "step", None) is not bound:
        _take_off(one, step)
        raise _refused(one, "its `step` cannot be wrapped")
    try:
        yield
    finally:
        _take_off(one, step)


def _step_of(one: Any, call: Callable[[], None], running: list[None]) -> Any:
    """Return the function that takes a step as `one` does now, and then calls."""
    before = getattr(one, "__dict__", {}).get("step")
    original = one.step
    function = getattr(original, "__func__", original)
    of_class = before is None and getattr(original, "__self__", None) is one

    @wraps(function)
    def step(self: Any, *args: Any, **kwargs: Any) -> Any:
        running.append(None)
        try:  # `self` is a copy of `one` where that was copied
            result = function(self, *args, **kwargs) if of_class else original(*args, **kwargs)
        finally:
            running.pop()
        if step.in_force:  # type: ignore[attr-defined]
            call()
        return result

    vars(step).update(itself=step, before=before, in_force=True)
    return step


def _take_off(one: Any, step: Any) -> None:
    """Take off the wrapped step, and those under it that were to go earlier; another's over it stays."""
    step.in_force = False
    attributes = getattr(one, "__dict__", {})
    while (top := _wrapped_on(attributes)) is not None and not top.in_force:
        if top.before is None:
            del attributes["step"]
        else:
            attributes["step"] = top.before


def _wrapped_on(attributes: Mapping[str, Any]) -> Any:
    """Return the function that `_step_of` made, if it is the object's step now."""
    function = getattr(attributes.get("step"), "__func__", None)
    return function if getattr(function, "itself", None) is function else None  # `wraps` copies attributes


def _refused(one: Any, found: str) -> MasksError:
    return MasksError(
        f"masks enforced with an optimiser of type {type(one).__name__}",
        found,
        "give torch's optimiser, an object with `param_groups` whose `step` can be replaced, or a list; "
        "or call masks.apply_(model) after each step",
    )
