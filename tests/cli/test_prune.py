"""`prunery prune`: weights of every kind in, a smaller file out, an error that says what is wrong."""

import re

import pytest
import torch
from cli_kit import prunery as command
from safetensors.torch import save_file

import prunery
from prunery.data.sets import load
from prunery.data.splits import split
from prunery.measure.accuracy import evaluate
from prunery.models.build import build


def weights_in(folder, kind):
    model = build("resnet8", seed=3)
    state = model.state_dict()
    path = folder / f"w.{kind.partition(' ')[0]}"
    if kind == "safetensors":
        save_file(state, path)
    elif kind == "prunery":
        prunery.save(model, path)
    elif kind == "pt of DataParallel":
        torch.save(
            {"epoch": 3, "state_dict": {f"module.{name}": value for name, value in state.items()}}, path
        )
    else:
        torch.save(state, path)
    return model, path


@pytest.mark.parametrize("kind", ["safetensors", "prunery", "pt", "pt of DataParallel"])
def test_weights_go_to_the_number(kind, tmp_path):
    model, path = weights_in(tmp_path, kind)
    asked = ("prune", "resnet8", "--weights", path.name, "--sparsity", "90%", "-o", "out.prunery")
    status, out, errors, _ = command(*asked, cwd=tmp_path)
    assert (status, errors) == (0, "")
    masks = prunery.prune(model, 0.9)
    kept = sum(int(mask.sum()) for mask in masks.values())
    numbers = [line.split()[1].replace(",", "") for line in out.splitlines()[:-1]]
    assert sum(map(int, numbers)) == kept
    assert "x smaller" in out.splitlines()[-1]
    back = prunery.load(tmp_path / "out.prunery", into=build("resnet8", seed=9))
    for (name, one), (_, two) in zip(model.state_dict().items(), back.state_dict().items(), strict=True):
        assert torch.equal(one, two), name


def test_channels_are_cut_out(tmp_path):
    _, path = weights_in(tmp_path, "safetensors")
    asked = ("prune", "resnet8", "--weights", path.name, "--sparsity", "50%", "--granularity", "channel")
    status, out, _, _ = command(*asked, "-o", "out.prunery", cwd=tmp_path)
    assert status == 0
    assert "the channels are cut out" in out
    small = prunery.load(tmp_path / "out.prunery", into=build("resnet8", seed=9))
    assert sum(p.numel() for p in small.parameters()) < 0.4 * sum(
        p.numel() for p in build("resnet8").parameters()
    )
    assert small.eval()(torch.zeros(1, 3, 32, 32)).shape == (1, 10)


def test_a_criterion_that_looks_at_images(tmp_path):
    model = build("lenet300", shape=(1, 8, 8), classes=10, seed=1)
    save_file(model.state_dict(), tmp_path / "w.safetensors")
    asked = ("prune", "lenet300", "--shape", "1x8x8", "--weights", "w.safetensors", "--sparsity", "50%")
    asked = (*asked, "--criterion", "snip", "-o", "out.prunery")
    status, _, errors, _ = command(*asked, cwd=tmp_path)
    assert status == 2
    assert "batches" in errors
    status, out, _, _ = command(*asked, "--data", "digits", "--values", "int8", cwd=tmp_path)
    assert status == 0
    assert "x smaller" in out
    *_, last = out.splitlines()
    told = r"top-1 on digits test, 355 images: ([\d.]+) % before, ([\d.]+) % pruned, ([\d.]+) % in the file"
    before, pruned, file = map(float, re.fullmatch(told + r" \(int8\)", last).groups())
    images = digits_test()
    assert before == pytest.approx(evaluate(model, images).top1, abs=0.005)
    back = prunery.load(tmp_path / "out.prunery", into=build("lenet300", shape=(1, 8, 8), classes=10))
    assert file == pytest.approx(evaluate(back, images).top1, abs=0.005)
    assert abs(pruned - file) < 3


def digits_test():
    return split(load("digits"), seed=0).test


class Ran:
    """What a pickle would run."""

    def __reduce__(self):
        return print, ("it ran",)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (None, "there is no such file"),
        (b"no weights", "the weights w.pt"),
        (Ran(), "the weights w.pt"),
        ([1, 2], "it holds no state dict"),
        ({"fc.weight": torch.ones(2)}, "Missing key"),
    ],
    ids=["none", "text", "a pickle that runs", "a list", "another model"],
)
def test_what_holds_no_weights_of_the_model_is_refused(content, found, tmp_path):
    if isinstance(content, bytes):
        (tmp_path / "w.pt").write_bytes(content)
    elif content is not None:
        torch.save(content, tmp_path / "w.pt")
    asked = ("prune", "resnet8", "--weights", "w.pt", "--sparsity", "90%", "-o", "out.prunery")
    status, out, errors, _ = command(*asked, cwd=tmp_path)
    assert status == 2
    assert found in errors
    assert "it ran" not in out + errors
    assert not (tmp_path / "out.prunery").exists()
