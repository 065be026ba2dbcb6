"""Small networks that each turn on one or a few operations."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from graph_nets import Head, conv, images, net, values
from torch import Tensor, nn
from torch.nn import functional


class _C2f(nn.Module):
    def __init__(self, into: int, out: int, count: int = 1, add: bool = True) -> None:
        super().__init__()
        self.c, self.add = out // 2, add
        self.cv1, self.cv2 = conv(into, 2 * self.c, 1), conv((2 + count) * self.c, out, 1)
        self.m = nn.ModuleList(
            nn.Sequential(conv(self.c, self.c), conv(self.c, self.c)) for _ in range(count)
        )

    def forward(self, x: Tensor) -> Tensor:
        y = list(self.cv1(x).chunk(2, 1))
        for m in self.m:
            y.append(y[-1] + m(y[-1]) if self.add else m(y[-1]))
        return self.cv2(torch.cat(y, 1))


@net(images(size=32))
class Yolo(nn.Module):
    """Three scales, merged from the top down, with a detection output each."""

    def __init__(self, a: int = 8, b: int = 16, deep: int = 1, outputs: int = 6) -> None:
        super().__init__()
        self.stem, self.b2 = conv(3, a, 3, 2), nn.Sequential(conv(a, b, 3, 2), _C2f(b, b, deep))
        self.b3, self.b4 = conv(b, b, 3, 2), nn.Sequential(conv(b, b, 3, 2), _C2f(b, b, 2 * deep))
        self.sppf = conv(3 * b, b, 1)
        self.n3, self.n2 = (_C2f(2 * b, b, deep, add=False) for _ in range(2))
        self.heads = nn.ModuleList(nn.Sequential(conv(b, a), nn.Conv2d(a, outputs, 1)) for _ in range(3))

    def forward(self, x: Tensor) -> list[Tensor]:
        p2 = self.b2(self.stem(x))
        p3 = self.b3(p2)
        p4 = self.b4(p3)
        one = functional.max_pool2d(p4, 5, 1, 2)
        p4 = self.sppf(torch.cat([p4, one, functional.max_pool2d(one, 5, 1, 2)], 1))
        n3 = self.n3(torch.cat([functional.interpolate(p4, scale_factor=2), p3], 1))
        n2 = self.n2(torch.cat([functional.interpolate(n3, scale_factor=2), p2], 1))
        return [head(p) for head, p in zip(self.heads, (n2, n3, p4), strict=True)]


class _Shuffle(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        half = width // 2
        self.branch = nn.Sequential(
            conv(half, half, 1), conv(half, half, 3, 1, half)[:2], conv(half, half, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        a, b = x.chunk(2, 1)
        x = torch.cat([a, self.branch(b)], 1)
        n, c, h, w = x.shape
        return x.view(n, 2, c // 2, h, w).transpose(1, 2).contiguous().view(n, c, h, w)


@net(images())
def ShuffleNet() -> nn.Module:  # noqa: N802
    return nn.Sequential(conv(3, 16), _Shuffle(16), _Shuffle(16), conv(16, 24, 1), Head(24))


@net(images())
def ShuffleNetGrouped() -> nn.Module:  # noqa: N802
    return nn.Sequential(
        conv(3, 16), conv(16, 16, 1, 1, 2), nn.ChannelShuffle(2), conv(16, 24, 1, 1, 2), Head(24)
    )


@net(images())
class Glu(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.one, self.head = conv(3, 8), nn.Conv2d(8, 24, 3, padding=1), Head(12)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(functional.glu(self.one(self.stem(x)), 1))


@net(images())
class Unshuffle(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.one, self.head = conv(3, 4), conv(16, 8), Head(8)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.one(functional.pixel_unshuffle(self.stem(x), 2)))


@net(images())
class InstanceNorm(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.three = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3), nn.Conv2d(8, 12, 3)
        self.plain, self.affine = (
            nn.InstanceNorm2d(8),
            nn.InstanceNorm2d(8, affine=True, track_running_stats=True),
        )
        self.head = Head(12)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(
            self.three(functional.relu(self.affine(self.two(functional.relu(self.plain(self.one(x)))))))
        )


@net(images())
class Cbam(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = conv(3, 16), Head(16)
        self.mlp = nn.Sequential(nn.Linear(16, 4), nn.ReLU(), nn.Linear(4, 16))
        self.space = nn.Conv2d(2, 1, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        gate = self.mlp(x.mean((2, 3))) + self.mlp(x.amax((2, 3)))
        x = x * torch.sigmoid(gate)[:, :, None, None]
        pooled = torch.cat([x.mean(1, keepdim=True), x.max(1, keepdim=True).values], 1)
        return self.head(x * torch.sigmoid(self.space(pooled)))


@net(images())
class BiFpn(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.mid = conv(3, 8), conv(8, 8, 3, 2), conv(8, 8)
        self.weights, self.head = nn.Parameter(torch.tensor([1.0, 0.5])), Head(8)

    def forward(self, x: Tensor) -> Tensor:
        a = self.one(x)
        b = functional.interpolate(self.two(a), scale_factor=2)
        w = functional.relu(self.weights)
        w = w / (w.sum() + 1e-4)
        return self.head(self.mid(w[0] * a + w[1] * b))


@net(images())
class Inception(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = conv(3, 8)
        self.a, self.b = conv(8, 6, 1), nn.Sequential(conv(8, 4, 1), conv(4, 6))
        self.c, self.after, self.head = (
            nn.Sequential(nn.AvgPool2d(3, 1, 1), conv(8, 4, 1)),
            conv(16, 12),
            Head(12),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        return self.head(self.after(torch.cat([self.a(x), self.b(x), self.c(x)], 1)))


@net(lambda batch: (torch.randn(batch, 3, 8, 8), torch.randn(batch, 3, 8, 8)))
class Siamese(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net, self.fc = nn.Sequential(conv(3, 8), conv(8, 12)), nn.Linear(12, 6)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        a, b = (self.fc(self.net(t).mean((2, 3))) for t in (x, y))
        return functional.cosine_similarity(a, b)


@net(images())
class Reused(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.same, self.after, self.head = conv(3, 8), conv(8, 8), conv(8, 12), Head(12)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for _ in range(2):
            x = self.same(x)
        return self.head(self.after(x))


@dataclass
class Result:
    logits: Tensor
    features: list[Tensor]


@net(images())
class DataclassOutput(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.head = conv(3, 8), conv(8, 12), Head(12)

    def forward(self, x: Tensor) -> Result:
        x = self.one(x)
        y = self.two(x)
        return Result(self.head(y), [y])


@net(values(3, 16))
def Conv1d() -> nn.Module:  # noqa: N802
    parts = [nn.Conv1d(3, 8, 3), nn.BatchNorm1d(8), nn.PReLU(8), nn.ConvTranspose1d(8, 8, 3, groups=8)]
    return nn.Sequential(*parts, nn.MaxPool1d(2), nn.Conv1d(8, 12, 3), nn.ELU(), Head(12))


@net(values(2, 6, 6, 6))
def Conv3d() -> nn.Module:  # noqa: N802
    parts = [nn.Conv3d(2, 8, 3, padding=1), nn.BatchNorm3d(8), nn.SiLU(), nn.AvgPool3d(2)]
    return nn.Sequential(*parts, nn.ConvTranspose3d(8, 12, 2, 2), nn.Hardswish(), Head(12))


@net(images())
class TransposedGroups(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.up, self.two = (
            conv(3, 8),
            nn.ConvTranspose2d(8, 12, 2, 2, groups=4),
            nn.Conv2d(12, 4, 3),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.two(functional.relu(self.up(self.stem(x))))
