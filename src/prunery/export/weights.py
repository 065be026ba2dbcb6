"""Weights from a file into a model: safetensors, what `prunery.save` wrote, or a state dict of torch."""

from __future__ import annotations

import os
import pickle
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from prunery.errors import ContainerError, ModelError
from prunery.export.container import load
from prunery.export.layout import MAGIC

_WRAPPED = ("state_dict", "model_state_dict", "model")
"""Keys under which training scripts put the state dict."""


def load_weights_(model: nn.Module, path: str | os.PathLike[str], *, of: str) -> None:
    """Give `model` the weights in a file; nothing in it is run. of: what the model is, for errors.

    A file of torch is read with weights_only=True: a state dict, by itself or under "state_dict" or "model";
    what DataParallel or torch.compile put before its names is left out. Raises ModelError for a file that is
    none of these, or does not fit.
    """
    try:
        with open(path, "rb") as file:
            begins = file.read(len(MAGIC))
    except OSError as problem:
        raise _unfit(path, of, str(problem)) from problem
    try:
        if begins == MAGIC:
            load(path, into=model)
        elif os.fspath(path).endswith(".safetensors"):
            _of_safetensors(model, path)
        else:
            model.load_state_dict(_state_of(torch.load(path, map_location="cpu", weights_only=True)))
    except (ContainerError, ValueError, RuntimeError, EOFError, pickle.UnpicklingError) as problem:
        raise _unfit(path, of, " ".join(str(problem).split())[:300].rstrip(".")) from problem


def _of_safetensors(model: nn.Module, path: str | os.PathLike[str]) -> None:
    from safetensors import SafetensorError
    from safetensors.torch import load_model

    try:
        load_model(model, os.fspath(path))
    except SafetensorError as problem:
        raise ValueError(str(problem)) from problem


def _state_of(content: Any) -> Mapping[str, Tensor]:
    """Return the state dict in what torch.load gave."""
    for key in _WRAPPED:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    whole = isinstance(content, Mapping) and all(isinstance(value, Tensor) for value in content.values())
    if not whole:
        raise ValueError("it holds no state dict")
    return {_bare(name): value for name, value in content.items()}


def _bare(name: str) -> str:
    for before in ("_orig_mod.", "module."):
        name = name.removeprefix(before)
    return name


def _unfit(path: str | os.PathLike[str], of: str, found: str) -> ModelError:
    do = f"give the weights of {of}, saved as safetensors, by torch.save or by prunery.save"
    return ModelError(f"the weights {os.fspath(path)}", found, do)
