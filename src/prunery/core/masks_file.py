"""Masks in a file: one bit a weight, under a sha256, in safetensors without pickle.

The header says shapes, uncounted names, units and the sha256 of all of it with the bits. Files of before have
no sha256; they are read too. Sizes are compared before anything is unpacked, so that a file takes no more
memory than its bits do as masks.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection, Mapping
from math import prod
from typing import Any

import torch
from torch import Tensor

from prunery.core.bits import packed, unpacked
from prunery.errors import MasksError

_FORMAT = "prunery-masks-1"
_KEYS = {"format", "shapes", "uncounted", "units"}
_SEAL = "sha256"
_MOST_AXES = 16

Read = tuple[dict[str, Tensor], list[str], dict[str, tuple[int, int]]]


def packed_file(
    masks: Mapping[str, Tensor], uncounted: Collection[str], units: Mapping[str, tuple[int, int]]
) -> bytes:
    """Return the bytes of a file that holds these masks."""
    from safetensors.torch import save

    bits = {name: packed(mask) for name, mask in masks.items()}
    about: dict[str, Any] = {
        "format": _FORMAT,  # in the one value: the file's order of several keys is not fixed
        "shapes": {name: list(mask.shape) for name, mask in masks.items()},
        "uncounted": sorted(uncounted),
        "units": units,
    }
    about[_SEAL] = _sealed(json.loads(json.dumps(about)), bits)
    return save(bits, metadata={"about": json.dumps(about)})


def read(path: str | os.PathLike[str]) -> Read:
    """Return the masks, the uncounted names and the units in a file; MasksError for anything else."""
    from safetensors import SafetensorError, safe_open

    if not isinstance(path, str | os.PathLike):
        raise _no_masks(path, f"it is of type {type(path).__name__}")
    try:
        with safe_open(os.fspath(path), framework="pt") as file:
            about = json.loads((file.metadata() or {}).get("about", "{}"))
            names = list(file.keys())
            problem = _wrong(about, names)
            bits = {} if problem else {name: file.get_tensor(name) for name in names}
        problem = problem or _wrong_bits(about, bits)
    except (SafetensorError, OSError, ValueError, RecursionError) as error:
        raise _no_masks(path, str(error)) from error
    if problem:
        raise _no_masks(path, problem)
    masks = {name: unpacked(bits[name], shape) for name, shape in about["shapes"].items()}
    return masks, about["uncounted"], {name: (kept, all_) for name, (kept, all_) in about["units"].items()}


def _wrong(about: Any, names: Collection[str]) -> str:
    """Return what no header of masks says, or ""."""
    if not isinstance(about, dict) or about.get("format") != _FORMAT:
        return "the file holds something else"
    if {*about} - {_SEAL} != _KEYS or not all(isinstance(about[key], dict) for key in ("shapes", "units")):
        return "its header is not that of a masks file"
    shapes, units, uncounted = about["shapes"], about["units"], about["uncounted"]
    if {*names} != {*shapes}:
        return "its header names other masks than it holds"
    for name, shape in shapes.items():
        if not _is_shape(shape):
            return f"the mask {name!r} has the shape {str(shape)[:80]}"
    for name, counts in units.items():
        if not _are_units(counts):
            return f"{name!r} keeps {str(counts)[:80]} units"
    if not isinstance(uncounted, list) or not all(isinstance(n, str) and n in shapes for n in uncounted):
        return "its uncounted names are not those of masks"
    return ""


def _wrong_bits(about: Mapping[str, Any], bits: Mapping[str, Tensor]) -> str:
    for name, shape in about["shapes"].items():
        weights, tensor = prod(shape), bits[name]
        if tensor.dtype is not torch.uint8 or tuple(tensor.shape) != (-(-weights // 8),):
            return f"the mask {name!r} has {tensor.numel()} bytes of bits for {weights} weights"
    if _SEAL in about and _sealed({k: about[k] for k in about if k != _SEAL}, bits) != about[_SEAL]:
        return "its contents do not match their sha256: it was altered"
    return ""


def _is_shape(shape: Any) -> bool:
    return (
        isinstance(shape, list)
        and len(shape) <= _MOST_AXES
        and all(type(size) is int and 0 <= size < 1 << 62 for size in shape)
    )


def _are_units(counts: Any) -> bool:
    if not isinstance(counts, list) or [type(count) for count in counts] != [int, int]:
        return False
    return bool(0 <= counts[0] <= counts[1] < 1 << 62)


def _sealed(about: Mapping[str, Any], bits: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    for name in sorted(bits):
        digest.update(bits[name].numpy().tobytes())
    return digest.hexdigest()


def _no_masks(path: object, found: str) -> MasksError:
    return MasksError(f"masks from {path}", found, "give a whole file that Masks.save wrote")
