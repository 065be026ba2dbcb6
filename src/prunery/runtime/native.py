"""Machine code from LLVM IR, for the processor that this runs on (llvmlite, optional)."""

from __future__ import annotations

import os
import platform
import threading
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from prunery.machine import processor

_LOCK = threading.Lock()
_ENGINES: list[Any] = []  # the code lives as long as these do
FORCED = "PRUNERY_ISA"
"""The environment variable that chooses a row of `ISAS` ("none": no kernels) in place of the widest."""


@dataclass(frozen=True)
class Isa:
    """What kernels are made for. lanes: floats of a register; sums: registers that hold sums at a time."""

    name: str
    lanes: int
    sums: int
    needs: tuple[str, ...]  # features, by LLVM's names
    cpu: str  # whose instructions LLVM may use; "" is this processor


ISAS = {
    "avx512": Isa("avx512", 16, 16, ("avx512f", "avx512vl", "avx512bw", "avx512dq", "fma"), ""),
    "avx2": Isa("avx2", 8, 12, ("avx2", "fma"), "x86-64-v3"),
}


def isa() -> Isa | str:
    """Return what kernels are made for here; or why there are none, as a clause."""
    asked = os.environ.get(FORCED, "")
    if asked == "none":
        return f"{FORCED} is none"
    try:
        found = features()
    except ImportError:
        return "llvmlite is not installed (pip install 'prunery[runtime]')"
    for row in ISAS.values():
        if all(found.get(name) for name in row.needs) and asked in ("", row.name):
            return row
    wanted = f"{asked} (as {FORCED} asks)" if asked else " nor ".join(ISAS)
    return f"this processor ({processor()}) has no {wanted}"


@lru_cache(maxsize=1)
def features() -> dict[str, bool]:
    """Return which features this processor has, by LLVM's names. ImportError: no llvmlite."""
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return dict(llvm.get_host_cpu_features()) if platform.machine() in ("x86_64", "AMD64") else {}


@lru_cache(maxsize=4)
def _machine(cpu: str) -> Any:
    import llvmlite.binding as llvm

    features()
    target = llvm.Target.from_default_triple()
    own = (llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten())
    name, extras = (cpu, "") if cpu else own
    return target.create_target_machine(cpu=name, features=extras, opt=2, jit=True)


def address(text: str) -> int:
    """Return the address of the function `run` of a module in LLVM IR."""
    made_for = isa()
    assert isinstance(made_for, Isa)
    with _LOCK:
        return _address(text, made_for.cpu)


@lru_cache(maxsize=4096)
def _address(text: str, cpu: str) -> int:
    import llvmlite.binding as llvm

    module = llvm.parse_assembly(text)
    module.verify()
    options = llvm.create_pipeline_tuning_options(speed_level=2)
    options.loop_unrolling = options.slp_vectorization = options.loop_vectorization = False
    passes = llvm.create_pass_builder(_machine(cpu), options)
    passes.getModulePassManager().run(module, passes)
    engine = llvm.create_mcjit_compiler(module, _machine(cpu))
    engine.finalize_object()
    _ENGINES.append(engine)
    return int(engine.get_function_address("run"))
