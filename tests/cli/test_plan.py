"""What `plan` tells beside the steps, and when `run` asks."""

import os

import pytest
import yaml
from cli_kit import prunery
from lab_kit import raw

TRAINING = {"epochs": 1, "optimizer": "sgd", "learning_rate": 0.1}
MODEL = """
import torch
def net(shape, classes):
    open("ran", "w").close()
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, classes))
"""


def study(folder, *, epochs=1, **changes):
    """A study's file in the folder, with so many epochs."""
    task = {**raw()["task"], "training": {**TRAINING, "epochs": epochs}, **changes.pop("task", {})}
    (folder / "s.yaml").write_text(yaml.safe_dump(raw(task=task, seeds=1, **changes)))
    return "s.yaml"


def test_a_plan_tells_hours_disk_controls_and_budgets(tmp_path):
    name = study(tmp_path, controls=["random"])
    status, out, errors, torch = prunery("plan", name, "--workers", 2, cwd=tmp_path)
    assert (status, errors, torch) == (0, "", False)
    assert "with 2 workers, and 2 MB in the store, measured here by a few training steps" in out
    assert "only the controls (random) need 4 of these epochs (40 %)" in out
    assert "--set controls=[]" in out
    assert "epochs in all are 2 for magnitude; 1 for snip" in out
    assert "1 seed can show no difference" in out
    assert "--scale full" not in out
    assert os.listdir(tmp_path) == [name]


def test_no_timing_tells_no_hours(tmp_path):
    status, out, _, _ = prunery("plan", study(tmp_path), "--no-timing", cwd=tmp_path)
    assert status == 0
    assert "about" not in out


def test_a_plan_runs_code_of_a_users_own_only_when_told_to(tmp_path):
    (tmp_path / "mine.py").write_text(MODEL)
    name = study(tmp_path, task={"model": "mine:net"})
    status, out, _, _ = prunery("plan", name, cwd=tmp_path)
    assert status == 0
    assert "hours are not known: plan runs your code only with --timing" in out
    assert not (tmp_path / "ran").exists()
    status, out, _, _ = prunery("plan", name, "--timing", cwd=tmp_path)
    assert "measured here by a few training steps" in out
    (tmp_path / "mine.py").write_text("def net(): raise ValueError('no luck')\n")
    status, out, _, _ = prunery("plan", name, "--timing", cwd=tmp_path)
    assert status == 0
    assert "hours are not known: " in out
    assert "no luck" in out


def test_a_named_study_tells_what_full_takes(tmp_path):
    status, out, _, _ = prunery("plan", "study:channels", "--no-timing", cwd=tmp_path)
    assert status == 0
    assert out.startswith("study channels-cpu: ")
    assert "at --scale full: 1350 epochs of training" in out
    _, out, _, _ = prunery("plan", "study:channels", "--no-timing", "--scale", "cpu", cwd=tmp_path)
    assert "--scale full" not in out


@pytest.mark.parametrize("own", [False, True])
def test_a_long_run_off_a_terminal_needs_yes(tmp_path, own):
    (tmp_path / "mine.py").write_text(MODEL)
    name = study(tmp_path, epochs=10_000_000, task={"model": "mine:net"} if own else {})
    status, _, errors, _ = prunery("run", name, "--store", "s", "--workers", 2, cwd=tmp_path)
    assert status == 2
    assert errors.startswith("error: running s.yaml: it takes about ")
    assert " h with 2 workers, and " in errors
    assert " in the store. Add --yes to run it" in errors
    assert not (tmp_path / "s").exists()


def test_a_run_with_yes_is_not_asked_and_a_short_one_says_nothing_more(tmp_path):
    name = study(tmp_path, methods=[{"criterion": "snip"}], sparsities=[0.5])
    status, out, errors, _ = prunery("run", name, "--store", "s", "--workers", 1, cwd=tmp_path)
    assert (status, errors) == (0, "")
    lines = [line.split(",")[0] for line in out.splitlines()]
    assert lines == ["study small: 6 of 6 steps to do", "6 steps done", "see it: prunery report s -o report"]
    huge = study(tmp_path, epochs=10_000_000)
    told = ("--yes", "--step-timeout", "0.001", "--set", "methods.0.criterion=random")
    status, _, errors, _ = prunery("run", huge, "--store", "t", "--workers", 1, *told, cwd=tmp_path)
    assert status == 1, "it began, and each step took too long"
    assert "failed: init" in errors
