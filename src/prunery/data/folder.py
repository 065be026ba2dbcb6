"""Images from a folder: of files in it, or in a subfolder for each class."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from prunery.errors import DataError
from prunery.seeds import stream

ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".ppm", ".pgm", ".gif", ".tif", ".tiff")


@dataclass(frozen=True, eq=False)
class FolderImages:
    """Images `x` uint8 (n, C, H, W) with labels `y` int64 (n,), -1 where classes have no subfolders.

    resized: how many had another size and were scaled, their middle cut out.
    """

    x: Tensor
    y: Tensor
    class_names: tuple[str, ...]
    resized: int


def read_folder(path: str | Path, shape: tuple[int, int, int], *, most: int, seed: int = 0) -> FolderImages:
    """Return `most` random images of a folder, or all if there are fewer, in the order of their names.

    shape: (C, H, W) with 1 or 3 channels; other sizes are scaled so that they cover it, and cut about the
    middle. Classes are subfolders in the order of their names, as in most tools; files beside them count as
    images only where there are no subfolders with images. DataError: no folder, no images, one that cannot
    be read, or a number of channels that no image has.
    """
    folder, channels = Path(path), shape[0]
    if channels not in (1, 3):
        raise DataError(f"images of {channels} channels", "files have 1 (grey) or 3 (colour)", "give tensors")
    if not folder.is_dir():
        raise DataError(f"the images in {folder}", "there is no such folder", "name a folder or a data set")
    inside = {sub.name: _files(sub) for sub in sorted(folder.iterdir()) if sub.is_dir()}
    classes = {name: files for name, files in inside.items() if files}
    found = [(file, label) for label, files in enumerate(classes.values()) for file in files]
    found = found or [(file, -1) for file in _files(folder)]
    if not found:
        do = f"put files there, or folders of them, that end in {', '.join(ENDINGS[:4])}"
        raise DataError(f"the images in {folder}", "there is none", do)
    chosen = torch.randperm(len(found), generator=stream(seed, "folder"))[:most].sort().values.tolist()
    images, resized = list[Tensor](), 0
    for row in chosen:
        image, other = _read(found[row][0], shape)
        images.append(image)
        resized += other
    labels = torch.tensor([found[row][1] for row in chosen])
    return FolderImages(torch.stack(images), labels, tuple(classes), resized)


def _files(folder: Path) -> Sequence[Path]:
    """Return the images below a folder, in the order of their names."""
    every = (path for path in folder.rglob("*") if path.is_file())
    return sorted(p for p in every if p.suffix.lower() in ENDINGS and not p.name.startswith("."))


def _read(file: Path, shape: tuple[int, int, int]) -> tuple[Tensor, bool]:
    """Return one image (C, H, W), and whether it had another size."""
    channels, height, width = shape
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(file) as opened:
                image = opened.convert("L" if channels == 1 else "RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError, Warning) as problem:
        raise DataError(
            f"the image {file}", " ".join(str(problem).split()), "remove or replace it"
        ) from problem
    other = image.size != (width, height)
    if other:
        scale = max(height / image.height, width / image.width)
        size = max(width, round(image.width * scale)), max(height, round(image.height * scale))
        image = image.resize(size, Image.Resampling.BILINEAR)
        left, top = (image.width - width) // 2, (image.height - height) // 2
        image = image.crop((left, top, left + width, top + height))
    pixels = torch.from_numpy(np.array(image))
    return (pixels[None] if channels == 1 else pixels.permute(2, 0, 1)).contiguous(), other
