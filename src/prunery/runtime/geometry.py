"""How activations lie in memory: channels of planes with rows, between zeros that serve as padding.

Two layouts. "image": one image after the other; a plane is rows of `pitch` floats, columns beyond the width
hold 0, and rows of zeros lie before each plane, which serve the plane before as well. "lanes": as many images
innermost as a vector has floats, so that each pixel is one vector, and no padding: for planes so small that
their pixels fit registers.
Either is a strided view for torch, which needs no copy.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

LINE = 16  # floats of a cache line


@dataclass(frozen=True)
class Geometry:
    """One activation's place. Sizes in pixels; a pixel is `lanes` floats."""

    channels: int
    height: int
    width: int
    pitch: int  # from row to row
    lead: int  # from the start of a channel to its first pixel
    size: int  # from channel to channel
    lanes: int = 1

    def floats(self, images: int) -> int:
        """Floats of a buffer for so many images, with room for vectors that go beyond the end."""
        own = self.channels * self.size * (images if self.lanes == 1 else self.lanes)
        return own + (self.lead + self.pitch + 2 * LINE) * self.lanes

    @property
    def image_stride(self) -> int:
        """Floats between images."""
        return self.channels * self.size if self.lanes == 1 else 0

    def view(self, buffer: np.ndarray, images: int) -> Tensor:
        """Return the images (N, C, H, W) in a buffer."""
        n = 1 if self.lanes > 1 else self.image_stride
        strides = (n, self.size * self.lanes, self.pitch * self.lanes, self.lanes)
        shape = (images, self.channels, self.height, self.width)
        return torch.from_numpy(buffer).as_strided(shape, strides, self.lead * self.lanes)


def pitch_of(width: int) -> int:
    """Floats from row to row that let vectors start where rows start."""
    for pitch in (1, 2, 4, 8):
        if width <= pitch:
            return pitch
    return -(-width // LINE) * LINE


def image(channels: int, height: int, width: int, rows: int, pitch: int = 0) -> Geometry:
    """Return the image layout with `rows` of zeros above and below each plane."""
    pitch = pitch or pitch_of(width)
    size = (rows + height) * pitch
    if rows and pitch >= LINE and size // LINE % 2 == 0:  # channels that do not fall into the same cache sets
        size += LINE
    return Geometry(channels, height, width, pitch, rows * pitch, size)


def lanes(channels: int, height: int, width: int, count: int) -> Geometry:
    """Return the layout with `count` images innermost."""
    return Geometry(channels, height, width, width, 0, height * width, count)


def aligned(floats: int) -> np.ndarray:
    """Return so many zeros, the first at the start of a page."""
    raw = np.zeros(floats + 1024, np.float32)
    start = -raw.ctypes.data % 4096 // 4
    return raw[start : start + floats]
