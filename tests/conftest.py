"""Fixtures shared by all tests: the embedded digits, and MNIST where it can be had without a network.

What a test draws at random is the same in every run: it depends on the test's name alone.
"""

import os
import zlib
from functools import cache as once
from pathlib import Path

import pytest
import torch

torch.manual_seed(0)  # for what modules draw when they are imported


@once
def _mnist_is_here():
    from prunery.data import cache, sources
    from prunery.data.names import DATASETS

    facts = DATASETS["mnist"]
    return sources.local(facts, None) is not None or bool(cache.kept(facts, cache.root()))


def pytest_runtest_setup(item):
    torch.manual_seed(zlib.crc32(item.nodeid.encode()))
    if item.get_closest_marker("mnist") and not _mnist_is_here():
        pytest.skip("MNIST is neither in PRUNERY_DATA nor in the cache")


@pytest.fixture(scope="session")
def data_dir():
    """The local mirror of the real sets; the test is skipped where there is none."""
    mirror = os.environ.get("PRUNERY_DATA")
    if not mirror or not Path(mirror).is_dir():
        pytest.skip("PRUNERY_DATA names no local mirror")
    return Path(mirror)


@pytest.fixture(scope="session")
def digits():
    from prunery.data.sets import load

    return load("digits")


@pytest.fixture(scope="session")
def mnist():
    """The MNIST set; the test is skipped where it cannot be had without a network."""
    if not _mnist_is_here():
        pytest.skip("MNIST is neither in PRUNERY_DATA nor in the cache")
    from prunery.data.sets import load

    return load("mnist")
