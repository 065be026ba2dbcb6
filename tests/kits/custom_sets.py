"""Factories of small data sets, as a user would write them."""

import torch

from prunery.data.custom import from_tensors

X = torch.arange(2 * 3 * 4 * 5, dtype=torch.uint8).view(2, 3, 4, 5)
Y = torch.tensor([1, 0])


def tensors():
    return from_tensors(X, Y, X, Y, name="mine")


def datasets():
    return [(x, int(y)) for x, y in zip(X, Y, strict=True)], [(X[0], 1)]


def broken():
    raise RuntimeError("no disk")


def nothing():
    return None


def ends():
    raise SystemExit(3)


def three_parts():
    return [], [], []


def wants_a_folder(folder):
    return tensors()


def small_images():
    """130 training and 20 test images of ten classes, as large as those of CIFAR-10."""
    draws = torch.Generator().manual_seed(0)
    x = torch.randint(0, 256, (150, 3, 32, 32), dtype=torch.uint8, generator=draws)
    y = torch.arange(150) % 10
    return from_tensors(x[:130], y[:130], x[130:], y[130:], name="small")
