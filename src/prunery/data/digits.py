"""The embedded set: 1797 handwritten digits of 8×8 pixels, for when there is no network.

E. Alpaydin, C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning Repository, 1998,
doi 10.24432/C50P49, licence CC BY 4.0. `digits.npz` was written from scikit-learn's copy (the test part of
that set), unchanged but for the data type:

    d = sklearn.datasets.load_digits()
    np.savez_compressed("digits.npz", x=d.images.astype(np.uint8), y=d.target.astype(np.uint8))
"""

from __future__ import annotations

from importlib.resources import files

import numpy as np
import torch

from prunery.data.images import Images, ImageSet, image_set

_EVERY = 5  # of each class, every fifth image is a test image


def load() -> ImageSet:
    """Return the set with its fixed split, 1442 train and 355 test images.

    Of each class, in the file's order, every fifth image is in the test split. The grey levels 0..16 are
    stretched to 0..255 (nearest integer).
    """
    with files("prunery.data").joinpath("digits.npz").open("rb") as file, np.load(file) as arrays:
        x, y = arrays["x"], arrays["y"].astype(np.int64)
    x = ((x.astype(np.int64) * 255 + 8) // 16).astype(np.uint8)[:, None]
    place = np.empty_like(y)  # of each image among those of its class
    for label in range(10):
        place[y == label] = np.arange(np.count_nonzero(y == label))
    test = place % _EVERY == _EVERY - 1
    train_images, test_images = (
        Images(torch.tensor(x[part]), torch.tensor(y[part])) for part in (~test, test)
    )
    return image_set(
        "digits", train_images, test_images, class_names=tuple("0123456789"), revision="embedded"
    )
