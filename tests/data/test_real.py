"""The real sets, where they are at hand, and the embedded one: published facts of each."""

import shutil
import time

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from prunery.data import parquet
from prunery.data.names import DATASETS
from prunery.data.sets import load
from prunery.errors import DataError


@pytest.mark.mnist
def test_mnist_is_mnist(mnist):
    assert mnist.train.x.shape == (60_000, 1, 28, 28)
    assert mnist.test.x.shape == (10_000, 1, 28, 28)
    assert mnist.train.y[:5].tolist() == [5, 0, 4, 1, 9]
    assert mnist.test.y[:5].tolist() == [7, 2, 1, 0, 4]
    counts = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert mnist.train.y.bincount().tolist() == counts
    assert mnist.mean == pytest.approx((0.13066047627384287,), abs=1e-15)
    assert mnist.std == pytest.approx((0.3081078038564622,), abs=1e-14)
    assert mnist.class_names == tuple("0123456789")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "mean", "std"),
    [
        ("cifar10", (0.49139968, 0.48215841, 0.44653091), (0.24703223, 0.24348513, 0.26158784)),
        ("cifar100", (0.50707516, 0.48654887, 0.44091784), (0.26733429, 0.25643846, 0.27615047)),
    ],
)
def test_cifar_is_cifar(data_dir, name, mean, std):
    made = load(name, data_dir=data_dir)
    assert made.train.x.shape == (50_000, 3, 32, 32)
    assert made.mean == pytest.approx(mean, abs=5.1e-9)
    assert made.std == pytest.approx(std, abs=5.1e-9)
    assert made.train.y.bincount().tolist() == [50_000 // made.classes] * made.classes
    assert made.test.y.bincount().tolist() == [10_000 // made.classes] * made.classes
    assert (made.class_names[3], len(made.class_names)) == (
        {10: "cat", 100: "bear"}[made.classes],
        made.classes,
    )


@pytest.mark.slow
def test_coarse_labels_of_cifar100(data_dir):
    made = load("cifar100-coarse", data_dir=data_dir)
    assert made.train.y.bincount().tolist() == [2500] * 20
    assert made.class_names[0] == "aquatic_mammals"


@pytest.fixture
def copy(data_dir, tmp_path):
    """MNIST alone, to be damaged; without the sums of its mirror."""
    shutil.copytree(data_dir / "mnist", tmp_path / "mnist", copy_function=shutil.copyfile)
    for path in tmp_path.rglob("*"):
        path.chmod(0o755)
    return tmp_path


def _refused(root, cache_dir):
    start = time.process_time()  # nothing is waited for; a busy machine does not count
    with pytest.raises(DataError) as caught:
        load("mnist", data_dir=root, cache_dir=cache_dir)
    return str(caught.value), time.process_time() - start


@pytest.mark.mnist
def test_mnist_cut_in_half_or_altered_is_an_error_within_three_seconds(copy, tmp_path):
    file = copy / "mnist/mnist/train-00000-of-00001.parquet"
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    message, seconds = _refused(copy, tmp_path / "cache")
    assert str(file) in message
    assert "no whole parquet file" in message
    assert seconds < 3
    altered = bytearray(whole)
    altered[whole.index(b"IDAT", len(whole) // 2) + 9] ^= 4
    file.write_bytes(altered)
    message, seconds = _refused(copy, tmp_path / "cache")
    assert "was altered" in message
    assert seconds < 3


@pytest.mark.mnist
def test_a_part_of_mnist_is_refused(copy, tmp_path):
    file = copy / "mnist/mnist/train-00000-of-00001.parquet"
    pq.write_table(pq.read_table(file).slice(0, 1000), file)
    message, seconds = _refused(copy, tmp_path / "cache")
    assert "it has 1000 images, the whole set has 60000" in message
    assert seconds < 3


def test_digits_are_whole_and_split_by_class(digits):
    assert digits.train.x.shape == (1442, 1, 8, 8)
    assert digits.test.x.shape == (355, 1, 8, 8)
    assert digits.train.y.bincount().tolist() == [143, 146, 142, 147, 145, 146, 145, 144, 140, 144]
    assert digits.test.y.bincount().tolist() == [35, 36, 35, 36, 36, 36, 36, 35, 34, 36]
    assert digits.train.y[:5].tolist() == [0, 1, 2, 3, 4]
    levels = sorted(set(digits.train.x.flatten().tolist()))
    assert levels == [(16 * k * 255 // 16 + 8) // 16 for k in range(17)]
    first = torch.tensor([[0, 0, 5, 13, 9, 1, 0, 0], [0, 0, 13, 15, 10, 15, 5, 0]])
    assert torch.equal(torch.round(digits.train.x[0, 0, :2].double() * 16 / 255).long(), first)
    assert digits.content == "804e4ca4ac7862464fcc3a2c4f530d8b88d66d2caf481aa0ecb684c10a37dd9b"


def test_no_digit_is_in_both_splits(digits):
    train, test = ({image.tobytes() for image in np.asarray(part.x)} for part in (digits.train, digits.test))
    assert len(train) == 1442
    assert len(test) == 355
    assert not train & test


@pytest.mark.mnist
def test_the_fingerprint_of_mnist_is_that_of_its_facts(mnist):
    fingerprint = parquet.fingerprint(mnist.test.x.numpy(), mnist.test.y.numpy())
    assert fingerprint == DATASETS["mnist"].pixels["test"]


def test_facts_of_digits_fit(digits):
    facts = DATASETS["digits"]
    assert digits.shape == facts.shape
    assert {"train": len(digits.train), "test": len(digits.test)} == facts.rows
    assert facts.licence == "CC BY 4.0"
