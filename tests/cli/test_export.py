"""`prunery export`: a model, a finished run or a kept network in; a checked file and its accuracy out."""

import re

import pytest
import torch
from cli_kit import prunery as command
from safetensors.torch import load_file, save_file

import prunery
from prunery.models.build import build

SPEC = """
task: {model: lenet300, data: digits, training: {epochs: 6, optimizer: sgd, learning_rate: 0.1}}
methods: [{criterion: magnitude, recovery: none}]
sparsities: [50%]
seeds: 1
controls: []
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a finished run, with its best network in `best`, and that network's key."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "s.yaml").write_text(SPEC)
    assert command("run", "s.yaml", "--store", "store", "--workers", "1", cwd=folder)[0] == 0
    status, out, _, _ = command("best", "store", "-o", "best", "--within", "90", cwd=folder)
    assert status == 0
    return folder, re.search(r"\(([0-9a-f]{8,})\)", out).group(1)


def accuracies(out):
    return re.search(
        r"top-1 on digits test, 355 images: ([\d.]+) % masked, ([\d.]+) % in the file", out
    ).groups()


def test_a_run_and_its_best_network_in_two_formats(run):
    folder, key = run
    asked = ("export", key[:10], "--store", "store", "--to", "prunery", "-o", "small", "--values", "int8")
    status, out, errors, _ = command(*asked, cwd=folder)
    assert (status, errors) == (0, "")
    assert "differ by at most" in out
    masked, int8 = accuracies(out)
    assert abs(float(masked) - float(int8)) < 3
    status, out, errors, _ = command("export", "best", "--to", "safetensors", "-o", "plain", cwd=folder)
    assert (status, errors) == (0, "")
    assert "outputs are equal" in out
    assert accuracies(out) == (masked, masked)
    plain, small = load_file(folder / "plain"), prunery.load(folder / "small")
    assert plain.keys() == small.keys()
    assert all(torch.allclose(plain[name], small[name], atol=0.01) for name in plain)
    kept, total = (sum(f(value) for value in plain.values()) for f in (torch.count_nonzero, torch.numel))
    assert 0.45 < kept / total < 0.55


def test_a_model_with_weights(tmp_path):
    model = build("lenet300", shape=(1, 8, 8), classes=10, seed=1)
    prunery.prune(model, "90%")
    save_file(model.state_dict(), tmp_path / "w.safetensors")
    asked = ("export", "lenet300", "--weights", "w.safetensors", "--shape", "1x8x8", "--classes", "10")
    status, out, errors, _ = command(*asked, "--to", "pt2", "-o", "n.pt2", cwd=tmp_path)
    assert (status, errors) == (0, "")
    assert "top-1" not in out
    x = torch.randn(3, 1, 8, 8)
    with torch.no_grad():
        found = torch.export.load(str(tmp_path / "n.pt2")).module()(x)
        assert torch.allclose(found, model.eval()(x), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        (("lenet300", "--to", "pt2"), "no weights are given"),
        (("lenet300", "--to", "pt2", "--weights", "none"), "no such file"),
        (("lenet30", "--to", "pt2"), "did you mean 'lenet300'"),
        (("abc", "--to", "pt2", "--store", "store"), "no step's key begins so"),
        (("best", "--to", "onxx"), "did you mean 'onnx'"),
        (("best", "--to", "pt2", "--data", "mnist"), "the run is on digits"),
        (("best", "--to", "pt2", "--split", "train"), "choose test, validation"),
        (("store", "--to", "pt2"), "record.json"),
        (("best", "--to", "pt2", "-o", "no/where"), "no folder"),
    ],
)
def test_what_cannot_be_is_said(asked, found, run):
    folder, _ = run
    there = sorted(folder.iterdir())
    status, _, errors, _ = command("export", "-o", "out", *asked, cwd=folder)
    assert status == 2
    assert found.lower() in errors.lower()
    assert sorted(folder.iterdir()) == there


def test_errors_and_help_come_without_torch(run):
    folder, _ = run
    assert command("export", "--help", cwd=folder)[3] is False
    assert command("export", "lenet300", "--to", "pt2", "-o", "x", cwd=folder)[3] is False
