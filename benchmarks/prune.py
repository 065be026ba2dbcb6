"""Global magnitude pruning to 90 %, against torch.nn.utils.prune.global_unstructured: time and peak memory.

python benchmarks/prune.py [--nets mlp100 resnet18 vgg16] [--rounds 3] [--threads 1]

Each run is a fresh process (the arms take turns), so that the peak is its own: the growth of the process's
high-water mark over its resident size just before the call. `read` is one pass over the weights, the bound.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

ARMS = ("prunery", "torch")
NETS = {"mlp100": None, "resnet18": (3, 32, 32), "vgg16": (3, 32, 32)}


def once(net: str, arm: str, threads: int) -> dict[str, float]:
    """One timed call in this process."""
    import torch
    from torch import nn
    from torch.nn.utils import prune as torch_prune

    import prunery
    from prunery.models.build import build

    torch.set_num_threads(threads)
    shape = NETS[net]
    if shape is None:
        model: nn.Module = nn.Sequential(*[nn.Linear(3172, 3172) for _ in range(10)])  # 100.6 million weights
    else:
        model = build(net, shape=shape, classes=10, seed=0)
    prunery.prune(nn.Linear(8, 8), 0.5)  # imports are not what is measured
    layers = [(layer.module, "weight") for layer in prunery.prunable(model)]
    read = time.process_time()
    for module, _ in layers:
        module.weight.sum()  # type: ignore[operator]
    read = time.process_time() - read
    before = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    cpu, wall = time.process_time(), time.perf_counter()
    if arm == "torch":
        torch_prune.global_unstructured(layers, pruning_method=torch_prune.L1Unstructured, amount=0.9)
        kept = sum(int(module.weight_mask.sum()) for module, _ in layers)  # type: ignore[operator,union-attr]
    else:
        kept = prunery.prune(model, 0.9).kept
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before
    return {"cpu": cpu, "wall": wall, "peak": max(peak, 0) / 2**20, "kept": kept, "read": read}


def compare(net: str, rounds: int, threads: int) -> str:
    runs: dict[str, list[dict[str, float]]] = {arm: [] for arm in ARMS}
    for _ in range(rounds):
        for arm in ARMS:
            command = [sys.executable, __file__, "--once", net, arm, "--threads", str(threads)]
            runs[arm].append(json.loads(subprocess.run(command, check=True, capture_output=True).stdout))
    lines = [
        f"{net}, {threads} thread(s), {rounds} rounds: median (min-max) CPU s, wall s, peak MiB (max), kept"
    ]
    for arm in ARMS:
        cpu = [r["cpu"] for r in runs[arm]]
        lines.append(
            f"{arm:10}{statistics.median(cpu):9.3f} ({min(cpu):.3f}-{max(cpu):.3f})"
            f"{statistics.median(r['wall'] for r in runs[arm]):9.3f}"
            f"{max(r['peak'] for r in runs[arm]):9.0f}{runs[arm][0]['kept']:12.0f}"
        )
    ratio = statistics.median(
        b["cpu"] / a["cpu"] for a, b in zip(runs["prunery"], runs["torch"], strict=True)
    )
    peaks = [max(r["peak"] for r in runs[arm]) for arm in ARMS]
    read = statistics.median(r["read"] for r in runs["prunery"])
    bound = statistics.median(r["cpu"] for r in runs["prunery"]) / read
    lines.append(
        f"{ratio:.0f} times faster, 1/{peaks[1] / max(peaks[0], 1):.0f} of the peak; {bound:.1f} reads\n"
    )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nets", nargs="+", default=list(NETS), choices=list(NETS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--once", nargs=2, metavar=("NET", "ARM"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.once:
        print(json.dumps(once(*arguments.once, arguments.threads)))
        return
    for net in arguments.nets:
        print(compare(net, arguments.rounds, arguments.threads), flush=True)


if __name__ == "__main__":
    main()
