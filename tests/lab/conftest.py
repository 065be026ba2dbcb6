"""Fixtures of the lab's tests: an empty store, and the folder that pretended work listens to."""

import pytest

from prunery.lab.store import Store


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """The folder that tells the pretended work what to do."""
    folder = tmp_path / "fake"
    folder.mkdir()
    monkeypatch.setenv("LAB_FAKE", str(folder))
    return folder


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")
