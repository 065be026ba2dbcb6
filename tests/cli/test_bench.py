"""`prunery bench`: a table, the reasons for what is not there, a verdict, and every number as JSON."""

import json

import pytest
from cli_kit import prunery as command

import prunery
from prunery.models.build import build


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the weights of a dense and of a pruned network."""
    folder = tmp_path_factory.mktemp("bench")
    model = build("lenet300", shape=(1, 8, 8), classes=10, seed=1)
    prunery.save(model, folder / "dense.prunery")
    prunery.prune(model, "95%")
    prunery.save(model, folder / "pruned.prunery")
    return folder


def test_a_table_and_a_verdict(folder):
    asked = (
        "bench",
        "lenet300",
        "--weights",
        "pruned.prunery",
        "--dense",
        "dense.prunery",
        "--data",
        "digits",
    )
    more = ("--forms", "torch_script, sparse", "--rounds", "3", "--json", "all.json")
    status, out, errors, _ = command(*asked, *more, cwd=folder)
    assert (status, errors) == (0, "")
    first, _, head, dense, masked, *_, verdict = out.splitlines()
    assert "batch 1, 1 thread(s), 3 rounds in turns; top-1 on digits test, 355 images" in first
    assert head.split()[0] == "form"
    assert [dense.split()[0], masked.split()[0]] == ["dense", "masked"]
    assert verdict.endswith(".")
    data = json.loads((folder / "all.json").read_text())
    assert data["verdict"] == verdict
    assert {"dense", "masked", "TorchScript"} <= data["forms"].keys()
    assert data["forms"].keys() | data["missing"].keys() >= {"compacted", "sparse callable"}
    assert data["forms"]["dense"]["images"] == data["forms"]["TorchScript"]["images"] == 355


def test_several_sizes_of_the_batch(folder):
    asked = ("lenet300", "--weights", "pruned.prunery", "--data", "digits", "--batch", "1, 7")
    more = ("--forms", "sparse", "--rounds", "3", "--json", "sizes.json")
    status, out, errors, _ = command("bench", *asked, *more, cwd=folder)
    assert (status, errors) == (0, "")
    assert "batch 1 and 7, 1 thread(s)" in out.splitlines()[0]
    assert [line for line in out.splitlines() if line.startswith("batch")] == ["batch 1", "batch 7"]
    masked = [line.split() for line in out.splitlines() if line.startswith("masked")]
    assert masked[0][-2] == masked[1][-2]  # the accuracy, which is counted once
    one, seven = json.loads((folder / "sizes.json").read_text())["batches"]
    assert (one["batch"], seven["batch"]) == (1, 7)
    assert one["forms"]["masked"]["top1"] == seven["forms"]["masked"]["top1"] > 0
    assert one["forms"]["masked"]["wall_ms"] != seven["forms"]["masked"]["wall_ms"]


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        (("lenet300",), "no weights are given"),
        (("lenet300", "--weights", "pruned.prunery", "--dense", "none"), "no such file"),
        (("lenet300", "--weights", "pruned.prunery", "--rounds", "0"), "rounds"),
        (("lenet300", "--weights", "pruned.prunery", "--batch", "1,0"), "no list of sizes"),
        (("lenet300", "--weights", "pruned.prunery", "--data", "digit"), "did you mean 'digits'"),
    ],
)
def test_what_cannot_be_is_said_without_torch(asked, found, folder):
    status, _, errors, torch = command("bench", *asked, cwd=folder)
    assert status == 2
    assert found in errors
    assert not torch


def test_an_unknown_form(folder):
    asked = ("lenet300", "--weights", "pruned.prunery", "--shape", "1x8x8", "--forms", "spars")
    status, _, errors, _ = command("bench", *asked, cwd=folder)
    assert status == 2
    assert "did you mean 'sparse'" in errors
