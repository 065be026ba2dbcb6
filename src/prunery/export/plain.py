"""A state dict as a plain safetensors file, which needs no prunery to be read."""

from __future__ import annotations

import os
from collections.abc import Mapping

from safetensors.torch import load_file, save
from torch import Tensor, nn

from prunery.atomic import atomic_write
from prunery.forward import memory_of


def write_plain(state: Mapping[str, Tensor], path: str | os.PathLike[str]) -> None:
    """Write tensors by name as safetensors; one that has several names is written under each."""
    tensors: dict[str, Tensor] = {}
    seen: set[int | None] = set()
    for name, tensor in state.items():
        memory = memory_of(tensor)
        tensors[name] = tensor.clone() if memory in seen else tensor.contiguous()
        seen.add(memory)
    atomic_write(path, save(tensors, metadata={"format": "pt"}))


def read_plain(path: str | os.PathLike[str], into: nn.Module) -> nn.Module:
    """Return a model with the state dict of a safetensors file."""
    into.load_state_dict(load_file(os.fspath(path)))
    return into
