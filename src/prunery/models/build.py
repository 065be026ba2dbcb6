"""Build a model from its name: one of the zoo, or a user's factory."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import nn

from prunery.errors import ModelError
from prunery.models import cnn8, dense, lenet, resnet, resnet_cifar, vgg
from prunery.models.init import init_
from prunery.models.names import MODELS, Shape, check, is_factory
from prunery.seeds import number

FAMILIES: dict[str, Callable[[str, Shape, int], nn.Module]] = {
    "dense": dense.build,
    "lenet": lenet.build,
    "cnn8": cnn8.build,
    "vgg": vgg.build,
    "resnet": resnet.build,
    "resnet_cifar": resnet_cifar.build,
}


def build(
    name: str,
    *,
    shape: Shape | None = None,
    classes: int | None = None,
    seed: int = 0,
    device: torch.device | str | None = None,
) -> nn.Module:
    """Return the model `name` for images of `shape` (C, H, W), in train mode, on `device`.

    `shape` and `classes` default to those of the published form. The weights depend on `seed` alone, not on
    the device nor on the global random state, which stays as it was. On `"meta"` nothing is allocated.

    `package.module:factory` is called with those of `shape=` and `classes=` that its signature names; the
    folder that the command runs in is searched too. ChoiceError: no such model. ModelError: a shape or a
    number of classes that it cannot have; a factory that is not there, raises or returns no module.
    """
    check(name)
    if is_factory(name):
        return _from_factory(name, {"shape": shape, "classes": classes}, seed, device)
    facts = MODELS[name]
    shape, classes = _checked(name, shape or facts.shape, facts.classes if classes is None else classes)
    with torch.device("meta"):
        model = FAMILIES[facts.family](name, shape, classes)
    if device is not None and torch.device(device).type == "meta":
        return model
    return init_(model.to_empty(device="cpu"), seed=seed).to(device)


def _checked(name: str, shape: Shape, classes: int) -> tuple[Shape, int]:
    sizes = tuple(int(n) for n in shape)
    if len(sizes) != 3 or min(sizes) < 1:
        raise ModelError(
            f"model {name!r} for shape {sizes}", "it is no image shape", "give (C, H, W), each >= 1"
        )
    if classes < 1:
        raise ModelError(f"model {name!r} with {classes} classes", "it needs an output", "give at least 1")
    check(name, shape=sizes)
    return sizes, int(classes)


def _from_factory(
    name: str, wanted: dict[str, Any], seed: int, device: torch.device | str | None
) -> nn.Module:
    meta = device is not None and torch.device(device).type == "meta"
    try:
        with _working_folder(), _seeded(seed), torch.device("meta") if meta else nullcontext():
            factory = _resolve(name)
            model = factory(**_accepted(factory, wanted))
    except ModelError:
        raise
    except (Exception, SystemExit) as error:
        where = " on the meta device" if meta else ""
        problem = f"it raised {type(error).__name__}{where}: {error}"
        raise ModelError(f"model {name!r}", problem, "make the call work by itself first") from error
    if not isinstance(model, nn.Module):
        problem = f"it returned {type(model).__name__}, not a torch.nn.Module"
        raise ModelError(f"model {name!r}", problem, "name a function or class that gives the model")
    return model if meta else model.to(device)


def _resolve(name: str) -> Callable[..., Any]:
    """Return the object that `package.module:factory` names."""
    module_name, _, path = name.partition(":")
    named: Any
    try:
        named = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise  # the module is there, and something that it imports is not
        do = "install it, or run the command in the folder that holds it"
        raise ModelError(f"model {name!r}", f"there is no module {error.name!r}", do) from None
    for part in path.split("."):
        if not hasattr(named, part):
            raise ModelError(f"model {name!r}", f"{module_name!r} has no {path!r}", "name one that it has")
        named = getattr(named, part)
    if not callable(named) or isinstance(named, nn.Module):
        kind = f"it is {type(named).__name__}, not a function or class that gives a model"
        raise ModelError(f"model {name!r}", kind, "name a factory: each run needs a fresh model")
    factory: Callable[..., Any] = named
    return factory


def factory_of(name: str) -> Callable[..., Any]:
    """Return the user's function or class of that name; ModelError if there is none."""
    with _working_folder():
        return _resolve(name)


def _accepted(factory: Callable[..., Any], wanted: dict[str, Any]) -> dict[str, Any]:
    """Those of `wanted` that the factory's signature names (a bare **kwargs takes none of them)."""
    try:
        names = inspect.signature(factory).parameters
    except ValueError:
        return {}
    return {key: value for key, value in wanted.items() if key in names and value is not None}


@contextmanager
def _working_folder() -> Iterator[None]:
    """The working folder can be imported from, as it can in `python -m`; a console script leaves it out."""
    folder = os.getcwd()
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path.remove(folder)


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Global random state set from `seed`, on every device, and put back on exit."""
    devices = range(torch.cuda.device_count()) if torch.cuda.is_available() else ()
    with torch.random.fork_rng(devices=list(devices)):
        torch.manual_seed(number(seed, "init"))
        yield
