"""A model as an ONNX file, and what it computes there, run by ONNX Runtime. The extra `export` has both."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import torch

from prunery.errors import ExportError
from prunery.export.program import Program, brief, quiet
from prunery.forward import tensors

_LARGEST = 2**31 - 1  # bytes of a protobuf message


def write_onnx(program: Program, path: str | os.PathLike[str]) -> None:
    """Write a program as one ONNX file; its first axis is free where the program's is.

    ExportError: the extra is not installed, an operation that ONNX has not, or more than 2 GB.
    """
    check_installed("onnx", "onnxscript")
    size = sum(t.numel() * t.itemsize for t in program.traced.state_dict.values())
    if size > _LARGEST:
        do = "export to pt2, or remove more"
        raise ExportError("one ONNX file", f"its weights are {size:,} bytes, and a file holds 2 GB", do)
    with quiet():
        try:
            made = torch.onnx.export(program.traced, dynamo=True, verbose=False)
            assert made is not None
            made.save(os.fspath(path), external_data=False)
        except Exception as problem:  # whatever the exporter makes of an operation that it does not know
            found = f"torch.onnx.export raises {type(problem).__name__}: {brief(problem)}"
            do = "export to pt2, or change that operation"
            raise ExportError("an ONNX file of the model", found, do) from problem


def read_onnx(path: str | os.PathLike[str], *, threads: int | None = None) -> Callable[..., Any]:
    """Return the model in an ONNX file as a function of tensors, run by ONNX Runtime on the CPU.

    threads: by default as many as torch has. ExportError: the extra is not installed, or the file is not
    run by ONNX Runtime.
    """
    check_installed()
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or torch.get_num_threads()
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(os.fspath(path), options, providers=["CPUExecutionProvider"])
    except Exception as problem:  # onnxruntime has errors of its own
        found = f"ONNX Runtime raises {type(problem).__name__}: {brief(problem)}"
        do = "export it again, or use another format"
        raise ExportError(f"to run {os.fspath(path)}", found, do) from problem
    names = [given.name for given in session.get_inputs()]

    def run(*args: Any, **kwargs: Any) -> Any:
        given = [tensor.detach().numpy() for tensor in (*tensors(args), *tensors(kwargs))]
        if len(given) != len(names):
            found = f"{len(given)} tensors are given, and it takes {len(names)}"
            raise ExportError(f"to run {os.fspath(path)}", found, "call it as the model was called")
        results = session.run(None, dict(zip(names, given, strict=True)))
        outputs = [torch.from_numpy(value) for value in results]
        return outputs[0] if len(outputs) == 1 else outputs

    return run


def check_installed(*packages: str) -> None:
    """Raise ExportError where a package of the extra is not installed, by default any; none is imported."""
    for name in packages or ("onnx", "onnxscript", "onnxruntime"):
        if find_spec(name) is None:
            do = "install the extra: pip install 'prunery[export]'"
            raise ExportError("an ONNX file", f"{name} is not installed", do)
