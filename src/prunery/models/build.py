"""Build a model from its name: one of the zoo, or a user's factory."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from itertools import chain
from operator import index
from typing import Any

import torch
from torch import nn

from prunery.errors import ModelError
from prunery.factories import as_ours, is_factory, resolve, working_folder
from prunery.models import cnn8, dense, lenet, resnet, resnet_cifar, vgg
from prunery.models.init import init_
from prunery.models.lazy import materialise_
from prunery.models.names import MODELS, Shape, check
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
    folder that the command runs in is searched too. Lazy layers get their sizes from one run on `shape`, and
    their weights from the seed. ChoiceError: no such model. ModelError: a shape or a number of classes that
    it cannot have; a factory that is not there, raises or returns no module, or one without values.
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
    try:
        channels, height, width = sizes = tuple(map(index, shape))
    except (TypeError, ValueError):
        sizes = ()
    if not sizes or min(sizes) < 1:
        problem = "it is no image shape"
        raise ModelError(f"model {name!r} for shape {shape!r}", problem, "give (C, H, W), each >= 1")
    if not isinstance(classes, int) or classes < 1:
        raise ModelError(f"model {name!r} with {classes!r} classes", "it needs an output", "give at least 1")
    check(name, shape=(channels, height, width))
    return (channels, height, width), classes


def factory_of(name: str, *, what: str = "model") -> Callable[..., Any]:
    """Return the user's function or class of that name; ModelError, which calls it `what`, if there is none.

    Its module is imported with a seed of its own: the weights do not depend on when that happens.
    """
    asked = f"{what} {name!r}"
    with _seeded(0):
        factory = resolve(asked, name, ModelError)
    if isinstance(factory, nn.Module):
        problem = f"it is {type(factory).__name__}, not a function or class that gives a model"
        raise ModelError(asked, problem, "name a factory: each run needs a fresh model")
    return factory


def _from_factory(
    name: str, wanted: dict[str, Any], seed: int, device: torch.device | str | None
) -> nn.Module:
    asked, do = f"model {name!r}", "make the call work by itself first"
    where = torch.device("cpu" if device is None else device)
    meta = where.type == "meta"
    factory = factory_of(name)
    raised = f"it raised{' on the meta device' if meta else ''}"
    with as_ours(asked, do, ModelError, raised), _seeded(seed), where if meta else nullcontext():
        with working_folder():
            model: nn.Module = factory(**_accepted(factory, wanted))
        _check_is_model(asked, model)
        materialise_(name, model, wanted["shape"])
        if not meta:
            _check_has_values(asked, model)
            model = model.to(device)
    return model


def _check_is_model(asked: str, model: Any) -> None:
    if isinstance(model, type):
        raise ModelError(asked, f"it returned the class {model.__name__}, not a model", "return a call of it")
    if not isinstance(model, nn.Module):
        problem = f"it returned {type(model).__name__}, not a torch.nn.Module"
        raise ModelError(asked, problem, "name a function or class that gives the model")


def _check_has_values(asked: str, model: nn.Module) -> None:
    named = chain(model.named_parameters(), model.named_buffers())
    empty = [name for name, tensor in named if tensor.is_meta]
    if empty:
        problem = f"it returned a model on the meta device: {empty[0]!r} has no values"
        raise ModelError(asked, problem, "build it on the CPU; it is moved where the steps run")


def _accepted(factory: Callable[..., Any], wanted: dict[str, Any]) -> dict[str, Any]:
    """Return those of `wanted` that the factory's signature names (a bare **kwargs takes none of them)."""
    try:
        names = inspect.signature(factory).parameters
    except ValueError:
        return {}
    return {key: value for key, value in wanted.items() if key in names and value is not None}


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Global random state set from `seed`, on every device, and put back on exit."""
    devices = range(torch.cuda.device_count()) if torch.cuda.is_available() else ()
    with torch.random.fork_rng(devices=list(devices)):
        torch.manual_seed(number(seed, "init"))
        yield
