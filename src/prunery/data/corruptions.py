"""Images corrupted as cameras and files do it: some of the kinds of CIFAR-10-C, computed here.

After D. Hendrycks and T. Dietterich, Benchmarking neural network robustness to common corruptions and
perturbations, ICLR 2019. Five severities; their levels are those of the authors' published code for 32 x 32
images, and hold for pixels in [0, 1]. The random draws are not the authors', so results come close to those
on their files and are not the same. Two more deviations: results are rounded, not cut, to whole pixel
values; beyond the edge the last pixel repeats, also for defocus.

Axes: n images, C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from prunery.errors import DataError
from prunery.registry import Registry
from prunery.seeds import stream

if TYPE_CHECKING:
    from prunery.data.splits import Split

corruption = Registry("corruption")

SEVERITIES = (1, 2, 3, 4, 5)
_CHUNK = 1000  # images: what is drawn for an image depends on it


def corrupted(split: Split, name: str, severity: int, seed: int = 0) -> Split:
    """Return the split with corrupted images: uint8, on the same device, the same bits each time.

    Labels, statistics and the split's name stay. The draws depend on (seed, name, severity) alone.
    ChoiceError: no corruption of that name. DataError: a severity that is not 1 to 5.
    """
    row = corruption[name]
    if isinstance(severity, bool) or severity not in SEVERITIES:
        problem = f"{len(SEVERITIES)} severities are defined"
        raise DataError(f"{name} of severity {severity!r}", problem, "give a whole number from 1 to 5")
    level = row.facts["levels"][severity - 1]
    draw = stream(seed, "corruption", name, severity)
    chunks = [_pixels(row.function(x.cpu() / 255, level, draw)) for x in torch.split(split.x, _CHUNK)]
    return replace(split, x=torch.cat(chunks).to(split.x.device))


def _pixels(x: Tensor) -> Tensor:
    return (x.clamp(0, 1) * 255).round().to(torch.uint8)


@corruption.add(group="noise", levels=(0.04, 0.06, 0.08, 0.09, 0.10))
def gaussian_noise(x: Tensor, level: float, draw: torch.Generator) -> Tensor:
    """Return a normal draw added to every value; level: its standard deviation."""
    return x + level * torch.randn(x.shape, generator=draw)


@corruption.add(group="noise", levels=(500, 250, 100, 75, 50))
def shot_noise(x: Tensor, level: float, draw: torch.Generator) -> Tensor:
    """Return images of few photons; level: the mean number of photons at a value of 1."""
    return torch.poisson(x * level, generator=draw) / level


@corruption.add(group="noise", levels=(0.01, 0.02, 0.03, 0.05, 0.07))
def impulse_noise(x: Tensor, level: float, draw: torch.Generator) -> Tensor:
    """Return images with values replaced by 0 or 1, equally often; level: the share of values replaced."""
    u = torch.rand(x.shape, generator=draw)
    return torch.where(u < level, (u < level / 2).to(x.dtype), x)


@corruption.add(group="blur", levels=(0.4, 0.6, 0.7, 0.8, 1.0))
def gaussian_blur(x: Tensor, level: float, draw: torch.Generator) -> Tensor:
    """Return blurred images; level: the Gaussian's standard deviation in pixels; it is cut off at four."""
    line = _gaussian(level, int(4 * level + 0.5))
    return _filtered(_filtered(x, line[:, None]), line[None])


@corruption.add(group="blur", levels=((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1.0, 0.2), (1.5, 0.1)))
def defocus_blur(x: Tensor, level: tuple[float, float], draw: torch.Generator) -> Tensor:
    """Return images blurred by a disk whose rim a 3 x 3 Gaussian softens; level: radius, rim, in pixels."""
    radius, rim = level
    at = torch.arange(-2.0, 3.0)
    disk = ((at[:, None] ** 2 + at**2) <= radius**2).float()
    line = _gaussian(rim, 1)
    return _filtered(x, _same(disk[None, None] / disk.sum(), line[:, None] * line)[0, 0])


@corruption.add(group="light", levels=(0.05, 0.1, 0.15, 0.2, 0.3))
def brightness(x: Tensor, level: float, draw: torch.Generator) -> Tensor:
    """Return brighter images of the same hue and saturation; level: what a pixel's HSV value gains."""
    peak = x.amax(1, keepdim=True)
    lifted = (peak + level).clamp_max(1)
    return torch.where(peak > 0, x / peak * lifted, lifted)


@corruption.add(group="light", levels=(0.75, 0.5, 0.4, 0.3, 0.15))
def contrast(x: Tensor, level: float, draw: torch.Generator) -> Tensor:
    """Return images of less contrast; level: the share kept of the difference to each channel's mean."""
    mean = x.mean((2, 3), keepdim=True)
    return mean + level * (x - mean)


@corruption.add(group="file", levels=(0.95, 0.9, 0.85, 0.75, 0.65))
def pixelate(x: Tensor, level: float, draw: torch.Generator) -> Tensor:
    """Return images averaged to a smaller size and repeated up again; level: the small side over the side."""
    rows, columns = (_coarse(size, max(1, int(size * level))) for size in x.shape[2:])
    return rows @ x @ columns.T


def _gaussian(sigma: float, radius: int) -> Tensor:
    """Return Gaussian weights (2 radius + 1,) that sum to 1."""
    at = torch.arange(-radius, radius + 1, dtype=torch.float32)
    weights = (-0.5 * (at / sigma) ** 2).exp()
    return weights / weights.sum()


def _filtered(x: Tensor, kernel: Tensor) -> Tensor:
    """Return each channel filtered with a symmetric odd-sided kernel; edge pixels repeat beyond the edge."""
    down, across = (side // 2 for side in kernel.shape)
    around = functional.pad(x, (across, across, down, down), mode="replicate").flatten(0, 1)
    return functional.conv2d(around[:, None], kernel[None, None]).view(x.shape)


def _same(x: Tensor, kernel: Tensor) -> Tensor:
    return functional.conv2d(x, kernel[None, None], padding=len(kernel) // 2)


def _coarse(size: int, small: int) -> Tensor:
    """Return the matrix (size, size) that averages `size` pixels to `small` ones and repeats those to `size`.

    A small pixel is the mean of the pixels whose centres it covers.
    """
    scale = size / small
    covering = (torch.arange(size) + 0.5).div(scale).ceil() - 1  # the small pixel that covers each centre
    covered = (covering == torch.arange(small)[:, None]).float()
    down = covered / covered.sum(1, keepdim=True)
    up: Sequence[int] = [int((i + 0.5) / scale) for i in range(size)]
    return down[list(up)]
