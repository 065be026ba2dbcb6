"""`prunery compress`: a set or a folder of images, with or without labels, and what is refused."""

import re

import numpy as np
import pytest
import torch
from cli_kit import prunery as command
from PIL import Image
from safetensors.torch import save_file

import prunery
from prunery.data.folder import read_folder
from prunery.data.sets import load
from prunery.data.splits import split
from prunery.errors import DataError
from prunery.models.build import build
from prunery.train.loop import fit
from prunery.train.settings import Training

ASKED = ("compress", "lenet300", "--weights", "w.safetensors", "--sparsity", "95%", "--shape", "1x8x8")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the weights of a trained network, and images of digits in folders by class."""
    path = tmp_path_factory.mktemp("compress")
    images = load("digits")
    model = build("lenet300", shape=(1, 8, 8), classes=10, seed=0)
    data = split(images, seed=0)
    fit(model, data, Training(epochs=5, optimizer="adam", learning_rate=0.003, batch=64), seed=0)
    save_file(model.state_dict(), path / "w.safetensors")
    for i in range(400):
        own = path / "images" / f"digit {int(images.train.y[i])}"
        own.mkdir(parents=True, exist_ok=True)
        Image.fromarray(images.train.x[i, 0].numpy()).save(own / f"{i}.png")
    return path


def test_a_set_repairs_a_network_and_the_file_has_it(folder):
    status, out, errors, _ = command(*ASKED, "--data", "digits", "--steps", "40", cwd=folder)
    assert status == 0, errors
    assert [line.split()[0] for line in out.splitlines()[1:5]] == [
        "dense",
        "magnitude",
        "obs",
        "align_labelled",
    ]
    dense, pruned = map(float, re.search(r"([\d.]+) % dense, ([\d.]+) % pruned", out).groups())
    model = prunery.load(folder / "w-pruned.prunery", into=build("lenet300", shape=(1, 8, 8), classes=10))
    weights = [m.weight for m in model.modules() if isinstance(m, torch.nn.Linear)]
    assert sum(int(w.count_nonzero()) for w in weights) <= 0.05 * sum(w.numel() for w in weights) + 1
    assert pruned > dense - 8
    assert "align_labelled: 50 %" in errors


def test_a_folder_of_classes_is_read_with_its_labels_or_without(folder):
    given = ("--data", "images", "--steps", "10", "-o", "out.prunery")
    status, out, errors, _ = command(*ASKED, *given, cwd=folder)
    assert status == 0, errors
    assert "400 images of images, in 10 classes" in out
    assert "align_labelled" in out
    status, out, _, _ = command(*ASKED, *given, "--no-labels", cwd=folder)
    assert status == 0
    assert "align_labelled" not in out
    assert "as dense %" in out


def test_without_images_the_weights_decide(folder):
    status, out, errors, _ = command(*ASKED, "-o", "free.prunery", cwd=folder)
    assert status == 0, errors
    assert "no examples were given" in out
    assert (folder / "free.prunery").is_file()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--data", "mnits"), "mnist"),
        (("--data", "empty"), "there is none"),
        (("--data", "broken"), "cannot identify image file"),
        (("--data", "images", "--mean", "a"), "these are no numbers"),
        (("--data", "images", "--mean", "0.1,0.2,0.3"), "3 numbers for 1 channels"),
        (("--data", "images", "--std", "0"), "divided by it"),
        (("--data", "images", "--augmentation", "flop"), "augmentation 'flop'"),
        (("--data", "images", "--shape", "2x8x8"), "size mismatch|2 channels"),
        (("--data", "digits", "-o", "nowhere/x.prunery"), "no folder nowhere"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_written(folder, more, message):
    (folder / "empty").mkdir(exist_ok=True)
    (folder / "broken").mkdir(exist_ok=True)
    (folder / "broken" / "a.png").write_bytes(b"no image")
    before = sorted(p.name for p in folder.iterdir())
    status, _, errors, _ = command(*ASKED, *more, cwd=folder)
    assert status == 2
    assert re.search(message, errors), errors
    assert sorted(p.name for p in folder.iterdir()) == before


def test_other_sizes_are_scaled_and_their_middle_is_cut_out(tmp_path):
    wide = np.zeros((10, 40, 3), np.uint8)
    wide[:, 15:25] = 200
    Image.fromarray(wide).save(tmp_path / "wide.png")
    Image.fromarray(np.full((5, 5, 3), 9, np.uint8)).save(tmp_path / "exact.png")
    found = read_folder(tmp_path, (3, 5, 5), most=10)
    assert (found.resized, found.y.tolist(), found.class_names) == (1, [-1, -1], ())
    assert found.x.shape == (2, 3, 5, 5)
    assert int(found.x[0].unique()) == 9
    assert found.x[1].float().mean() > 150
    grey = read_folder(tmp_path, (1, 5, 5), most=1)
    assert grey.x.shape == (1, 1, 5, 5)
    with pytest.raises(DataError, match="4 channels"):
        read_folder(tmp_path, (4, 5, 5), most=10)
