"""How large a network is as a file: as it is, beside its masks, compressed, and with its zeros left out."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from prunery.core.masks import Masks


@dataclass(frozen=True)
class Size:
    """Bytes of all parameters and buffers; headers are not counted."""

    dense: int
    """Every element: what a state dict takes, in a file and in memory; masks do not change it."""
    zipped: int
    """The same bytes through zlib at level 1."""
    sparse: int
    """Kept elements only, with one bit for every element of a masked tensor; tensors without a mask whole."""
    masked: int
    """With a mask of the tensor's own type beside each masked tensor: the state dict of a network that was
    pruned by `torch.nn.utils.prune` (`weight_orig`, `weight_mask`)."""
    masked_memory: int
    """What such a network holds while it runs: the product of the two (`weight`) too."""


def size(model: nn.Module, masks: Masks | None = None) -> Size:
    """The bytes of `model`, whose removed weights are 0; a tensor under two names counts once."""
    masks = Masks({}) if masks is None else masks
    tensors = {id(t): (name, t) for name, t in reversed(model.state_dict(keep_vars=True).items())}
    dense = zipped = sparse = beside = 0
    packer = zlib.compressobj(1)
    for name, tensor in reversed(tensors.values()):
        plain = tensor.numel() * tensor.itemsize
        dense += plain
        zipped += len(packer.compress(_bytes(tensor)))
        sparse += _sparse(tensor, masks[name]) if name in masks else plain
        beside += plain if name in masks else 0
    return Size(dense, zipped + len(packer.flush()), sparse, dense + beside, dense + 2 * beside)


def _sparse(tensor: Tensor, mask: Tensor) -> int:
    return int(mask.count_nonzero()) * tensor.itemsize + -(-mask.numel() // 8)


def _bytes(tensor: Tensor) -> bytes:
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b""
