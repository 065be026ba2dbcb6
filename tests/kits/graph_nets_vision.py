"""Small versions of well-known networks for images."""

from __future__ import annotations

from collections.abc import Callable

import torch
from graph_nets import Head, conv, images, net
from torch import Tensor, nn
from torch.nn import functional


class _Basic(nn.Module):
    def __init__(self, into: int, out: int, stride: int = 1) -> None:
        super().__init__()
        self.one = conv(into, out, stride=stride)
        self.two = nn.Sequential(nn.Conv2d(out, out, 3, 1, 1, bias=False), nn.BatchNorm2d(out))
        self.short = (
            nn.Sequential(nn.Conv2d(into, out, 1, stride, bias=False), nn.BatchNorm2d(out))
            if stride > 1 or into != out
            else nn.Identity()
        )

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.two(self.one(x)) + self.short(x))


class _Bottleneck(nn.Module):
    def __init__(self, into: int, inner: int, out: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.body = nn.Sequential(
            conv(into, inner, 1), conv(inner, inner, 3, stride, groups), conv(inner, out, 1)[:2]
        )
        self.short = conv(into, out, 1, stride)[:2] if stride > 1 or into != out else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        out = self.body(x)
        out += self.short(x)
        return functional.relu_(out)


def stem(width: int) -> nn.Sequential:
    """Return the first layers of networks for large images."""
    return nn.Sequential(conv(3, width, 7, 2), nn.MaxPool2d(3, 2, 1))


def bottlenecks(width: int, depths: tuple[int, ...], classes: int = 1000) -> nn.Module:
    """Return a ResNet of bottleneck blocks for large images."""
    layers, into = [stem(width)], width
    for stage, depth in enumerate(depths):
        for block in range(depth):
            inner = width << stage
            layers.append(_Bottleneck(into, inner, 4 * inner, 2 if stage and not block else 1))
            into = 4 * inner
    return nn.Sequential(*layers, Head(into, classes))


def resnet(width: int = 8, depth: int = 2, classes: int = 5) -> nn.Module:
    layers: list[nn.Module] = [conv(3, width)]
    into = width
    for stage in range(4):
        for block in range(depth):
            out = width << stage
            layers.append(_Basic(into, out, 2 if stage and not block else 1))
            into = out
    return nn.Sequential(*layers, Head(into, classes))


@net(images())
def ResNet() -> nn.Module:  # noqa: N802
    return resnet()


@net(images())
def ResNetBottleneck() -> nn.Module:  # noqa: N802
    blocks = [
        _Bottleneck(8, 8, 16),
        _Bottleneck(16, 8, 16),
        _Bottleneck(16, 8, 24, 2),
        _Bottleneck(24, 8, 24),
    ]
    return nn.Sequential(conv(3, 8), *blocks, Head(24))


@net(images())
def ResNeXt() -> nn.Module:  # noqa: N802
    blocks = [
        _Bottleneck(8, 16, 16, groups=4),
        _Bottleneck(16, 16, 24, 2, groups=8),
        _Bottleneck(24, 16, 24, groups=2),
    ]
    return nn.Sequential(conv(3, 8), *blocks, Head(24))


@net(images())
def VggBn() -> nn.Module:  # noqa: N802
    pool = nn.MaxPool2d(2)
    fc = [nn.Flatten(), nn.Linear(16 * 4, 12), nn.ReLU(), nn.Dropout(), nn.Linear(12, 5)]
    return nn.Sequential(conv(3, 8), conv(8, 8), pool, conv(8, 16), pool, conv(16, 16), *fc)


class _Inverted(nn.Module):
    def __init__(self, into: int, out: int, stride: int = 1, wider: int = 2) -> None:
        super().__init__()
        wide = into * wider
        parts = [conv(into, wide, 1), conv(wide, wide, 3, stride, wide)]
        parts = [nn.Sequential(*part[:2], nn.ReLU6(inplace=True)) for part in parts]
        self.body, self.same = nn.Sequential(*parts, conv(wide, out, 1)[:2]), into == out and stride == 1

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x) if self.same else self.body(x)


@net(images())
def MobileNetV2() -> nn.Module:  # noqa: N802
    return nn.Sequential(
        conv(3, 8), _Inverted(8, 8), _Inverted(8, 12, 2), _Inverted(12, 12), conv(12, 16, 1), Head(16)
    )


def mobilenet(rows: list[tuple[int, int, int, int]], last: int, classes: int = 1000) -> nn.Module:
    """Return MobileNetV2. rows: how much wider within, width, number of blocks and stride of each stage."""
    layers, into = [conv(3, 32, stride=2)], 32
    for wider, out, count, stride in rows:
        for block in range(count):
            layers.append(_Inverted(into, out, 1 if block else stride, wider))
            into = out
    return nn.Sequential(*layers, conv(into, last, 1), Head(last, classes))


class _DenseLayer(nn.Module):
    def __init__(self, into: int, growth: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = nn.BatchNorm2d(into), nn.Conv2d(into, 4 * growth, 1, bias=False)
        self.norm2, self.conv2 = (
            nn.BatchNorm2d(4 * growth),
            nn.Conv2d(4 * growth, growth, 3, 1, 1, bias=False),
        )

    def forward(self, parts: list[Tensor]) -> Tensor:
        x = self.conv1(functional.relu(self.norm1(torch.cat(parts, 1))))
        return self.conv2(functional.relu(self.norm2(x)))


class DenseStack(nn.Module):
    def __init__(self, into: int, growth: int, count: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(_DenseLayer(into + i * growth, growth) for i in range(count))

    def forward(self, x: Tensor) -> Tensor:
        parts = [x]
        for layer in self.layers:
            parts.append(layer(parts))
        return torch.cat(parts, 1)


def densenet(
    width: int = 8,
    growth: int = 4,
    blocks: tuple[int, ...] = (3, 3),
    classes: int = 5,
    first: Callable[[int], nn.Module] = lambda width: conv(3, width),
) -> nn.Module:
    layers: list[nn.Module] = [first(width)]
    for number, count in enumerate(blocks):
        layers.append(DenseStack(width, growth, count))
        width += growth * count
        if number < len(blocks) - 1:
            layers += [nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, width // 2, 1), nn.AvgPool2d(2)]
            width //= 2
    return nn.Sequential(*layers, nn.BatchNorm2d(width), nn.ReLU(), Head(width, classes))


@net(images())
def DenseNet() -> nn.Module:  # noqa: N802
    return densenet()


class _LayerNorm2d(nn.LayerNorm):
    def forward(self, x: Tensor) -> Tensor:
        x = functional.layer_norm(
            x.permute(0, 2, 3, 1), self.normalized_shape, self.weight, self.bias, self.eps
        )
        return x.permute(0, 3, 1, 2)


class _ConvNeXtBlock(nn.Module):
    def __init__(self, width: int, wider: int = 2) -> None:
        super().__init__()
        self.depthwise, self.norm = nn.Conv2d(width, width, 7, padding=3, groups=width), nn.LayerNorm(width)
        self.up, self.down = nn.Linear(width, wider * width), nn.Linear(wider * width, width)
        self.scale = nn.Parameter(torch.full((width,), 0.5))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        y = self.scale * self.down(functional.gelu(self.up(y)))
        return x + y.permute(0, 3, 1, 2)


def convnext(
    widths: tuple[int, ...], depths: tuple[int, ...], patch: int, wider: int = 2, classes: int = 5
) -> nn.Module:
    layers: list[nn.Module] = [nn.Conv2d(3, widths[0], patch, patch), _LayerNorm2d(widths[0])]
    for stage, (width, depth) in enumerate(zip(widths, depths, strict=True)):
        if stage:
            layers += [_LayerNorm2d(widths[stage - 1]), nn.Conv2d(widths[stage - 1], width, 2, 2)]
        layers += [_ConvNeXtBlock(width, wider) for _ in range(depth)]
    return nn.Sequential(*layers, Head(widths[-1], classes))


@net(images())
def ConvNeXt() -> nn.Module:  # noqa: N802
    return convnext((8, 12), (2, 1), 2)


@net(images())
class UNet(nn.Module):
    def __init__(self, a: int = 8, b: int = 12, c: int = 16) -> None:
        super().__init__()
        self.one, self.two, self.three = conv(3, a), conv(a, b), conv(b, c)
        self.up2, self.up1 = nn.ConvTranspose2d(c, b, 2, 2), nn.ConvTranspose2d(b, a, 2, 2)
        self.back2, self.back1, self.out = conv(2 * b, b), conv(2 * a, a), nn.Conv2d(a, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        a = self.one(x)
        b = self.two(functional.max_pool2d(a, 2))
        x = self.up2(self.three(functional.max_pool2d(b, 2)))
        x = self.up1(self.back2(torch.cat([x, b], 1)))
        return self.out(self.back1(torch.cat([a, x], 1)))


@net(images())
class UNetUpsample(UNet):
    def forward(self, x: Tensor) -> Tensor:
        a = self.one(x)
        b = self.two(functional.max_pool2d(a, 2))
        c = self.up2(functional.interpolate(self.three(b), scale_factor=0.5, mode="bilinear"))
        y = self.back2(torch.cat([c, b], 1))
        y = functional.interpolate(self.up1(y), size=a.shape[2:], mode="bilinear", align_corners=False)
        return self.out(self.back1(torch.cat([a, y], 1)))
