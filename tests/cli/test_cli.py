"""The command line: what it prints, its exit status, and what it does not import."""

import json
import os
import shutil

import pytest
import yaml
from cli_kit import prunery
from lab_kit import ONE_EPOCH, raw

QUICK = {
    "task": {**raw()["task"], "training": {"epochs": 1, "optimizer": "sgd", "learning_rate": 0.1}},
    "sparsities": [0.5, 0.9],
    "seeds": 1,
}


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """A folder where a small study ran: its spec `quick.yaml`, its store `s`; and what the run said."""
    folder = tmp_path_factory.mktemp("ran")
    data = {k: v for k, v in raw(**QUICK).items() if k != "name"}
    (folder / "quick.yaml").write_text(yaml.safe_dump(data))
    done = prunery("run", "quick.yaml", "--store", "s", "--workers", 2, cwd=folder)
    return folder, done


def test_a_study_that_replaces_a_larger_one_says_so(ran, tmp_path):
    folder, _ = ran
    for name in ("quick.yaml", "s"):
        copy = shutil.copytree if (folder / name).is_dir() else shutil.copyfile
        copy(folder / name, tmp_path / name)
    same = prunery("run", "quick.yaml", "--store", "s", cwd=tmp_path)
    less = prunery("run", "quick.yaml", "--store", "s", "--set", "sparsities=[0.5]", cwd=tmp_path)
    assert (same[0], less[0]) == (0, 0)
    assert "note: " not in same[1]
    assert "leaves out 2 finished cells of the study quick as it was" in " ".join(less[1].split())


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (["--help"], "Usage: prunery"),
        (["run", "--help"], "--workers"),
        (["plan", "study:demo", "--no-timing"], "75 pruned cells and 6 controls, from 3 dense trainings"),
        (
            ["plan", "study:demo", "--no-timing", "--set", "seeds=1"],
            "25 pruned cells and 2 controls, from 1 dense trainings",
        ),
    ],
)
def test_what_needs_no_model_answers_without_torch(tmp_path, args, expected):
    before = os.times()
    status, out, _, torch = prunery(*args, cwd=tmp_path)
    after = os.times()
    assert (status, torch) == (0, False)
    assert expected in out
    processor = after.children_user + after.children_system - before.children_user - before.children_system
    assert processor < 1, "seconds"
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (["run", "nowhere.yaml"], "there is no such file"),
        (["run", "study:demo", "--set", "sparsities=[1.5]"], "sparsities[0]: sparsity 1.5"),
        (["plan", "study:dem"], "did you mean 'demo'"),
        (["status", "--store", "nowhere"], "there is none"),
        (["why", "0123", "--store", "nowhere"], "there is none"),
        (["report", "nowhere", "-o", "out"], "there is none"),
        (["report"], "Missing argument"),
        (["run", "study:demo", "--workers", "0"], "--workers"),
        (["runn"], "No such command"),
    ],
)
def test_what_is_wrong_ends_with_status_2_and_no_traceback(tmp_path, args, expected):
    status, out, errors, torch = prunery(*args, cwd=tmp_path)
    assert (status, out, torch) == (2, "", False)
    assert expected in errors
    assert os.listdir(tmp_path) == []


def test_a_run_says_what_it_did_and_a_second_one_does_nothing(ran):
    folder, (status, out, _, _) = ran
    assert status == 0
    # init, train, 4 cuts, 4 recoveries and 1 extra training, 4 pruned and 2 dense measurements
    assert "17 steps done, 0 were there" in " ".join(out.split())
    status, out, _, torch = prunery("run", "quick.yaml", "--store", "s", cwd=folder)
    assert (status, torch) == (0, False), "nothing to do, nothing to import"
    assert "0 steps done, 17 were there" in out


def test_plan_knows_what_is_done_and_how_long_the_rest_takes(ran):
    folder, _ = ran
    status, out, _, torch = prunery("plan", "quick.yaml", "--store", "s", "--set", "seeds=2", cwd=folder)
    assert (status, torch) == (0, False)
    assert "12 epochs of training (6 more if nothing were shared)" in out
    assert "6 epochs to do" in out
    assert "by the store's records" in out


def test_status_and_report(ran, tmp_path):
    folder, _ = ran
    status, out, _, torch = prunery("status", "--store", "s", cwd=folder)
    assert (status, torch) == (0, False)
    assert "study quick: 17 of 17 steps done" in out
    status, out, _, torch = prunery("report", "s", "-o", tmp_path / "r", cwd=folder)
    assert (status, torch) == (0, False)
    assert (tmp_path / "r" / "cells.csv").exists()
    assert "magnitude" in out


def record_of(folder, kind):
    """The first record of that kind in the store `s`, as plain data."""
    for path in sorted((folder / "s" / "steps").glob("*/record.json")):
        record = json.loads(path.read_text())["record"]
        if record["kind"] == kind:
            return record
    raise AssertionError(kind)


def test_why_tells_where_a_number_comes_from(ran):
    folder, _ = ran
    measured = record_of(folder, "measure")
    status, out, _, torch = prunery("why", measured["key"][:10], "--store", "s", cwd=folder)
    assert (status, torch) == (0, False)
    assert measured["key"] in out
    assert measured["parents"][0] in out
    assert " of 355" in out
    status, out, _, _ = prunery("why", measured["key"], "--json", "--store", "s", cwd=folder)
    assert json.loads(out)["record"] == measured
    status, _, errors, _ = prunery("why", "", "--store", "s", cwd=folder)
    assert status == 2
    assert "17 begin so" in errors


def test_a_report_of_a_spec_is_that_of_its_study(ran, tmp_path):
    store, spec = ran[0] / "s", ran[0] / "quick.yaml"
    status, _, errors, _ = prunery("report", spec, "--store", store, "-o", "r", cwd=tmp_path)
    assert status == 0, errors
    assert prunery("report", store, "-o", "q", cwd=tmp_path)[0] == 0
    assert (tmp_path / "r" / "cells.csv").read_bytes() == (tmp_path / "q" / "cells.csv").read_bytes()


def test_why_of_a_step_whose_files_are_gone(ran, tmp_path):
    shutil.copytree(ran[0] / "s", tmp_path / "s")
    train = record_of(tmp_path, "train")["key"]
    (tmp_path / "s" / "steps" / train / "weights.safetensors").unlink()
    status, _, errors, _ = prunery("why", train, "--store", "s", cwd=tmp_path)
    assert status == 2
    assert "files that it names are not" in " ".join(errors.split())


def test_a_finished_study_of_other_code_is_not_gone_on_with(tmp_path):
    net = tmp_path / "own_net.py"
    net.write_text(
        "from torch import nn\ndef net():\n    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))\n"
    )
    spec = raw(task={**ONE_EPOCH, "model": "own_net:net"}, sparsities=[0.5], seeds=1)
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(spec))
    run = ("run", "own.yaml", "--store", "s", "--workers", 1)
    assert prunery(*run, cwd=tmp_path)[0] == 0
    net.write_text("# a remark\n" + net.read_text())
    assert prunery(*run, cwd=tmp_path)[0] == 0
    net.write_text(net.read_text().replace("Linear(64, 10)", "Linear(64, 10, bias=False)"))
    status, _, errors, _ = prunery(*run, cwd=tmp_path)
    assert status == 2
    assert "the code of that model has changed since" in " ".join(errors.split())


def test_a_step_that_fails_is_said_and_status_is_1(ran, tmp_path):
    shutil.copytree(ran[0] / "s", tmp_path / "s")
    shutil.copy(ran[0] / "quick.yaml", tmp_path)
    train = record_of(tmp_path, "train")["key"]
    (tmp_path / "s" / "steps" / train / "weights.safetensors").write_bytes(b"altered")
    args = ("run", "quick.yaml", "--store", "s", "--workers", 1, "--set", "sparsities=[0.5, 0.9, 0.95]")
    status, out, errors, _ = prunery(*args, cwd=tmp_path)
    text = " ".join(errors.split())
    assert status == 1
    assert "3 steps done, 17 were there" in " ".join(out.split()), "snip needs no trained network"
    assert "failed: prune, magnitude 95%, seed 0" in text
    assert "not done, because a step before it failed: recover, magnitude 95%, seed 0" in text
    status, out, _, _ = prunery("status", "--store", "s", cwd=tmp_path)
    assert status == 1
    assert "was altered" in out
    key = next((tmp_path / "s" / "failed").iterdir()).stem
    status, out, _, _ = prunery("why", key[:8], "--store", "s", cwd=tmp_path)
    assert status == 1
    assert "was altered" in out
    status, out, _, _ = prunery("report", "s", "-o", "r", cwd=tmp_path)
    assert status == 1
    assert "failed" in out


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("methods.0.exclude=[conv9]", "conv9"),
        ("task.model=lab_nets:raises", "no such luck"),
    ],
)
def test_what_needs_the_model_is_said_before_any_training(ran, tmp_path, override, expected):
    spec = ran[0] / "quick.yaml"
    status, _, errors, _ = prunery("run", spec, "--store", "s", "--set", override, cwd=tmp_path)
    assert status == 2
    assert expected in errors
    assert not (tmp_path / "s").exists()  # nothing is left behind
