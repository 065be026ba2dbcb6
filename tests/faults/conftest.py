"""A finished study for the tests of faults."""

import fault_kit
import pytest

from prunery.lab.store import Store


@pytest.fixture
def finished(tmp_path):
    """A store in which a small study is done, and its steps by key."""
    return fault_kit.finished(tmp_path / "store")


@pytest.fixture
def archived(tmp_path):
    """The first line, as data, and the other lines of its archive."""
    return fault_kit.archived(tmp_path)


@pytest.fixture
def store(tmp_path):
    """An empty store."""
    return Store(tmp_path / "store")


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """The folder that tells the pretended work what to do."""
    folder = tmp_path / "fake"
    folder.mkdir()
    monkeypatch.setenv("LAB_FAKE", str(folder))
    return folder
