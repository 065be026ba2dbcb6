"""Batches against slow references, image by image; and that their bits depend on nothing but their names."""

import pytest
import torch

from prunery.data.batches import AUGMENTATIONS, Batches, balanced, flipped, shifted
from prunery.data.sets import from_tensors
from prunery.data.splits import Split, split
from prunery.errors import ChoiceError, DataError
from prunery.seeds import stream

GENERATOR = torch.Generator().manual_seed(0)
X = torch.randint(0, 256, (50, 3, 7, 5), dtype=torch.uint8, generator=GENERATOR)
Y = torch.arange(50) % 3


@pytest.fixture(scope="module")
def train():
    return split(from_tensors(X, Y, X, Y), validation=0, seed=0).train


def _normalised(train, x):
    mean, std = (torch.tensor(v, dtype=torch.float64).view(1, -1, 1, 1) for v in (train.mean, train.std))
    return (x.double() / 255 - mean) / std


def _slow_shift(image, row, column, margin):
    """One image (C, H, W), pixel by pixel: black where the cut leaves it."""
    cut = torch.zeros_like(image)
    _, height, width = image.shape
    for i in range(height):
        for j in range(width):
            if 0 <= i + row - margin < height and 0 <= j + column - margin < width:
                cut[:, i, j] = image[:, i + row - margin, j + column - margin]
    return cut


def test_plain_batches_are_the_images_in_order_normalised(train):
    batches = Batches(train, batch=16, seed=0)
    xs, ys = zip(*batches, strict=True)
    assert [len(y) for y in ys] == [16, 16, 16, 2]
    assert len(batches) == 4
    assert torch.equal(torch.cat(ys), Y)
    torch.testing.assert_close(torch.cat(xs).double(), _normalised(train, X), rtol=0, atol=1e-6)
    assert {x.dtype for x in xs} == {torch.float32}


def test_a_batch_size_that_divides_leaves_no_ragged_batch(train):
    assert [len(y) for _, y in Batches(train, batch=25, seed=0)] == [25, 25]
    assert [len(y) for _, y in Batches(train, batch=64, seed=0)] == [50]


def test_shuffling_shows_every_image_once_in_the_named_order(train):
    order = torch.randperm(50, generator=stream(7, "order", 2))
    xs, ys = zip(*Batches(train, batch=16, seed=7, epoch=2, shuffle=True), strict=True)
    assert torch.equal(torch.cat(ys), Y[order])
    torch.testing.assert_close(torch.cat(xs).double(), _normalised(train, X[order]), rtol=0, atol=1e-6)
    assert sorted(order.tolist()) == list(range(50))


def test_each_epoch_and_seed_has_its_own_order(train):
    def order(**named):
        return torch.cat([x.flatten(1)[:, :9] for x, _ in Batches(train, batch=16, shuffle=True, **named)])

    first = order(seed=0, epoch=0)
    assert torch.equal(first, order(seed=0, epoch=0))
    assert not torch.equal(first, order(seed=0, epoch=1))
    assert not torch.equal(first, order(seed=1, epoch=0))


def test_shifted_equals_a_cut_of_each_image():
    corners = torch.stack([torch.arange(50) % 9, torch.arange(50) // 6])
    assert corners.max() == 8
    slow = torch.stack([_slow_shift(x, int(i), int(j), 4) for x, i, j in zip(X, *corners, strict=True)])
    assert torch.equal(shifted(X, corners), slow)
    one = torch.tensor([[0, 1, 2], [2, 1, 0]])
    slow = torch.stack([_slow_shift(x, int(i), int(j), 1) for x, i, j in zip(X[:3], *one, strict=True)])
    assert torch.equal(shifted(X[:3], one, margin=1), slow)


def test_a_cut_in_the_middle_changes_nothing_whatever_the_memory_format():
    middle = torch.full((2, 50), 4)
    assert torch.equal(shifted(X, middle), X)
    assert torch.equal(shifted(X.contiguous(memory_format=torch.channels_last), middle), X)


def test_flipped_mirrors_the_chosen_images_left_to_right():
    flips = torch.arange(50) % 3 == 0
    slow = torch.stack([x[:, :, range(4, -1, -1)] if f else x for x, f in zip(X, flips, strict=True)])
    assert torch.equal(flipped(X, flips), slow)


def test_augmented_batches_are_the_named_draws(train):
    (x, y), *_ = Batches(train, batch=16, augmentation="crop_flip", seed=3, epoch=5, start=2)
    generator = stream(3, "augment", 5, 2)
    flips = torch.rand(16, generator=generator) < 0.5
    corners = torch.randint(0, 9, (2, 16), generator=generator)
    mirrored = [i.flip(2) if f else i for i, f in zip(X[32:48], flips, strict=True)]
    slow = torch.stack(
        [_slow_shift(i, int(r), int(c), 4) for i, r, c in zip(mirrored, *corners, strict=True)]
    )
    torch.testing.assert_close(x.double(), _normalised(train, slow), rtol=0, atol=1e-6)
    assert torch.equal(y, Y[32:48])
    assert 0 < flips.sum() < 16


def test_half_are_flipped_and_shifts_are_uniform():
    n = 9000
    x = torch.zeros(n, 1, 9, 9, dtype=torch.uint8)
    x[:, 0, 4, 4] = 255  # stays in sight under every shift
    big = Split("train", x, torch.zeros(n, dtype=torch.int64), (0.0,), (1.0,), 1)
    ((moved, _),) = Batches(big, batch=n, augmentation="crop_flip", seed=0)
    seen = moved.view(n, 81).argmax(1).bincount(minlength=81)
    assert seen.sum() == n
    assert seen.min() > 60  # of 111 expected in each of the 81 places; 5 standard deviations are 52
    assert seen.max() < 165
    x[:, 0, 4, 4], x[:, 0, 4, 0] = 0, 255
    ((mirrored, _),) = Batches(big, batch=n, augmentation="flip", seed=0)
    assert abs(int((mirrored[:, 0, 4, 8] > 0).sum()) - n / 2) < 5 * (n / 4) ** 0.5
    assert torch.equal(
        (mirrored[:, 0, 4, 0] > 0) ^ (mirrored[:, 0, 4, 8] > 0), torch.ones(n, dtype=torch.bool)
    )


@pytest.mark.parametrize("augmentation", AUGMENTATIONS)
def test_a_batch_is_the_same_bits_wherever_iteration_starts(train, augmentation):
    named = {"batch": 16, "augmentation": augmentation, "seed": 1, "epoch": 4, "shuffle": True}
    whole = list(Batches(train, **named))
    assert len(whole) == 4
    for start in range(5):
        late = Batches(train, start=start, **named)
        assert len(late) == 4 - start
        for _ in range(2):  # re-iterable
            for (x, y), (known_x, known_y) in zip(late, whole[start:], strict=True):
                assert torch.equal(x, known_x)
                assert torch.equal(y, known_y)


def test_batches_touch_neither_the_split_nor_global_random_state(train):
    torch.manual_seed(5)
    before, x = torch.get_rng_state(), train.x.clone()
    for images, _ in Batches(train, batch=16, augmentation="crop_flip", seed=1, shuffle=True):
        images.zero_()
    for images, _ in Batches(train, batch=16, seed=1):
        images.zero_()
    balanced(train, per_class=2, seed=0)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(train.x, x)


def test_wrong_arguments_are_refused(train):
    with pytest.raises(ChoiceError, match="did you mean 'crop_flip'"):
        Batches(train, batch=16, seed=0, augmentation="cropflip")
    with pytest.raises(DataError, match="batches of 0"):
        Batches(train, batch=0, seed=0)
    for start in (-1, 5):
        with pytest.raises(DataError, match="the epoch has 4 batches"):
            Batches(train, batch=16, seed=0, start=start)


def test_an_empty_split_has_no_batches(train):
    empty = Split("validation", X[:0], Y[:0], train.mean, train.std, 3)
    assert list(Batches(empty, batch=16, seed=0, shuffle=True)) == []


def test_a_balanced_batch_has_exactly_as_many_of_each_class(train):
    x, y = balanced(train, per_class=5, seed=0)
    assert y.tolist() == [0, 1, 2] * 5
    images = _normalised(train, X)
    rows = [[torch.allclose(a.double(), b, atol=1e-6) for b in images].index(True) for a in x]
    assert len(set(rows)) == 15
    assert torch.equal(Y[rows], y)
    again, other = balanced(train, per_class=5, seed=0)[0], balanced(train, per_class=5, seed=1)[0]
    assert torch.equal(x, again)
    assert not torch.equal(x, other)


def test_too_few_of_a_class_is_an_error(train):
    assert len(balanced(train, per_class=16, seed=0)[1]) == 48
    with pytest.raises(DataError, match="the train split has 16 of class 2"):
        balanced(train, per_class=17, seed=0)
    with pytest.raises(DataError, match="0 examples of each class"):
        balanced(train, per_class=0, seed=0)
