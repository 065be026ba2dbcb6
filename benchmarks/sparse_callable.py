"""The sparse callable against dense engines, all taking turns in one process.

python benchmarks/sparse_callable.py
python benchmarks/sparse_callable.py --nets vgg16_bn --sparsity 0.9 --batch 1 --rounds 30 --layers
python benchmarks/sparse_callable.py --nets vgg16_bn --sparsity 0.9 --threads 1 2 --engines eager folded
python benchmarks/sparse_callable.py --sparsity 0.9 --isa avx2

Every layer but a convolutional stem is pruned by magnitude to the same sparsity; weights are random.
Engines: eager torch, eager torch with its norms folded, torch.compile, TorchScript's optimize_for_inference,
and ONNX Runtime and OpenVINO if they can be imported. On one thread times are those of the process on the
processor, which others who share the machine do not lengthen; where there are several they are those of the
clock. In its turn an engine is called for 20 ms, once at least. A ratio is the median over rounds of the
fastest dense engine's time (that with the least median) over the callable's, in the same round; so are those
to the folded model, and of one thread to several. --isa avx2 holds torch and oneDNN to AVX2 as well (ONNX
Runtime knows no such thing).
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx.experimental.optimization import fuse

import prunery
from prunery.models.build import build
from prunery.models.names import MODELS

Call = Callable[[], Any]
SPARSE = "sparse"
Key = tuple[str, int]  # engine, threads
TURN = 0.02  # seconds
HELD = {"PRUNERY_ISA": "avx2", "ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"}


class Wide(nn.Sequential):
    """A linear layer of a transformer."""

    def __init__(self) -> None:
        super().__init__(nn.Linear(1024, 3072))


def network(name: str, sparsity: float) -> tuple[nn.Module, tuple[int, ...]]:
    """Return a pruned network in eval mode and the shape of its input."""
    generator = torch.Generator().manual_seed(0)
    shape: tuple[int, ...] = (1024,) if name == "linear" else MODELS[name].shape
    model = Wide() if name == "linear" else build(name, seed=0)
    layers = [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    with torch.no_grad():
        for layer in layers:
            if isinstance(layer, nn.Conv2d) and layer is layers[0]:
                continue
            nn.init.kaiming_normal_(layer.weight, generator=generator)
            cut = layer.weight.abs().flatten().kthvalue(max(1, round(sparsity * layer.weight.numel()))).values
            layer.weight.mul_(layer.weight.abs() > cut).div_((1 - sparsity) ** 0.5)
        model.train()(torch.randn(8, *shape, generator=generator))  # statistics of the norms
    return model.eval(), shape


def in_onnx_runtime(model: nn.Module, x: Tensor, threads: int, folder: Path) -> Call:
    import onnxruntime

    path = str(folder / "model.onnx")
    torch.onnx.export(model, (x,), path, dynamo=True, verbose=False)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(path, options)
    given = {session.get_inputs()[0].name: x.numpy()}
    return lambda: session.run(None, given)


def in_openvino(threads: int, x: Tensor, folder: Path) -> Call:
    import openvino

    settings = {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    core = openvino.Core()
    request = core.compile_model(
        core.read_model(folder / "model.onnx"), "CPU", settings
    ).create_infer_request()
    given = {0: x.numpy()}
    return lambda: request.infer(given)


def engines(model: nn.Module, x: Tensor, threads: int, chosen: list[str], folder: Path) -> dict[str, Call]:
    """Return a call of each dense engine that there is."""
    script = torch.jit.optimize_for_inference(torch.jit.freeze(torch.jit.trace(model, x)))
    compiled = torch.compile(model)
    make: dict[str, Callable[[], Call]] = {
        "eager": lambda: lambda: model(x),
        "folded": lambda: partial(fuse(model), x),
        "compile": lambda: lambda: compiled(x),
        "script": lambda: lambda: script(x),
        "onnxruntime": lambda: in_onnx_runtime(model, x, threads, folder),
        "openvino": lambda: in_openvino(threads, x, folder),
    }
    calls = {}
    for name in chosen:
        try:
            call = make[name]()
            call()
            calls[name] = call
        except Exception as why:  # an engine that is not there, or that cannot
            print(f"  ({name} left out: {type(why).__name__})")
    return calls


def turns(calls: dict[Key, Call], rounds: int, clock: Callable[[], float]) -> dict[Key, list[float]]:
    """Return the milliseconds of each call in each round; they take turns."""
    times: dict[Key, list[float]] = {key: [] for key in calls}
    for turn in range(rounds + 2):
        for key, call in calls.items():
            torch.set_num_threads(key[1])
            count, begin = 0, clock()
            while count == 0 or clock() - begin < TURN:
                call()
                count += 1
            if turn >= 2:
                times[key].append(1000 * (clock() - begin) / count)
    return times


def ratio(slow: list[float], quick: list[float]) -> str:
    """Return the median of the ratios, and their quartiles."""
    ratios = sorted(a / b for a, b in zip(slow, quick, strict=True))
    low, middle, high = (ratios[round(q * (len(ratios) - 1))] for q in (0.25, 0.5, 0.75))
    return f"{middle:5.2f}x ({low:.2f}-{high:.2f})"


def lines(name: str, sparsity: float, batch: int, options: argparse.Namespace) -> None:
    """Time one network and print its lines."""
    model, shape = network(name, sparsity)
    x = torch.randn(batch, *shape, generator=torch.Generator().manual_seed(1))
    calls: dict[Key, Call] = {}
    about = {}
    with torch.inference_mode(), tempfile.TemporaryDirectory() as folder:
        for threads in options.threads:
            torch.set_num_threads(threads)
            begin = time.perf_counter()
            fast = prunery.sparse_callable(model, x, threads=threads, tune=options.tune)
            made = time.perf_counter() - begin
            apart = float((fast(x) - model(x)).abs().max() / model(x).abs().max())
            about[threads] = f"apart {apart:.0e}, made in {made:.1f} s"
            found = engines(model, x, threads, options.engines, Path(folder))
            calls |= {(engine, threads): call for engine, call in found.items()}
            calls[SPARSE, threads] = partial(fast, x)
            if options.layers:
                print(fast.report())
        clock = time.process_time if options.threads == [1] else time.perf_counter
        times = turns(calls, options.rounds, clock)
    head = f"{name:12} {100 * sparsity:4.0f} % batch {batch:3}"
    for threads in options.threads:
        own = {engine: ms for (engine, count), ms in times.items() if count == threads}
        print(f"{head} {threads} thread(s) {told(own)}, {about[threads]}", flush=True)
    for threads in options.threads[1:]:
        gains = [f"{e} {ratio(times[e, options.threads[0]], times[e, n])}" for e, n in calls if n == threads]
        print(f"{head} {threads} threads against {options.threads[0]}: {'  '.join(gains)}", flush=True)


def told(times: dict[str, list[float]]) -> str:
    """Return how the callable is beside the fastest engine and the folded model, and all medians."""
    medians = {engine: statistics.median(own) for engine, own in times.items()}
    best = min((engine for engine in times if engine != SPARSE), key=lambda engine: medians[engine])
    others = dict.fromkeys([best, *(["folded"] if "folded" in times else [])])
    beside = [f"{ratio(times[engine], times[SPARSE])} of {engine}" for engine in others]
    return "  ".join([*beside, "| ms:", *(f"{engine} {ms:.3g}" for engine, ms in medians.items())])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--nets", nargs="+", default=["vgg16_bn", "resnet18"])
    parser.add_argument("--sparsity", nargs="+", type=float, default=[0.9, 0.95])
    parser.add_argument("--batch", nargs="+", type=int, default=[1, 64])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", nargs="+", type=int, default=[1])
    parser.add_argument("--isa", choices=["avx512", "avx2"], help="the instructions; the widest by default")
    parser.add_argument("--tune", default="fast")
    every = ["eager", "folded", "compile", "script", "onnxruntime", "openvino"]
    parser.add_argument("--engines", nargs="+", default=every, choices=every)
    parser.add_argument("--layers", action="store_true", help="print the callable's report")
    options = parser.parse_args()
    if options.isa:
        os.environ["PRUNERY_ISA"] = options.isa
    if options.isa == "avx2" and any(os.environ.get(name) != value for name, value in HELD.items()):
        os.environ.update(HELD)  # torch reads them when it is imported
        os.execv(sys.executable, [sys.executable, *sys.argv])
    warnings.filterwarnings("ignore")
    for name in options.nets:
        for sparsity in options.sparsity:
            for batch in options.batch:
                lines(name, sparsity, batch, options)


if __name__ == "__main__":
    main()
