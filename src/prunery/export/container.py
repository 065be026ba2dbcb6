"""A model in a file as small as its information, and back, with the sizes that a factory's model is given.

No pickle, and no class is imported by name. `layout` says how the bytes lie, `coding` what one tensor is.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from prunery.core.masks import Masks
from prunery.errors import ChoiceError, ContainerError
from prunery.export.layout import Reader, Writer, writing
from prunery.export.optimizer_state import STATE, give_state_, packed_state
from prunery.export.rebuild import check_header, is_size, rebuild_
from prunery.export.values import VALUES, error_of, reduced, restored
from prunery.wrappers import named_modules, unwrapped

FORMAT, VERSION = "prunery-model", 2
_WHOLE = "give a whole file that prunery.save wrote"


@dataclass(frozen=True)
class SavedTensor:
    """How a tensor lies in a file. error: the largest difference over the largest value; 0 for none."""

    name: str
    coding: str
    count: int  # of values that are not 0
    elements: int
    bytes: int
    dense_bytes: int  # of all values, each written out in its own type
    error: float


@dataclass(frozen=True)
class Saved:
    """What was written; `str` gives it in a sentence."""

    path: Path
    bytes: int
    tensors: tuple[SavedTensor, ...]

    @property
    def dense_bytes(self) -> int:
        """Bytes of all values, each written out."""
        return sum(tensor.dense_bytes for tensor in self.tensors)

    def __str__(self) -> str:
        kept = sum(tensor.count for tensor in self.tensors)
        every = sum(tensor.elements for tensor in self.tensors)
        worst = max(self.tensors, key=lambda tensor: tensor.error, default=None)
        lossy = f"; differs by at most {worst.error:.2%} ({worst.name})" if worst and worst.error else ""
        times = self.dense_bytes / self.bytes
        return f"{self.path}: {self.bytes:,} bytes, {times:.1f}x smaller; {kept:,} of {every:,} values{lossy}"


def save(
    model: nn.Module,
    path: str | os.PathLike[str],
    *,
    masks: Mapping[str, Tensor] | None = None,
    values: str = "float32",
    optimizer: torch.optim.Optimizer | None = None,
) -> Saved:
    """Write a model to a file, whole or not at all, and return how it lies there.

    masks: removed weights are written as 0; the model is not changed. values: "float32" loses nothing, and so
    are all other types written as they are; "float16" and "bfloat16" round float32 and float64; "int8" rounds
    matrices to 255 levels for each row. optimizer: its state is written too. Raises ChoiceError for other
    `values`, or numbers that they cannot hold, MasksError for masks that do not fit, ContainerError for a
    model without values.
    """
    if values not in VALUES:
        found = f"{values!r} is not known"
        raise ChoiceError("values", found, f"choose {', '.join(map(repr, VALUES))}")
    bare = unwrapped(model)
    about: dict[str, Any] = {"format": FORMAT, "version": VERSION, "values": values}
    about |= {"modules": {name: _sizes(module) for name, module in named_modules(bare)}}
    about |= {"tied": {}, "hidden": []}
    state, about["optimizer"] = packed_state(optimizer)
    tensors = []
    with writing(path, about) as writer:
        for name, value in _content(bare, masks, about):
            tensors.append(_add(writer, name, value, values))
        for name, value in state.items():
            tensors.append(_add(writer, name, value, "float32"))
    return Saved(Path(path), os.path.getsize(path), tuple(tensors))


def load(
    path: str | os.PathLike[str],
    into: nn.Module | None = None,
    *,
    optimizer: torch.optim.Optimizer | None = None,
) -> Any:
    """Return the model in a file: `into`, as its factory made it, with the sizes and values of the file.

    into: changed in place; None returns the state dict. Its parameters stay on their device. optimizer: of
    the loaded model's parameters; it is given the state in the file. Raises ContainerError for a file that is
    damaged or holds something else, and for an `into` that does not fit; then `into` is as it was.
    """
    about, tensors = _read(path, None if into is None else unwrapped(into))
    state = {name: tensors.pop(name) for name in list(tensors) if name.startswith(STATE)}
    if into is None:
        names = {**{name: name for name in tensors}, **about["tied"]}
        hidden = set(about["hidden"])
        return {name: tensors[first] for name, first in names.items() if name not in hidden}
    rebuild_(unwrapped(into), about, tensors, path)
    if optimizer is not None:
        give_state_(optimizer, state, about.get("optimizer"), path)
    return into


def _add(writer: Writer, name: str, value: Tensor, values: str) -> SavedTensor:
    """Write one tensor."""
    stored, scale = reduced(value, values, name)
    more: dict[str, Any] = {} if stored is value else {"as": str(value.dtype).removeprefix("torch.")}
    written = 0
    if scale is not None:
        more["scale"] = f"{name}:scale"
        written = sum(len(part) for part, _ in writer.add(more["scale"], scale).parts)
    coded = writer.add(name, stored, **more)
    written += sum(len(part) for part, _ in coded.parts)
    back = value if stored is value else restored(stored, scale, value.dtype)
    dense = value.numel() * value.itemsize
    return SavedTensor(name, coded.coding, coded.count, value.numel(), written, dense, error_of(value, back))


def _content(
    model: nn.Module, masks: Mapping[str, Tensor] | None, about: dict[str, Any]
) -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors to be written by name; `about` gets the names that share one, and hidden ones."""
    kept = (masks if isinstance(masks, Masks) else Masks(masks)).fitted(model) if masks else {}
    names: dict[int, str] = {}
    for name, tensor, written in _registered(model):
        if id(tensor) in names:
            about["tied"][name] = names[id(tensor)]
            continue
        if tensor.is_meta:
            do = "build the model on a device with memory"
            raise ContainerError(f"{name!r} in a file", "it is on the meta device, without values", do)
        names[id(tensor)] = name
        value = tensor.detach().cpu()
        if name in kept:
            value = torch.where(kept[name].cpu(), value, torch.zeros_like(value))
        if not written:
            about["hidden"].append(name)
        yield name, value


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


def _read(path: str | os.PathLike[str], into: nn.Module | None) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return the header and all tensors of a file; none may be larger than that of a model that is given."""
    with Reader(path) as reader:
        about = reader.about
        if about.get("format") != FORMAT or about.get("version") != VERSION:
            found = f"it is {about.get('format')!r}, version {about.get('version')!r}"
            raise ContainerError(f"a model from {path}", found, "install the prunery that wrote it")
        scales = {entry.get("scale") for entry in reader.entries.values()}
        own = {} if into is None else {name: tensor for name, tensor, _ in _registered(into)}
        tensors = {}
        for name, entry in reader.entries.items():
            if name in own and prod(entry["shape"]) > own[name].numel():
                shapes = f"{tuple(entry['shape'])} in the file and {tuple(own[name].shape)} in the model"
                raise ContainerError(f"a model from {path}", f"{name!r} is {shapes}", _WHOLE)
            if name not in scales:
                tensors[name] = _tensor(reader, name)
    check_header(about, tensors, path)
    return about, tensors


def read_tensor(path: str | os.PathLike[str], name: str) -> Tensor:
    """Return one tensor of a file that `save` wrote, without reading the others.

    ContainerError: the file is damaged, or holds no tensor of that name.
    """
    with Reader(path) as reader:
        first = reader.about.get("tied", {}).get(name, name)
        if first not in reader.entries:
            found = f"it holds {', '.join(sorted(reader.entries)[:8])}, ..."
            raise ContainerError(f"{name!r} from {path}", found, "give one of its names")
        return _tensor(reader, first)


def _tensor(reader: Reader, name: str) -> Tensor:
    """Return one tensor as it was before it was reduced."""
    entry = reader.entries[name]
    stored = reader.read(name)
    if "as" not in entry:
        return stored
    kind, scale = getattr(torch, str(entry["as"]), None), None
    if entry.get("scale") is not None:
        if entry["scale"] not in reader.entries:
            raise reader.wrong(f"the scales of {name!r} are not there")
        scale = reader.read(entry["scale"])
    if kind not in (torch.float32, torch.float64) or (scale is not None and scale.shape != stored.shape[:1]):
        raise reader.wrong(f"its header says something impossible of {name!r}")
    return restored(stored, scale, kind)
