"""Corruptions: each against its definition done another way, the same bits each time, worse by severity."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import correlate, gaussian_filter

from prunery.data.corruptions import SEVERITIES, corrupted, corruption
from prunery.data.splits import Split, split
from prunery.errors import ChoiceError, DataError

KINDS = list(corruption)


def pictures(n=6, channels=3, size=32, seed=0):
    """Smooth images with noise: random walks along both axes, between 20 and 220."""
    draw = torch.Generator().manual_seed(seed)
    x = torch.randn((n, channels, size, size), generator=draw).cumsum(2).cumsum(3)
    x = x - x.amin((2, 3), keepdim=True)
    x = x / x.amax((2, 3), keepdim=True).clamp_min(1e-9) * 180 + 20
    x = (x + torch.randint(0, 20, x.shape, generator=draw)).to(torch.uint8)
    return Split("test", x, torch.arange(n) % 3, (0.4,) * channels, (0.2,) * channels, 3)


def unit(split_):
    return split_.x.double().numpy() / 255


def level(name, severity):
    return corruption[name].facts["levels"][severity - 1]


@pytest.mark.parametrize("shape", [(3, 32), (1, 28), (1, 8), (1, 1)])
@pytest.mark.parametrize("name", KINDS)
def test_shape_type_labels_and_statistics_stay(name, shape):
    before = pictures(channels=shape[0], size=shape[1])
    original = before.x.clone()
    for severity in SEVERITIES:
        after = corrupted(before, name, severity)
        assert (after.x.shape, after.x.dtype) == (before.x.shape, torch.uint8)
        assert after.y is before.y
        assert (after.name, after.mean, after.std, after.classes) == ("test", before.mean, before.std, 3)
    assert torch.equal(before.x, original)


@pytest.mark.parametrize("name", KINDS)
def test_the_same_bits_each_time_and_no_global_random_state(name):
    images = pictures()
    random = torch.random.get_rng_state()
    first = corrupted(images, name, 3, seed=5)
    torch.rand(7)
    assert torch.equal(first.x, corrupted(images, name, 3, seed=5).x)
    other = corrupted(images, name, 3, seed=6)
    assert torch.equal(first.x, other.x) == (corruption[name].facts["group"] != "noise")
    torch.random.set_rng_state(random)
    corrupted(images, name, 1)
    assert torch.equal(random, torch.random.get_rng_state())


@pytest.mark.parametrize("name", KINDS)
def test_each_severity_changes_the_images_more(name):
    images = pictures(n=20)
    distances = [
        float((corrupted(images, name, severity).x.double() - images.x).square().mean())
        for severity in SEVERITIES
    ]
    assert distances[0] > 0
    assert all(a < b for a, b in pairwise(distances)), distances


@pytest.mark.parametrize("severity", [0, 6, -1, 2.5, "3", True, None])
def test_severity_out_of_range(severity):
    with pytest.raises(DataError, match="1 to 5"):
        corrupted(pictures(), "contrast", severity)


def test_unknown_corruption_names_the_nearest():
    with pytest.raises(ChoiceError, match="gaussian_noise"):
        corrupted(pictures(), "gausian_noise", 1)


def flat(value, n=40):
    """Grey images of one value, away from both ends, so that nothing is cut."""
    return replace(pictures(n), x=torch.full((n, 3, 32, 32), value, dtype=torch.uint8))


@pytest.mark.parametrize("severity", SEVERITIES)
def test_noise_has_the_spread_of_its_level(severity):
    images = flat(128)
    mean = 128 / 255
    wanted = {
        "gaussian_noise": level("gaussian_noise", severity),
        "shot_noise": (mean / level("shot_noise", severity)) ** 0.5,  # a Poisson count's variance is its mean
    }
    for name, spread in wanted.items():
        noisy = unit(corrupted(images, name, severity))
        assert noisy.mean() == pytest.approx(mean, abs=0.002)
        assert noisy.std() == pytest.approx(spread, rel=0.02)
        assert abs(np.corrcoef(noisy[:, 0].ravel(), noisy[:, 1].ravel())[0, 1]) < 0.02  # channels differ
        assert abs(np.corrcoef(noisy[0].ravel(), noisy[1].ravel())[0, 1]) < 0.1  # and so do images


@pytest.mark.parametrize("severity", SEVERITIES)
def test_impulses_are_black_or_white_and_as_many_as_the_level_says(severity):
    x = corrupted(flat(100), "impulse_noise", severity).x
    share = level("impulse_noise", severity)
    assert set(x.unique().tolist()) == {0, 100, 255}
    for value in (0, 255):
        assert float((x == value).double().mean()) == pytest.approx(share / 2, rel=0.2)


@pytest.mark.parametrize("severity", SEVERITIES)
def test_gaussian_blur_is_that_of_scipy(severity):
    images = pictures(2)
    sigma = level("gaussian_blur", severity)
    expected = gaussian_filter(unit(images), sigma, axes=(2, 3), mode="nearest", truncate=4)
    assert np.abs(unit(corrupted(images, "gaussian_blur", severity)) - expected).max() < 0.51 / 255


@pytest.mark.parametrize(("severity", "inside"), [(1, 1), (2, 1), (3, 1), (4, 5), (5, 9)])
def test_defocus_is_a_softened_disk(severity, inside):
    radius, rim = level("defocus_blur", severity)
    at = np.arange(-8, 9)
    disk = (at[:, None] ** 2 + at**2 <= radius**2).astype(float)
    assert disk.sum() == inside
    line = np.exp(-0.5 * (np.arange(-1, 2) / rim) ** 2)
    line /= line.sum()
    kernel = correlate(disk / inside, np.outer(line, line))
    images = pictures(2)
    expected = np.stack([[correlate(c, kernel, mode="nearest") for c in image] for image in unit(images)])
    assert np.abs(unit(corrupted(images, "defocus_blur", severity)) - expected).max() < 0.51 / 255


@pytest.mark.parametrize("severity", SEVERITIES)
def test_brightness_moves_value_and_keeps_hue_and_saturation(severity):
    import colorsys

    images = pictures(1, size=8)
    images.x[0, :, 0, 0] = 0  # black has no hue
    images.x[0, :, 0, 1] = torch.tensor([255, 10, 0], dtype=torch.uint8)
    after = unit(corrupted(images, "brightness", severity))[0].reshape(3, -1).T
    for old, new in zip(unit(images)[0].reshape(3, -1).T, after, strict=True):
        h, s, v = colorsys.rgb_to_hsv(*old)
        expected = colorsys.hsv_to_rgb(h, s, min(1.0, v + level("brightness", severity)))
        assert np.abs(new - expected).max() < 0.51 / 255


@pytest.mark.parametrize("severity", SEVERITIES)
def test_contrast_scales_the_difference_to_the_mean(severity):
    before, after = unit(pictures()), unit(corrupted(pictures(), "contrast", severity))
    assert np.abs(after.mean((2, 3)) - before.mean((2, 3))).max() < 0.5 / 255
    ratio = after.std((2, 3)) / before.std((2, 3))
    assert np.abs(ratio - level("contrast", severity)).max() < 0.01


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("size", [8, 28, 32, 33])
def test_pixelate_is_box_resizing_down_and_up(severity, size):
    images = pictures(2, channels=1, size=size)
    small = int(size * level("pixelate", severity))
    after = corrupted(images, "pixelate", severity).x
    for image, pixelated in zip(images.x[:, 0].numpy(), after[:, 0].numpy(), strict=True):
        once = Image.fromarray(image).resize((small, small), Image.Resampling.BOX)
        expected = np.asarray(once.resize((size, size), Image.Resampling.BOX)).astype(int)
        assert np.abs(expected - pixelated).max() <= 1  # Pillow rounds in between
        assert len({tuple(row) for row in pixelated.tolist()}) == small


def test_what_an_image_becomes_does_not_depend_on_those_after_it(digits):
    images = split(digits, seed=0).train
    assert len(images) > 1000
    some = replace(images, x=images.x[:1000], y=images.y[:1000])
    whole = corrupted(images, "gaussian_noise", 3)
    assert torch.equal(whole.x[:1000], corrupted(some, "gaussian_noise", 3).x)
    assert not torch.equal(whole.x[1000:] - images.x[1000:], whole.x[:442] - images.x[:442])
