"""The engines by name, and those of users' own."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial, wraps
from typing import Any

from prunery.errors import ChoiceError
from prunery.factories import is_factory, resolve
from prunery.lab.engines import local, ray
from prunery.lab.engines.outcome import Engine, Outcome, Progress
from prunery.lab.plan import Plan
from prunery.lab.store import Store
from prunery.registry import Registry

engine = Registry("engine")
"""Each row is an engine: `run(plan, store, *, workers, progress) -> Outcome`, with options of its own."""

engine.add(name="local")(local.run)
engine.add(name="ray")(ray.run)


def engine_named(name: str, **options: Any) -> Engine:
    """Return the engine of that name, or the user's own function that `package.module:function` names.

    options: what only some engines take, such as `address`; None counts as not given. ChoiceError if there
    is no such engine or option, or if the function does not take what an engine is given.
    """
    function = _function(name)
    given = {option: value for option, value in options.items() if value is not None}
    for option in given:
        if option not in inspect.signature(function).parameters:
            able = " or ".join(row for row in engine if option in engine[row].options)
            do = f"leave it out, or use --engine {able}"
            raise ChoiceError(f"option {option!r} of engine {name!r}", "it has no such option", do)
    return partial(function, **given) if given else function


def _function(name: str) -> Engine:
    if not is_factory(name):
        builtin: Engine = engine[name].function
        return builtin
    function = resolve(f"engine {name!r}", name, ChoiceError)
    try:
        inspect.signature(function).bind(None, None, workers=None, progress=None)
    except (TypeError, ValueError) as error:
        do = "define it as run(plan, store, *, workers, progress)"
        raise ChoiceError(f"engine {name!r}", f"it cannot be called as an engine is: {error}", do) from error
    return _checked(name, function)


def _checked(name: str, function: Callable[..., Any]) -> Engine:
    """The user's function, whose answer is looked at."""

    @wraps(function)
    def run(
        plan: Plan, store: Store, *, workers: int | None, progress: Progress | None, **more: Any
    ) -> Outcome:
        outcome = function(plan, store, workers=workers, progress=progress, **more)
        if not isinstance(outcome, Outcome):
            found = f"it returned {type(outcome).__name__} and no Outcome"
            raise ChoiceError(f"engine {name!r}", found, "return the `outcome()` of its Walk")
        return outcome

    return run
