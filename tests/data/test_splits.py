"""The validation split: exact in number, balanced, disjoint from train, and the test images untouched."""

import pytest
import torch

from prunery.core.selection import shares
from prunery.data.sets import from_tensors
from prunery.data.splits import split
from prunery.errors import DataError


def _numbered(sizes):
    """A set whose every train image shows its own number; class k has sizes[k] images."""
    n = sum(sizes)
    number = torch.arange(n)
    x = torch.stack([number // 256, number % 256], dim=1).to(torch.uint8).view(n, 2, 1, 1).expand(n, 2, 2, 2)
    y = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    return from_tensors(x, y, x[:4], y[:4], classes=len(sizes))


def _numbers(part):
    return (part.x[:, 0, 0, 0].long() * 256 + part.x[:, 1, 0, 0].long()).tolist()


@pytest.mark.parametrize(
    ("validation", "count"), [(0.1, 60), (0.25, 150), (37, 37), (0, 0), (0.0, 0), (1, 1)]
)
def test_train_and_validation_share_no_image_and_lose_none(validation, count):
    images = _numbered([200, 300, 100])
    parts = split(images, validation=validation, seed=0)
    train, held = _numbers(parts.train), _numbers(parts.validation)
    assert (len(train), len(held)) == (600 - count, count)
    assert sorted(train + held) == list(range(600))
    assert train == sorted(train)
    assert torch.equal(parts.train.y, images.train.y[train])
    assert torch.equal(parts.validation.y, images.train.y[held])
    assert torch.equal(parts.test.x, images.test.x)
    assert torch.equal(parts.test.y, images.test.y)


def test_each_class_gives_its_share():
    parts = split(_numbered([200, 300, 100]), validation=0.1, seed=0)
    assert parts.validation.y.bincount().tolist() == [20, 30, 10]


def test_shares_are_exact_by_largest_remainders():
    assert shares([10, 10, 10], 5) == [2, 2, 1]
    assert shares([1, 2, 7], 5) == [1, 1, 3]  # 0.5, 1.0, 3.5: the first of two equal remainders
    assert shares([0, 4], 3) == [0, 3]


def test_the_seed_decides():
    images = _numbered([200, 300, 100])
    first, same, other = (_numbers(split(images, seed=s).validation) for s in (1, 1, 2))
    assert first == same
    assert first != other


def test_the_draw_is_pinned():
    """The same on every machine and release: a change here would change every study."""
    assert _numbers(split(_numbered([20, 30, 10]), seed=0).validation) == PINNED


PINNED = [7, 9, 20, 26, 32, 53]


def test_splits_carry_names_statistics_and_classes():
    images = _numbered([5, 5])
    parts = split(images, seed=0)
    for name in ("train", "validation", "test"):
        part = getattr(parts, name)
        assert (part.name, part.mean, part.std, part.classes) == (name, images.mean, images.std, 2)
    moved = parts.to("meta").validation
    assert (moved.x.device.type, moved.y.device.type, len(moved)) == ("meta", "meta", 1)


@pytest.mark.parametrize("validation", [1.0, -0.1, float("nan"), 10, -1, True])
def test_a_count_out_of_range_is_refused(validation):
    with pytest.raises(DataError, match="there are 10 train images"):
        split(_numbered([5, 5]), validation=validation, seed=0)


@pytest.mark.mnist
def test_mnist_is_split_into_54000_6000_10000(mnist):
    parts = split(mnist, seed=0)
    assert [len(p) for p in (parts.train, parts.validation, parts.test)] == [54_000, 6_000, 10_000]
    whole = torch.cat([parts.train.x, parts.validation.x]).sum(dtype=torch.int64)
    assert whole == mnist.train.x.sum(dtype=torch.int64)
    tenth = mnist.train.y.bincount().double() / 10
    assert (parts.validation.y.bincount() - tenth).abs().max() < 1
