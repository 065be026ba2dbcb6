"""How large the file of a pruned network is, and how long saving and loading take.

    python benchmarks/file_size.py [--nets vgg16 lenet300] [--sparsities 90% 95% 98%]

Random weights, global magnitude pruning. The loaded network is compared bit by bit. The exit status is 1 if
one differs.
"""

from __future__ import annotations

import argparse
import io
import sys
import tempfile
import time
from pathlib import Path

import torch

import prunery
from prunery.models.build import build
from prunery.models.names import MODELS


def measured(net: str, sparsity: str, folder: Path) -> tuple[str, bool]:
    """A line of the table, and whether what was loaded equals what was saved."""
    model = build(net, shape=MODELS[net].shape, classes=10, seed=0)
    prunery.prune(model, sparsity)
    buffer = io.BytesIO()
    torch.save(model.state_dict(), buffer)
    start = time.perf_counter()
    saved = prunery.save(model, folder / "model.prunery")
    middle = time.perf_counter()
    other = prunery.load(
        folder / "model.prunery", into=build(net, shape=MODELS[net].shape, classes=10, seed=1)
    )
    end = time.perf_counter()
    pairs = zip(model.state_dict().values(), other.state_dict().values(), strict=True)
    same = all(torch.equal(_bits(one), _bits(two)) for one, two in pairs)
    fewer = [prunery.save(model, folder / "small.prunery", values=v).bytes for v in ("float16", "int8")]
    sizes = "".join(f"{size:>13,}" for size in (buffer.tell(), saved.bytes, *fewer))
    line = f"{net:<10}{sparsity:>9}{sizes}{middle - start:>8.2f}{end - middle:>8.2f}"
    return f"{line}  {'the same bits' if same else 'DIFFERS'}", same


def _bits(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8)


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--nets", nargs="+", default=["vgg16", "lenet300"])
    parser.add_argument("--sparsities", nargs="+", default=["90%", "95%", "98%"])
    asked = parser.parse_args()
    torch.set_num_threads(1)
    heads = ("torch.save", "saved", "float16", "int8")
    print(f"{'net':<10}{'sparsity':>9}{''.join(f'{head:>13}' for head in heads)}{'save s':>8}{'load s':>8}")
    good = True
    with tempfile.TemporaryDirectory() as folder:
        for net in asked.nets:
            for sparsity in asked.sparsities:
                line, same = measured(net, sparsity, Path(folder))
                print(line, flush=True)
                good &= same
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
