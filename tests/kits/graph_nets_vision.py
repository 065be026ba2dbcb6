"""Small versions of well-known networks for images."""

from __future__ import annotations

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
    def __init__(self, into: int, out: int, stride: int = 1) -> None:
        super().__init__()
        wide = into * 2
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
    width: int = 8, growth: int = 4, blocks: tuple[int, ...] = (3, 3), classes: int = 5
) -> nn.Module:
    layers: list[nn.Module] = [conv(3, width)]
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
    def __init__(self, width: int) -> None:
        super().__init__()
        self.depthwise, self.norm = nn.Conv2d(width, width, 7, padding=3, groups=width), nn.LayerNorm(width)
        self.up, self.down = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        self.scale = nn.Parameter(torch.full((width,), 0.5))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        y = self.scale * self.down(functional.gelu(self.up(y)))
        return x + y.permute(0, 3, 1, 2)


@net(images())
def ConvNeXt() -> nn.Module:  # noqa: N802
    stem = [nn.Conv2d(3, 8, 2, 2), _LayerNorm2d(8)]
    down = [_LayerNorm2d(8), nn.Conv2d(8, 12, 2, 2)]
    return nn.Sequential(*stem, _ConvNeXtBlock(8), _ConvNeXtBlock(8), *down, _ConvNeXtBlock(12), Head(12))


class TimmAttention(nn.Module):
    """Queries, keys and values from one layer, with the number and the size of heads as attributes."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.num_heads, self.head_dim = heads, width // heads
        self.scale = self.head_dim**-0.5
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        B, N, _ = x.shape
        qkv = self.qkv(x).reshape(B, N, 3, self.num_heads, self.head_dim).permute(2, 0, 3, 1, 4)
        q, k, v = qkv.unbind(0)
        x = functional.scaled_dot_product_attention(q, k, v)
        return self.proj(x.transpose(1, 2).reshape(B, N, self.num_heads * self.head_dim))


class TimmAttentionC(TimmAttention):
    """The same as older code has it: reshaped back to the width of what came in."""

    def forward(self, x: Tensor) -> Tensor:
        B, N, C = x.shape
        qkv = self.qkv(x).reshape(B, N, 3, self.num_heads, C // self.num_heads).permute(2, 0, 3, 1, 4)
        q, k, v = qkv[0], qkv[1], qkv[2]
        attention = ((q @ k.transpose(-2, -1)) * self.scale).softmax(dim=-1)
        return self.proj((attention @ v).transpose(1, 2).reshape(B, N, C))


class VitBlock(nn.Module):
    def __init__(self, width: int, heads: int, kind: type[TimmAttention] = TimmAttention) -> None:
        super().__init__()
        self.norm1, self.attention = nn.LayerNorm(width), kind(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class Vit(nn.Module):
    def __init__(
        self, width: int, heads: int, depth: int, size: int, patch: int, block: type = VitBlock
    ) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, width, patch, patch)
        self.cls = nn.Parameter(torch.randn(1, 1, width) * 0.1)
        self.position = nn.Parameter(torch.randn(1, (size // patch) ** 2 + 1, width) * 0.1)
        self.blocks = nn.Sequential(*(block(width, heads) for _ in range(depth)))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls.expand(x.shape[0], -1, -1), x], 1) + self.position
        return self.head(self.norm(self.blocks(x))[:, 0])


@net(images())
def VitTimm() -> nn.Module:  # noqa: N802
    return Vit(16, 4, 2, 8, 4)


@net(images())
def VitTimmOld() -> nn.Module:  # noqa: N802
    return Vit(16, 4, 2, 8, 4, lambda width, heads: VitBlock(width, heads, TimmAttentionC))


@net(images())
def VitTorch() -> nn.Module:  # noqa: N802
    def layer(width: int, heads: int) -> nn.Module:
        return nn.TransformerEncoderLayer(
            width, heads, 32, activation="gelu", batch_first=True, norm_first=True
        )

    return Vit(16, 4, 2, 8, 4, layer)


@net(images())
class UNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.three = conv(3, 8), conv(8, 12), conv(12, 16)
        self.up2, self.up1 = nn.ConvTranspose2d(16, 12, 2, 2), nn.ConvTranspose2d(12, 8, 2, 2)
        self.back2, self.back1, self.out = conv(24, 12), conv(16, 8), nn.Conv2d(8, 2, 1)

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
