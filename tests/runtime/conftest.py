"""Tests of kernels need llvmlite and a processor that they are made for."""

from __future__ import annotations

import pytest
import torch

from prunery.runtime import native


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PRUNERY_CACHE", str(tmp_path / "cache"))


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(params=["avx512", "avx2"])
def isa(request, monkeypatch):
    """Kernels of either kind, where this processor has them."""
    monkeypatch.setenv(native.FORCED, request.param)
    if isinstance(why := native.isa(), str):
        pytest.skip(why)
    return request.param


@pytest.fixture
def kernels():
    """Whatever kernels there are here."""
    if isinstance(why := native.isa(), str):
        pytest.skip(why)
