"""What tuning finds, kept on disk: used again, by any number of processes, and never believed blindly."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from runtime_kit import apart, drawn, pruned
from torch import nn

import prunery
from prunery.runtime import callable as module
from prunery.runtime import tune, tuned
from prunery.runtime.products import Variant

SITUATION = ["processor", 1, [3, 3]]


@pytest.fixture(autouse=True)
def _sparse_wins(monkeypatch):
    monkeypatch.setattr(module, "GAIN", 0.0)


def net():
    return pruned(nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Conv2d(16, 16, 3), nn.ReLU()), 0.9)


def files():
    return sorted((Path(os.environ["PRUNERY_CACHE"]) / "tuned").iterdir())


def test_what_is_kept_is_known():
    assert tuned.known(SITUATION) is None
    tuned.keep(SITUATION, Variant(4, 16, 1, 32), 0.5, 0.75)
    assert tuned.known(SITUATION) == ([4, 16, 1, 32], 0.5, 0.75)
    assert tuned.known([*SITUATION, 2]) is None
    tuned.keep(SITUATION, Variant(2, 8, 2, 16), 0.25, 0.75)
    assert tuned.known(SITUATION) == ([2, 8, 2, 16], 0.25, 0.75)


@pytest.mark.parametrize(
    "change",
    [
        {"variant": [4, 16, 1]},
        {"variant": [4, 16, 0, 32]},
        {"variant": [4, 16, 1, 1e9]},
        {"variant": "4444"},
        {"sparse": "nan"},
        {"dense": None},
        {"situation": ["another", 1, [3, 3]]},
    ],
)
def test_impossible_contents_are_not_believed(change):
    tuned.keep(SITUATION, Variant(4, 16, 1, 32), 0.5, 0.75)
    content = json.loads(files()[0].read_text())
    files()[0].write_text(json.dumps({**content, **change}))
    assert tuned.known(SITUATION) is None


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b"3"])
def test_damaged_files_are_not_believed(content):
    tuned.keep(SITUATION, Variant(4, 16, 1, 32), 0.5, 0.75)
    files()[0].write_bytes(content)
    assert tuned.known(SITUATION) is None


def test_a_folder_that_cannot_be_written(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PRUNERY_CACHE", str(tmp_path / "file"))
    tuned.keep(SITUATION, Variant(4, 16, 1, 32), 0.5, 0.75)
    assert tuned.known(SITUATION) is None


def test_a_second_callable_tries_nothing(kernels, monkeypatch):
    model, x = net(), drawn(2, 3, 12, 12)
    first = prunery.sparse_callable(model, x)
    monkeypatch.setattr(tune.Tuner, "_quickest", lambda *_: pytest.fail("it was tried again"))
    second = prunery.sparse_callable(model, x)
    assert [r.runs for r in second.report().rows] == [r.runs for r in first.report().rows]
    assert torch.equal(first(x), second(x))


def test_a_variant_that_nobody_would_try_is_not_believed(kernels):
    model, x = net(), drawn(2, 3, 12, 12)
    prunery.sparse_callable(model, x)
    before = [path.read_text() for path in files()]
    for path in files():
        path.write_text(json.dumps({**json.loads(path.read_text()), "variant": [1000, 16, 1 << 20, 5]}))
    fast = prunery.sparse_callable(model, x)
    with torch.no_grad():
        assert apart(fast(x), model(x)) < 1e-5
    assert len(files()) == len(before)
    assert all("1048576" not in path.read_text() for path in files())


CODE = """
import sys, torch
sys.path.insert(0, sys.argv[1])
from test_tuned import drawn, module, net, prunery, apart
module.GAIN = 0.0
torch.set_num_threads(1)
model, x = net(), drawn(2, 3, 12, 12)
with torch.no_grad():
    for _ in range(2):
        assert apart(prunery.sparse_callable(model, x)(x), model(x)) < 1e-5
"""


def test_two_processes_at_once(kernels):
    here, kits = Path(__file__).parent, Path(__file__).parent.parent / "kits"
    paths = os.pathsep.join([str(kits), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-c", CODE, str(here)]
    environment = {**os.environ, "PYTHONPATH": paths}
    both = [subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    for process in both:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    assert files()
    assert all(len(json.loads(path.read_text())["variant"]) == 4 for path in files())
    assert not [path for path in files() if path.suffix != ".json"]
