"""`prunery sensitivity`: from a file, from a step, untrained; what it refuses, and without torch."""

import csv
import os
import shutil

import pytest
import yaml
from cli_kit import prunery
from lab_kit import ONE_EPOCH, raw
from safetensors.torch import load_file, save_model

from prunery.data.sets import load
from prunery.data.splits import split
from prunery.lab.store import Store
from prunery.measure.accuracy import evaluate
from prunery.models.build import build

SCAN = ("sensitivity", "lenet300", "--data", "digits", "-o", "out")


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """A folder with a small store `s`."""
    folder = tmp_path_factory.mktemp("ran")
    spec = raw(task=ONE_EPOCH, methods=[{"criterion": "magnitude"}], sparsities=[0.9], seeds=[3])
    (folder / "quick.yaml").write_text(yaml.safe_dump(spec))
    status, *_ = prunery("run", "quick.yaml", "--store", "s", "--workers", 1, cwd=folder)
    assert status == 0
    return folder


def key_of(folder, kind):
    store = Store(folder / "s", create=False)
    return next(key for key in store.finished() if store.record(key).kind == kind)


def rows(folder):
    with (folder / "out" / "sensitivity.csv").open() as file:
        return list(csv.DictReader(file))


def test_a_file_of_weights(tmp_path):
    model = build("lenet300", shape=(1, 8, 8), classes=10, seed=5)
    save_model(model, str(tmp_path / "w.safetensors"))
    args = (*SCAN, "--weights", "w.safetensors", "--sparsities", "50%,0.9", "--exclude", "@output")
    status, out, errors, _ = prunery(*args, "--images", 50, "--criterion", "snip", cwd=tmp_path)
    assert (status, errors) == (0, "")
    scanned = rows(tmp_path)
    weights = model.state_dict()
    names = [name for name in weights if name.endswith("weight")][:2]
    assert [(r["layer"], r["sparsity"]) for r in scanned[1:]] == [
        (n, s) for n in names for s in ("0.5", "0.9")
    ]
    assert {r["total"] for r in scanned} == {"50"}
    assert scanned[1]["kept"] == str(weights[names[0]].numel() // 2)
    assert "each layer pruned alone" in out
    assert "50 validation images, weights: w.safetensors" in " ".join(out.split())
    assert sorted(os.listdir(tmp_path / "out")) == [
        f"sensitivity.{kind}" for kind in ("csv", "md", "png", "svg")
    ]


def test_a_step_is_measured_on_the_validation_images_of_its_own_seed(ran, tmp_path):
    key = key_of(ran, "train")
    args = (*SCAN, "--store", ran / "s", "--key", key[:9], "--sparsities", "90%")
    assert prunery(*args, cwd=tmp_path)[0] == 0
    model = build("lenet300", shape=(1, 8, 8), classes=10)
    model.load_state_dict(load_file(ran / "s" / "steps" / key / "weights.safetensors"))
    counts = evaluate(model, split(load("digits"), seed=3).validation)
    first = rows(tmp_path)[0]
    assert (first["correct"], first["total"]) == (str(counts.correct1), str(counts.total))
    assert counts.correct1 != evaluate(model, split(load("digits"), seed=0).validation).correct1


def test_a_pruned_step_is_scanned_as_it_is(ran, tmp_path):
    args = (*SCAN, "--store", ran / "s", "--key", key_of(ran, "prune"), "--sparsities", "10%,99.9%")
    status, out, _, _ = prunery(*args, cwd=tmp_path)
    assert status == 0
    scanned = rows(tmp_path)
    assert int(scanned[0]["kept"]) == round(0.1 * int(scanned[0]["weights"]))
    assert "the layer was sparser before" in out


def test_untrained_only_when_asked(tmp_path):
    status, _, errors, torch_there = prunery(*SCAN, cwd=tmp_path)
    assert (status, torch_there) == (2, False)
    assert "no weights are given" in errors
    assert "--untrained" in errors
    status, out, _, _ = prunery(*SCAN, "--untrained", "--sparsities", "90%", "--seed", 4, cwd=tmp_path)
    assert status == 0
    assert "weights: untrained, seed 4" in " ".join(out.split())


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (("lenet30", "--data", "digits", "--untrained"), "did you mean 'lenet300'"),
        (("lenet300", "--data", "digit", "--untrained"), "none of that name"),
        (("lenet300", "--data", "digits", "--weights", "w"), "there is no such file"),
        (("lenet300", "--data", "digits", "--untrained", "--key", "0"), "more than one of"),
        (("lenet300", "--data", "digits", "--key", "0", "--store", "no"), "there is none"),
        (("lenet300", "--data", "digits", "--untrained", "--sparsities", "50%,150%"), "150%"),
        (("lenet300", "--data", "digits", "--untrained", "--criterion", "snipp"), "did you mean 'snip'"),
        (("lenet300", "--data", "digits", "--untrained", "--granularity", "filters"), "'filter'"),
        (("lenet300", "--data", "digits", "--untrained", "--images", "0"), "--images"),
        (("lenet300",), "Missing option"),
    ],
)
def test_what_is_wrong_is_said_without_torch(tmp_path, args, expected):
    status, out, errors, torch_there = prunery("sensitivity", *args, "-o", "out", cwd=tmp_path)
    assert (status, out, torch_there) == (2, "", False)
    assert expected in errors
    assert os.listdir(tmp_path) == []


def test_a_step_that_holds_another_network(ran, tmp_path):
    args = ("sensitivity", "fc", "--data", "digits", "--store", ran / "s", "--key", key_of(ran, "train"))
    status, _, errors, torch_there = prunery(*args, "-o", "out", cwd=tmp_path)
    assert (status, torch_there) == (2, False)
    assert "it is lenet300 on digits" in errors


def test_a_key_of_a_table_names_the_network_that_was_measured(ran, tmp_path):
    common = ("sensitivity", "lenet300", "--data", "digits", "--store", ran / "s", "--sparsities", "0.9")
    key = key_of(ran, "measure")
    parent = Store(ran / "s", create=False).record(key).parents[0]
    for folder, named in (("a", key), ("b", parent)):
        status, _, errors, _ = prunery(*common, "--key", named, "-o", folder, cwd=tmp_path)
        assert status == 0, errors
    tables = [(tmp_path / folder / "sensitivity.csv").read_text() for folder in "ab"]
    assert tables[0] == tables[1]


def test_an_altered_file_is_said_to_be_one(ran, tmp_path):
    shutil.copytree(ran / "s", tmp_path / "s")
    key = key_of(ran, "train")
    (tmp_path / "s" / "steps" / key / "weights.safetensors").write_bytes(b"altered")
    args = ("sensitivity", "lenet300", "--data", "digits", "--store", "s", "--key", key, "-o", "out")
    status, _, errors, _ = prunery(*args, cwd=tmp_path)
    assert status == 2
    assert "was altered" in " ".join(errors.split())


def test_what_a_model_raises_is_one_sentence(tmp_path):
    lines = [
        "from torch import nn",
        "class Net(nn.Module):",
        "    def __init__(self):",
        "        super().__init__()",
        "        self.fc = nn.Linear(63, 10)",
        "    def forward(self, x):",
        "        return self.fc(x.flatten(1))",
    ]
    (tmp_path / "own_net.py").write_text("\n".join(lines))
    args = ("sensitivity", "own_net:Net", "--data", "digits", "--untrained", "-o", "out")
    status, _, errors, _ = prunery(*args, cwd=tmp_path)
    assert status == 2
    assert "it raised RuntimeError" in " ".join(errors.split())
    assert "Traceback" not in errors


def test_what_only_the_network_can_tell(tmp_path):
    other = build("fc", shape=(1, 8, 8), classes=10)
    save_model(other, str(tmp_path / "fc.safetensors"))
    (tmp_path / "text.safetensors").write_text("no tensors")
    for more, expected in (
        (("--weights", "fc.safetensors"), "give the weights of lenet300 for digits"),
        (("--weights", "text.safetensors"), "saved as safetensors"),
        (("--untrained", "--exclude", "conv9"), "matches no layer"),
        (("--untrained", "--images", 5000), "ask for 10 to"),
        (("--untrained", "--validation", 0), "is empty"),
    ):
        status, _, errors, _ = prunery(*SCAN, *more, cwd=tmp_path)
        assert status == 2, more
        assert expected in errors.replace("Give", "give").replace("Ask", "ask"), more
    assert not (tmp_path / "out").exists()
    (tmp_path / "out").write_text("a file")
    status, _, errors, _ = prunery(*SCAN, "--untrained", cwd=tmp_path)
    assert (status, "no folder" in errors) == (2, True)


def test_help_answers_without_torch(tmp_path):
    status, out, _, torch_there = prunery("sensitivity", "--help", cwd=tmp_path)
    assert (status, torch_there) == (0, False)
    assert "--granularity" in out
