"""A few images of each class: the first of the training split, as strips of JPEG."""

import base64
import io

import numpy as np
import torch
from PIL import Image

from prunery.data.samples import EACH, LARGEST, MOST, samples
from prunery.data.sets import from_tensors, load


def opened(row):
    return Image.open(io.BytesIO(base64.b64decode(row["jpeg"])))


def made(n, classes, shape):
    """A set whose images of a class are as bright as its label; those of test are white."""
    y = torch.arange(n) % classes
    x = (y * (200 // classes)).to(torch.uint8).view(-1, 1, 1, 1).expand(n, *shape).contiguous()
    return from_tensors(x, y, torch.full_like(x, 255), y, class_names=tuple(f"c{i}" for i in range(classes)))


def test_each_class_has_its_name_and_its_first_training_images():
    digits = load("digits")
    rows = samples(digits)
    assert [row["class"] for row in rows] == list(digits.class_names)
    for label, row in enumerate(rows):
        image = opened(row)
        assert (image.size, image.mode) == ((EACH * 24, 24), "L")  # 8x8, three times as large
        first = digits.train.x[digits.train.y == label][:EACH]
        wanted = np.concatenate([each.squeeze(0).numpy().repeat(3, 0).repeat(3, 1) for each in first], 1)
        assert np.abs(np.asarray(image).astype(int) - wanted).mean() < 8  # of 255: JPEG loses a little
    assert samples(load("digits")) == rows
    assert sum(len(row["jpeg"]) for row in rows) < 20_000


def test_images_of_test_are_not_among_them():
    for label, row in enumerate(samples(made(40, 4, (3, 30, 20)))):
        assert opened(row).size == (EACH * 20, 30)
        assert np.asarray(opened(row)).mean() == 50 * label


def test_large_images_and_many_classes_are_made_fewer():
    rows = samples(made(60, 30, (3, 96, 120)))
    assert len(rows) == MOST
    assert opened(rows[0]).size == (2 * 60, LARGEST)  # two of this class


def test_what_is_no_picture_has_no_sample():
    assert samples(made(40, 4, (2, 8, 8))) == []
