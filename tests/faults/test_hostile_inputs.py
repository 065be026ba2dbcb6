"""Hostile inputs to every reader, a few each; benchmarks/faults.py gives hundreds."""

import os

import fault_inputs
import fault_watch
import pytest
from lab_kit import linux


@linux
def test_no_reader_is_brought_to_anything_but_an_error_of_the_library(tmp_path):
    found = fault_inputs.given(tmp_path, 3 * len(fault_inputs.READERS), 7)
    assert {one.reader for one in found} == set(fault_inputs.READERS)
    assert [f"{one.reader}, {one.what}: {one.problem}" for one in found if one.problem] == []


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
