"""A model in a file, and back: its values, and the sizes that a factory's model is given to hold them.

The file is safetensors with a JSON header; no pickle, and no class is imported by name.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from prunery import atomic
from prunery.core.masks import Masks
from prunery.errors import ChoiceError, ContainerError
from prunery.export.rebuild import check_header, is_size, rebuild_
from prunery.wrappers import named_modules, unwrapped

FORMAT, VERSION = "prunery-model", 1
_VALUES = ("float32",)


def save(
    model: nn.Module,
    path: str | os.PathLike[str],
    *,
    masks: Mapping[str, Tensor] | None = None,
    values: str = "float32",
) -> None:
    """Write a model to a file, whole or not at all.

    masks: removed weights are written as 0; the model is not changed. values: "float32" loses nothing:
    float32 is written as it is, and so are all other types. Raises ChoiceError for other `values`, MasksError
    for masks that do not fit, ContainerError for a model without values.
    """
    from safetensors.torch import save as serialized

    if values not in _VALUES:
        raise ChoiceError("values", f"{values!r} is not known", f"give {_VALUES[0]!r}")
    bare = unwrapped(model)
    tensors, about = _content(bare, masks)
    about |= {"format": FORMAT, "version": VERSION, "values": values}
    # the header in one value: the file's order of several keys is not fixed
    atomic.atomic_write(path, serialized(tensors, metadata={"prunery": json.dumps(about, sort_keys=True)}))


def load(path: str | os.PathLike[str], into: nn.Module | None = None) -> Any:
    """Return the model in a file: `into`, as its factory made it, with the sizes and values of the file.

    into: changed in place; None returns the state dict. Its parameters stay on their device. Raises
    ContainerError for a file that is truncated or holds something else, and for an `into` that does not fit;
    then `into` is as it was.
    """
    about, tensors = _read(path)
    if into is None:
        names = {**{name: name for name in tensors}, **about["tied"]}
        hidden = set(about["hidden"])
        return {name: tensors[first] for name, first in names.items() if name not in hidden}
    rebuild_(unwrapped(into), about, tensors, path)
    return into


def _content(
    model: nn.Module, masks: Mapping[str, Tensor] | None
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors to be written by name, and what is needed to rebuild the modules around them."""
    kept = (masks if isinstance(masks, Masks) else Masks(masks)).fitted(model) if masks else {}
    tensors: dict[str, Tensor] = {}
    names: dict[int, str] = {}
    tied, hidden = {}, []
    for name, tensor, written in _registered(model):
        if id(tensor) in names:
            tied[name] = names[id(tensor)]
            continue
        if tensor.is_meta:
            do = "build the model on a device with memory"
            raise ContainerError(f"{name!r} in a file", "it is on the meta device, without values", do)
        names[id(tensor)] = name
        value = tensor.detach()
        if name in kept:
            value = torch.where(kept[name].to(value.device), value, torch.zeros_like(value))
        tensors[name] = value.cpu().contiguous().clone()
        if not written:
            hidden.append(name)
    modules = {name: _sizes(module) for name, module in named_modules(model)}
    return tensors, {"modules": modules, "tied": tied, "hidden": hidden}


def _registered(model: nn.Module) -> Iterator[tuple[str, Tensor, bool]]:
    """Yield (name, tensor, whether it is in the state dict) for each name of a parameter or buffer."""
    for name, module in named_modules(model, once=False):
        for short, tensor in (*module._parameters.items(), *module._buffers.items()):
            if tensor is not None:
                yield f"{name}.{short}".lstrip("."), tensor, short not in module._non_persistent_buffers_set


def _sizes(module: nn.Module) -> dict[str, Any]:
    """Return a module's class, and the whole numbers among its attributes."""
    sizes = {
        name: list(value) if isinstance(value, tuple | list) else value
        for name, value in vars(module).items()
        if not name.startswith("_") and is_size(value)
    }
    return {"class": type(module).__name__, "sizes": sizes}


def _read(path: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(os.fspath(path), framework="pt") as file:
            about = json.loads((file.metadata() or {}).get("prunery", "{}"))
            if about.get("format") != FORMAT:
                raise ContainerError(f"a model from {path}", "the file holds something else", _WHOLE)
            if about.get("version") != VERSION:
                found = f"it is of version {about.get('version')}, and this one reads {VERSION}"
                raise ContainerError(f"a model from {path}", found, "install a newer prunery")
            names = list(file.keys())
            tensors = {name: file.get_tensor(name) for name in names}
    except ContainerError:
        raise
    except (SafetensorError, OSError, ValueError, AttributeError, TypeError) as problem:
        raise ContainerError(f"a model from {path}", str(problem), _WHOLE) from problem
    check_header(about, tensors, path)
    return about, tensors


_WHOLE = "give a whole file that prunery.save wrote"
