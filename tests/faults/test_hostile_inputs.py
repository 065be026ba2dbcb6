"""Hostile inputs to every reader, a few each; benchmarks/faults.py gives hundreds."""

import os
import subprocess
import sys
from pathlib import Path

import fault_inputs
import fault_watch
import pytest
from lab_kit import linux

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "faults.py"


@linux
def test_no_reader_is_brought_to_anything_but_an_error_of_the_library():
    """In a process of its own: what this one has in memory counts for those that fork off it."""
    asked = ["--faults", "0", "--inputs", str(2 * len(fault_inputs.READERS)), "--seed", "7"]
    done = subprocess.run(
        [sys.executable, str(BENCHMARK), *asked], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    assert f"{len(fault_inputs.READERS)} readers, 0 ended wrongly" in done.stdout


@linux
@pytest.mark.parametrize(
    ("read", "says"),
    [
        (lambda: 1 // 0, "ZeroDivisionError"),
        (lambda: open("../outside", "w").close(), "outside"),
        (lambda: os.system("true"), "os.system"),
        (lambda: len(b"1" * (600 << 20)), "MB"),
        (lambda: sum(range(10**8)), " s and "),
        (lambda: os.abort(), "ended with"),
    ],
    ids=["raw error", "writes", "runs", "memory", "time", "abort"],
)
def test_what_a_reader_must_not_do_is_seen(tmp_path, monkeypatch, read, says):
    monkeypatch.setattr(fault_watch, "MOST_SECONDS", 1.0)
    assert says in fault_watch.watched(tmp_path / "x", "a reader", lambda draw: read, 0).problem
