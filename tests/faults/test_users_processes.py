"""A user's code may leave, block or move the process that it runs in: no run hangs, ends or moves with it."""

import os
import time
from io import StringIO
from pathlib import Path

import fault_calls
import pytest
from cli_kit import prunery
from engine_kit import log
from lab_kit import linux, planned
from rich.console import Console

from prunery.errors import ModelError, PruneryError
from prunery.factories import as_ours
from prunery.lab import progress
from prunery.lab.engines import apart, local
from prunery.lab.store import Store
from prunery.user_code import contained

MODEL = """
import os, sys
import torch
def model(shape, classes):
    {what}
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, classes))
"""
SPEC = """
task: {model: "mine:model", data: digits, training: {epochs: 1, optimizer: sgd, learning_rate: 0.1}}
methods: [{criterion: magnitude, recovery: none}]
sparsities: [0.5]
seeds: 1
controls: []
"""


def call(name, **told):
    apart.call(f"fault_calls:{name}", told, asked="a check", seconds=20)


@pytest.fixture(autouse=True)
def _kits(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "kits")


def test_a_call_apart_says_what_became_of_it():
    call("fine", value=[1, "a"])
    with pytest.raises(ModelError, match="it is none"):
        call("refuses")
    with pytest.raises(PruneryError, match=r"it raises ZeroDivisionError: as told"):
        call("raises")
    with pytest.raises(PruneryError, match="it raises SystemExit"):
        call("quits")


@linux
@pytest.mark.parametrize(
    ("name", "says"),
    [("leaves", "status 0"), ("aborts", "SIGABRT"), ("closes", "status 1"), ("forks", "status 3")],
)
def test_a_process_that_ends_without_a_word_is_explained(name, says, capfd):
    began = time.monotonic()
    with pytest.raises(PruneryError, match=rf"a check: .*gave no answer: .*{says}"):
        call(name)
    assert time.monotonic() - began < 15
    assert "Traceback" not in capfd.readouterr().err


def test_a_call_apart_finds_its_standard_input_empty():
    with pytest.raises(ModelError, match="it is empty"):
        call("reads")


def test_a_call_apart_may_take_so_long(monkeypatch):
    heard = []
    monkeypatch.setattr(apart, "QUIET_SECONDS", 0.3)
    with pytest.raises(PruneryError, match="took longer than 1 s"):
        apart.call("fault_calls:waits", {}, asked="a check", seconds=1, say=heard.append)
    assert heard
    assert all(text.startswith("nothing moved for 0 min: a check") for text in heard)


ENDINGS = {
    "os._exit(0)": "os._exit(0) was called",
    "os.abort()": "os.abort() was called",
    "__import__('ctypes').CDLL(None)._exit(0)": "checking the study before its run",
}


@linux
@pytest.mark.parametrize("what", list(ENDINGS))
def test_the_preflight_of_a_factory_that_ends_its_process_is_no_success(what, tmp_path):
    (tmp_path / "mine.py").write_text(MODEL.format(what=what))
    (tmp_path / "s.yaml").write_text(SPEC)
    status, _, errors, _ = prunery("run", "s.yaml", cwd=tmp_path)
    assert status == 2
    assert ENDINGS[what] in errors
    assert ("it ended with status 0" in errors) is ("ctypes" in what)
    assert not (tmp_path / "runs").exists()


def test_a_row_that_ends_the_process_when_it_is_imported_is_an_error(tmp_path):
    (tmp_path / "mine.py").write_text("from os import _exit\n_exit(0)\ndef row(e): return e.weight.abs()\n")
    spec = SPEC.replace("mine:model", "lenet300").replace("magnitude", "mine:row")
    (tmp_path / "s.yaml").write_text(spec)
    for command in ("plan", "run"):
        status, _, errors, _ = prunery(command, "s.yaml", cwd=tmp_path)
        assert status == 2, command
        assert "importing 'mine' raises SystemExit: os._exit(0) was called" in errors


def test_a_process_that_users_code_forks_ends_as_it_will():
    with contained():
        child = os.fork()
        if not child:
            os._exit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        with pytest.raises(SystemExit, match=r"os\._exit\(1\)"):
            os._exit(1)
    assert os._exit.__name__ == "_exit"


def test_a_factory_that_changes_the_folder_moves_nothing(tmp_path):
    (tmp_path / "else").mkdir()
    (tmp_path / "mine.py").write_text(MODEL.format(what=f"os.chdir({str(tmp_path / 'else')!r})"))
    (tmp_path / "s.yaml").write_text(SPEC)
    status, shown, errors, _ = prunery("run", "s.yaml", "--workers", 1, cwd=tmp_path)
    assert status == 0, errors
    assert sorted(os.listdir(tmp_path / "runs")) == ["store"]
    assert os.listdir(tmp_path / "else") == []
    assert "5 steps done" in shown


def test_the_folder_is_put_back(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store = Store("store")
    with contained():
        os.chdir("/")
    with pytest.raises(ModelError), as_ours("a model", "correct it", ModelError):
        fault_calls.moves_and_raises()
    assert Path.cwd() == tmp_path
    os.chdir("/")
    assert Store(store.root, create=False).root == tmp_path / "store"


def test_steps_that_change_the_folder_are_all_done(fake, store, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    outcome = local.run(planned(seeds=1), Store("store"), workers=1, work="fault_calls:moving")
    assert outcome.complete
    assert len(log(fake)) == len(outcome.done)


@linux
def test_steps_that_close_every_descriptor_fail_and_the_run_ends(fake, store, capfd):
    plan = planned(seeds=1, sparsities=[0.5], methods=[{"criterion": "magnitude"}])
    began = time.monotonic()
    outcome = local.run(plan, store, workers=1, work="fault_calls:closing")
    assert time.monotonic() - began < 20
    (failure,) = outcome.failed.values()
    assert failure.reason == "its worker died 3 times: it ended with status 1"
    assert list((store.root / "scratch").iterdir()) == []
    assert "Traceback" not in capfd.readouterr().err
    assert list((store.root / "scratch").iterdir()) == []


@linux
def test_a_step_may_take_so_long(fake, store):
    plan = planned(seeds=1, sparsities=[0.5], methods=[{"criterion": "magnitude"}])
    began = time.monotonic()
    outcome = local.run(plan, store, workers=1, work="fault_calls:long", step_timeout=1.0)
    assert time.monotonic() - began < 20
    (failure,) = outcome.failed.values()
    assert (failure.kind, failure.tries) == ("prune", 1)
    assert "took longer than 1 s (--step-timeout)" in failure.reason
    assert store.running() == []
    assert list((store.root / "scratch").iterdir()) == []
    with pytest.raises(PruneryError, match="no step is as fast"):
        local.run(plan, store, step_timeout=0.0)


def test_a_run_in_which_nothing_moves_says_so_and_names_the_steps(monkeypatch):
    plan, out = planned(seeds=1), StringIO()
    shown = progress.Shown(Console(file=out, width=100))
    shown.begin(plan, plan.steps)
    step = next(step for step in plan.steps.values() if step.kind == "train")
    shown.started(step)
    now = time.monotonic()
    monkeypatch.setattr(progress.time, "monotonic", lambda: now + 599)
    shown.advanced(step, 1.0)
    monkeypatch.setattr(progress.time, "monotonic", lambda: now + 1198)
    shown.advanced(step, 1.0)
    shown.tick()
    assert "nothing moved" not in out.getvalue()
    monkeypatch.setattr(progress.time, "monotonic", lambda: now + 1200)
    shown.tick()
    shown.tick()
    assert out.getvalue().count("nothing moved for 10 min | train, dense, seed 0 1.0/2") == 1
