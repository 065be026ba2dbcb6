"""Running kernels on several threads: those of torch's own OpenMP, so that the two never compete."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from prunery.core.bits import threads_of
from prunery.runtime import native
from prunery.runtime.kernels import team as kernel

_ASKED = ("omp_get_thread_num", "omp_get_num_threads", "GOMP_barrier")


@lru_cache(maxsize=1)
def openmp() -> Any | None:
    """Return the OpenMP library that torch has loaded; None where it is another one than GNU's."""
    own = sorted(Path(torch.__file__).parent.glob("lib/libgomp*.so*"))
    own += sorted(Path(torch.__file__).parent.parent.glob("torch.libs/libgomp*.so*"))
    for path in [*map(str, own), "libgomp.so.1"]:
        try:
            library = ctypes.CDLL(path)
        except OSError:
            continue
        if hasattr(library, "GOMP_parallel"):
            return library
    return None


@dataclass
class Kernel:
    """A compiled kernel and its table. keep: the arrays that the table points to."""

    function: int
    table: np.ndarray
    items: int
    per_image: bool  # whether `items` is for one image
    keep: tuple[object, ...] = ()
    nbytes: int = 0  # of packed weights

    def count(self, images: int) -> int:
        """Return the items of so many images."""
        return self.items * images if self.per_image else self.items

    def of(self, images: int) -> Kernel:
        """Return it for just so many images."""
        return replace(self, items=self.count(images), per_image=False)


class Job:
    """A list of kernels with their tables. It can be run any number of times."""

    def __init__(self, threads: int) -> None:
        self.threads = threads if openmp() is not None else 1
        self.kernels: list[Kernel] = []
        self.images = 0
        self.list = np.zeros(0, np.int64)
        self.job = np.zeros(5, np.int64)
        address = native.address(kernel.source(self.threads > 1))
        if self.threads > 1:
            library = openmp()
            assert library is not None
            self.job[2:] = [ctypes.cast(getattr(library, n), ctypes.c_void_p).value or 0 for n in _ASKED]
            self.start = library.GOMP_parallel
            self.start.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint]
            self.start.restype = None
            self.arguments: tuple[int, ...] = (address, self.job.ctypes.data, self.threads, 0)
        else:
            self.start = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(address)
            self.arguments = (self.job.ctypes.data,)

    def add(self, kernel: Kernel) -> None:
        """Append a kernel."""
        self.kernels.append(kernel)
        self.images = 0

    def run(self, images: int) -> None:
        """Run all kernels on so many images."""
        if images != self.images:
            rows = [(k.function, k.table.ctypes.data, k.count(images)) for k in self.kernels]
            self.list = np.array(rows, np.int64)
            self.job[:2] = len(rows), self.list.ctypes.data
            self.images = images
        self.start(*self.arguments)


def at_once(runs: Sequence[Callable[[], None]]) -> None:
    """Run calls side by side, torch within them on one thread each; what one of them raises is raised.

    Torch's own threads do it: having worked they wait for more without sleeping, and would keep others from
    the processors.
    """
    errors: list[BaseException] = []

    def noted(run: Callable[[], None]) -> None:
        try:
            with torch.no_grad(), threads_of(1):
                run()
        except BaseException as error:
            errors.append(error)

    library = openmp()
    if library is None:
        threads = [threading.Thread(target=noted, args=(run,), daemon=True) for run in runs[1:]]
        for thread in threads:
            thread.start()
        noted(runs[0])
        for thread in threads:
            thread.join()
    else:

        def member(_: object) -> None:
            for run in runs[library.omp_get_thread_num() :: library.omp_get_num_threads()]:
                noted(run)

        call = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(member)
        library.GOMP_parallel(call, None, len(runs), 0)
    if errors:
        raise errors[0]
