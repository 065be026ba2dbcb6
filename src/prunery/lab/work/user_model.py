"""A user's model, tried out before any step runs: called, trained, saved and loaded, on images of zeros."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from safetensors.torch import load_model, save_model
from torch import Tensor, nn
from torch.nn import functional

from prunery.errors import ModelError
from prunery.factories import as_ours
from prunery.forward import forked
from prunery.models.build import build
from prunery.models.names import Shape

_ROOM = "use a model that takes these images"


def tried_out(name: str, shape: Shape, classes: int, *, seed: int, trains: bool) -> nn.Module:
    """Return a user's model, built where steps run, after it was called, trained on and saved there.

    ModelError says what of this it cannot do. trains: whether any step of the study trains.
    """
    where = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    first, second = (build(name, shape=shape, classes=classes, seed=seed, device=where) for _ in range(2))
    _check_apart(name, first, second)
    with forked(seed, where):
        check_output(name, first, shape, classes)
        if trains:
            _check_training(name, second, shape, classes)
    _check_files(name, first, second)
    return first


def check_output(name: str, model: nn.Module, shape: Shape, classes: int) -> None:
    """Check that the model in eval mode gives a number per class for each of two images, else ModelError."""
    asked = f"model {name!r} on images of shape {shape}"
    with as_ours(asked, _ROOM, ModelError, "calling it raises"), torch.no_grad():
        _logits(asked, model.eval(), shape, classes)


def _logits(asked: str, model: nn.Module, shape: Shape, classes: int) -> Tensor:
    device = next(iter(model.parameters()), torch.empty(0)).device
    output: Any = model(torch.zeros(2, *shape, device=device))
    logits: Tensor = getattr(output, "logits", output)
    size = tuple(logits.shape) if isinstance(logits, Tensor) else None
    if size != (2, classes):
        kind = f"a {type(logits).__name__}" if size is None else f"outputs of shape {size}"
        do = f"end the model in {classes} outputs per image, one per class"
        raise ModelError(asked, f"two images give {kind}", do if size else f"return a tensor: {do}")
    return logits


def _check_apart(name: str, first: nn.Module, second: nn.Module) -> None:
    """Check that two builds share no weights: steps would change each other's networks."""
    stored = {p.untyped_storage().data_ptr() for p in first.parameters() if p.numel()}
    shared = [n for n, p in second.named_parameters() if p.untyped_storage().data_ptr() in stored]
    if shared:
        problem = f"two calls of it gave models that share {shared[0]!r}"
        raise ModelError(f"model {name!r}", problem, "make the model inside the factory, afresh at each call")


def _check_training(name: str, model: nn.Module, shape: Shape, classes: int) -> None:
    asked = f"training model {name!r} on images of shape {shape}"
    do = "make the model trainable; its output in train mode must be that in eval mode"
    with as_ours(asked, do, ModelError, "one step raises"):
        logits = _logits(asked, model.train(), shape, classes)
        labels = torch.tensor([0, classes - 1], device=logits.device)
        torch.autograd.backward(functional.cross_entropy(logits, labels))


def _check_files(name: str, first: nn.Module, second: nn.Module) -> None:
    asked, do = (
        f"the weights of model {name!r} in a file",
        "make its state_dict hold the same tensors at each build",
    )
    with as_ours(asked, do, ModelError, "saving and loading them raises"), TemporaryDirectory() as folder:
        path = str(Path(folder) / "weights.safetensors")
        save_model(first, path)
        load_model(second, path)
