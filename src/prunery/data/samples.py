"""A few images of each class, small enough to be kept beside results."""

from __future__ import annotations

import base64
import io

from torch import Tensor

from prunery.data.images import ImageSet

EACH, MOST = 4, 20  # images of a class; classes
LEAST, LARGEST = 24, 48  # pixels of an image's height, as it is kept
_QUALITY = 80  # of JPEG


def samples(images: ImageSet) -> list[dict[str, str]]:
    """Return the first training images of each class: its name, and a strip of them as JPEG in base64.

    Of more than 20 classes the first 20. Small images are enlarged by a whole factor, large ones made
    smaller. Empty where images have neither one nor three channels.
    """
    if images.shape[0] not in (1, 3):
        return []
    train, rows = images.train, []
    for label, name in enumerate(images.class_names[:MOST]):
        first = (train.y == label).nonzero()[:EACH, 0]
        if len(first):
            rows.append({"class": name, "jpeg": _strip(train.x[first])})
    return rows


def _strip(x: Tensor) -> str:
    """Return images (n, C, H, W) side by side, as JPEG in base64."""
    from PIL import Image

    channels, height = x.shape[1:3]
    pixels = x.permute(2, 0, 3, 1).reshape(height, -1, channels).squeeze(2)
    image = Image.fromarray(pixels.contiguous().numpy())
    factor = max(1, -(-LEAST // height))
    size = (image.width * factor, image.height * factor)
    if height > LARGEST:
        size = (max(1, image.width * LARGEST // height), LARGEST)
    out = io.BytesIO()
    how = Image.Resampling.NEAREST if height <= LARGEST else Image.Resampling.BOX
    image.resize(size, how).save(out, "JPEG", quality=_QUALITY)
    return base64.b64encode(out.getvalue()).decode()
