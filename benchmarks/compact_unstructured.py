"""What of an unstructured mask can be cut out across layer norms: parameters left, and whether outputs agree.

    python benchmarks/compact_unstructured.py [--sparsity 95%]

A ViT-like network (192 wide, 6 blocks) and a ConvNeXt-like one, with weights as they are drawn; weights are
removed at random, and by magnitude, from one pool of all layers but the output. `compact` compares the
outputs itself and raises where they differ; the last column compares them once more. The exit status is 1 if
one differs by more than 1e-5 of the largest output.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "kits"))

from graph_nets_vision import convnext
from graph_nets_vit import Vit

import prunery

NETS = {
    "ViT 192 x 6": (lambda: Vit(192, 3, 6, 32, 4, classes=10), (2, 3, 32, 32)),
    "ConvNeXt-like": (lambda: convnext((48, 96, 192), (2, 2, 4), 4, 2, 10), (2, 3, 32, 32)),
}


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sparsity", default="95%")
    asked = parser.parse_args()
    print(f"{'network':<15}{'criterion':<11}{'parameters':>11}{'left':>11}{'share':>8}{'difference':>12}")
    worst = 0.0
    for name, (make, shape) in NETS.items():
        for criterion in ("random", "magnitude"):
            torch.manual_seed(0)
            model, x = make().eval(), torch.randn(shape)
            masks = prunery.prune(model, asked.sparsity, criterion=criterion, exclude=["@output"], example=x)
            small = prunery.compact(model, masks, x)
            with torch.no_grad():
                one, other = model(x), small(x)
            difference = float((one - other).abs().max() / one.abs().max())
            worst = max(worst, difference)
            before, after = (sum(p.numel() for p in m.parameters()) for m in (model, small))
            row = (
                f"{name:<15}{criterion:<11}{before:>11,}{after:>11,}{after / before:>8.3f}{difference:>12.1e}"
            )
            print(row, flush=True)
    return int(worst > 1e-5)


if __name__ == "__main__":
    sys.exit(main())
