"""What a network can be run by, a row each: the call, the file that it needs, and why there may be none.

A row is `(model, example, threads, folder) -> Form`; it may raise anything, which becomes the reason why
the form is not there. Facts: `label`, what a table calls it; `packages`, what must be installed, and `extra`,
what brings it; `zeros`, whether it may gain by zeros that cannot be cut out.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from prunery.errors import ExportError
from prunery.export.container import save
from prunery.export.onnx import read_onnx, write_onnx
from prunery.export.program import batch_of, program_of, quiet
from prunery.forward import call_of, tensors
from prunery.registry import Registry

form = Registry("form")


@dataclass(frozen=True)
class Form:
    """A network, ready to be called with what its model is called with.

    bytes: of the file that it is loaded from. file: what kind of file that is. batch: the only number of
    examples that it takes; None for any. note: what is to be said of it.
    """

    call: Callable[..., Any]
    bytes: int
    file: str
    batch: int | None = None
    note: str = ""


@form.add(label="torch")
def eager(model: nn.Module, example: Any, threads: int, folder: Path) -> Form:
    """The module itself, in a file of prunery."""
    return Form(model, save(model, folder / "model.prunery").bytes, "prunery")


@form.add(
    label="sparse callable",
    zeros=True,
    packages=("llvmlite",),
    extra="pip install 'prunery[runtime]'",
)
def sparse(model: nn.Module, example: Any, threads: int, folder: Path) -> Form:
    """The kernels of `prunery.sparse_callable`, made when a file of prunery is loaded."""
    from prunery.runtime.callable import sparse_callable

    fast = sparse_callable(model, example, threads=threads)
    return Form(fast, save(model, folder / "model.prunery").bytes, "prunery", note=fast.report().verdict)


@form.add(
    label="ONNX Runtime",
    packages=("onnx", "onnxscript", "onnxruntime"),
    extra="pip install 'prunery[export]'",
)
def onnx_runtime(model: nn.Module, example: Any, threads: int, folder: Path) -> Form:
    """ONNX Runtime on an ONNX file."""
    path, program = folder / "model.onnx", program_of(model, example)
    write_onnx(program, path)
    return Form(read_onnx(path, threads=threads), path.stat().st_size, "ONNX", program.batch)


@form.add(label="OpenVINO", packages=("onnx", "onnxscript", "openvino"), extra="pip install openvino")
def open_vino(model: nn.Module, example: Any, threads: int, folder: Path) -> Form:
    """OpenVINO on its own form of an ONNX file, in single precision, for one batch size."""
    import openvino

    given = list(tensors(call_of(example)))
    write_onnx(program_of(model, example), folder / "model.onnx")
    read = openvino.Core().read_model(folder / "model.onnx")
    read.reshape({port: list(tensor.shape) for port, tensor in zip(read.inputs, given, strict=True)})
    openvino.save_model(read, folder / "model.xml", compress_to_fp16=False)
    hints = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    settings = {**hints, "INFERENCE_NUM_THREADS": threads}
    request = openvino.Core().compile_model(read, "CPU", settings).create_infer_request()

    def run(*args: Any, **kwargs: Any) -> Any:
        arrays = [tensor.detach().numpy() for tensor in tensors((args, kwargs))]
        found = [
            torch.from_numpy(value.copy()) for value in request.infer(arrays, share_inputs=True).values()
        ]
        return found[0] if len(found) == 1 else found

    size = sum((folder / name).stat().st_size for name in ("model.xml", "model.bin"))
    return Form(run, size, "OpenVINO", batch_of(example))


@form.add(label="torch.compile")
def compiled(model: nn.Module, example: Any, threads: int, folder: Path) -> Form:
    """torch.compile with its default back end, for one batch size; compiled anew in each process."""
    torch._dynamo.reset()
    ready = torch.compile(model)
    args, kwargs = call_of(example)
    with torch.inference_mode():
        ready(*args, **kwargs)
    return Form(ready, save(model, folder / "model.prunery").bytes, "prunery", batch_of(example))


@form.add(label="TorchScript")
def torch_script(model: nn.Module, example: Any, threads: int, folder: Path) -> Form:
    """A trace, frozen, by torch.jit.optimize_for_inference."""
    args, kwargs = call_of(example)
    with quiet(), torch.no_grad():
        trace: Any = torch.jit.trace
        traced = trace(
            copy.deepcopy(model),
            example_inputs=args or None,
            example_kwarg_inputs=kwargs or None,
            strict=False,
        )
        frozen = torch.jit.freeze(traced)
        frozen.save(str(folder / "model.pt"))
        ready = torch.jit.optimize_for_inference(frozen)
    return Form(ready, (folder / "model.pt").stat().st_size, "TorchScript", batch_of(example))


def why_absent(name: str) -> str | None:
    """Return why a form cannot be had here; None where what it needs is installed. ChoiceError: none such."""
    from importlib.util import find_spec

    facts = form[name].facts
    missing = [package for package in facts.get("packages", ()) if find_spec(package) is None]
    return f"{', '.join(missing)} not installed: {facts['extra']}" if missing else None


def reason_of(problem: Exception) -> str:
    """Return in a line why a form could not be made."""
    if isinstance(problem, ExportError):
        return f"{problem.asked}: {problem.found}"
    text = " ".join(str(problem).split())
    return f"{type(problem).__name__}: {text[:200]}"
