"""A finished study for the tests of faults."""

import fault_kit
import pytest


@pytest.fixture
def finished(tmp_path):
    """A store in which a small study is done, and its steps by key."""
    return fault_kit.finished(tmp_path / "store")


@pytest.fixture
def archived(tmp_path):
    """The first line, as data, and the other lines of its archive."""
    return fault_kit.archived(tmp_path)
