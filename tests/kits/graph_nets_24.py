"""The 24 cases that structured pruning tools were compared on, and what is free in each."""

from __future__ import annotations

import torch
from graph_nets import Head, conv, images, net, tokens, values
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import weight_norm


@net(images())
class PlainConvNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(conv(3, 8), nn.MaxPool2d(2), conv(8, 16), nn.AdaptiveAvgPool2d(2))
        self.fc = nn.Linear(64, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.body(x).flatten(1))


@net(images())
class FrozenConvs(PlainConvNet):
    def __init__(self) -> None:
        super().__init__()
        self.body.requires_grad_(False)


@net(images())
class SplitUnequal(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = conv(3, 32, 1)
        self.small, self.large = conv(8, 8), conv(24, 16)
        self.head = Head(24)

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.stem(x).split([8, 24], 1)
        return self.head(torch.cat([self.small(a), self.large(b)], 1))


@net(images())
class ChunkGlu(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.wide, self.head = conv(3, 8), nn.Conv2d(8, 32, 1), Head(16)

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.wide(self.stem(x)).chunk(2, 1)
        return self.head(a * torch.sigmoid(b))


@net(images())
class PixelShuffle(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.up = conv(3, 8), nn.Conv2d(8, 32, 3, padding=1)
        self.shuffle, self.after, self.head = nn.PixelShuffle(2), nn.Conv2d(8, 8, 3), Head(8)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(functional.relu(self.after(self.shuffle(self.up(self.stem(x))))))


@net(images())
class HardCodedView(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.second, self.fc = conv(3, 8), conv(8, 16), nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.second(self.stem(x))
        return self.fc(x.view(x.shape[0], 16, -1).mean(2))


@net(values(6, 16))
class FusedQkv(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.into, self.qkv, self.proj = nn.Linear(16, 12), nn.Linear(12, 48), nn.Linear(16, 12)
        self.fc, self.heads = nn.Linear(12, 5), 4

    def forward(self, x: Tensor) -> Tensor:
        x = self.into(x)
        b, n, _ = x.shape
        q, k, v = self.qkv(x).reshape(b, n, 3, self.heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
        attention = (q @ k.transpose(-2, -1) * q.shape[-1] ** -0.5).softmax(-1)
        return self.fc(x + self.proj((attention @ v).transpose(1, 2).reshape(b, n, -1)))


@net(values(6, 16))
class MultiheadAttention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.into, self.attention = nn.Linear(16, 16), nn.MultiheadAttention(16, 4, batch_first=True)
        self.fc = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.into(x)
        return self.fc(x + self.attention(x, x, x, need_weights=False)[0])


@net(values(6, 16))
def LoneEncoderLayer() -> nn.Module:  # noqa: N802
    return nn.TransformerEncoderLayer(16, 4, 24, batch_first=True)


@net(values(6, 10))
class EncoderInModel(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(16, 4, 24, batch_first=True, norm_first=True)
        self.into, self.fc = nn.Linear(10, 16), nn.Linear(16, 5)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.encoder(self.into(x)))


@net(tokens())
class TiedEmbedding(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.hidden, self.back = nn.Embedding(20, 8), nn.Linear(8, 16), nn.Linear(16, 8)
        self.out = nn.Linear(8, 20, bias=False)
        self.out.weight = self.embedding.weight

    def forward(self, x: Tensor) -> Tensor:
        x = self.embedding(x)
        return self.out(x + self.back(functional.relu(self.hidden(x))))


@net(values(10))
class DataDependentBranch(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.one, self.other = nn.Linear(10, 8), nn.Linear(8, 12), nn.Linear(8, 12)
        self.middle, self.last = nn.Linear(12, 16), nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.first(x))
        x = self.one(x) if x.sum() > 0 else self.other(x)
        return self.last(functional.relu(self.middle(functional.relu(x))))


@net(images())
class WeightNorm(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = weight_norm(nn.Conv2d(3, 8, 3)), weight_norm(nn.Conv2d(8, 16, 3))
        self.head = Head(16)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(functional.relu(self.second(functional.relu(self.first(x)))))


class _Recurrent(nn.Module):
    def __init__(self, layer: nn.Module, width: int) -> None:
        super().__init__()
        self.into, self.layer, self.fc = nn.Linear(6, 8), layer, nn.Linear(width, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.layer(functional.relu(self.into(x)))[0][:, -1])


@net(values(7, 6))
def Gru() -> nn.Module:  # noqa: N802
    return _Recurrent(nn.GRU(8, 12, 2, batch_first=True), 12)


@net(values(7, 6))
def Lstm() -> nn.Module:  # noqa: N802
    return _Recurrent(nn.LSTM(8, 12, 2, batch_first=True, bidirectional=True), 24)


@net(images())
class GroupedUnequal(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.grouped, self.head = conv(3, 8), conv(8, 24, groups=4), Head(24)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.grouped(self.stem(x)))


@net(images())
class DepthwiseSqueeze(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.depthwise = conv(3, 16, 1), conv(16, 16, groups=16)
        self.down, self.up, self.head = nn.Conv2d(16, 4, 1), nn.Conv2d(4, 16, 1), Head(16)

    def forward(self, x: Tensor) -> Tensor:
        x = self.depthwise(self.stem(x))
        gate = self.up(functional.relu(self.down(functional.adaptive_avg_pool2d(x, 1))))
        return self.head(x * torch.sigmoid(gate))


@net(images())
class DenseBlock(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = conv(3, 8)
        self.layers = nn.ModuleList(conv(8 + 6 * i, 6) for i in range(3))
        self.head = Head(26)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for layer in self.layers:
            x = torch.cat([x, layer(x)], 1)
        return self.head(x)


@net(images())
class ResidualAdd(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.one, self.two, self.head = conv(3, 8), conv(8, 12), conv(12, 8), Head(8)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x += self.two(self.one(x))
        return self.head(x)


@net(values(6, 10))
class EinsumRaw(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(10, 12), nn.Linear(8, 5)
        self.mix = nn.Parameter(torch.randn(12, 8) / 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(
            functional.relu(torch.einsum("bnc,cd->bnd", functional.relu(self.first(x)), self.mix))
        )


@net(images())
class NoGradInside(PlainConvNet):
    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            x = self.body(x)
        return self.fc(x.flatten(1))


@net(images())
class DictOutput(PlainConvNet):
    def forward(self, x: Tensor) -> dict[str, Tensor]:
        x = self.body(x).flatten(1)
        return {"logits": self.fc(x), "norm": x.sum(1)}


@net(images())
class GroupNorm(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.norm, self.two = nn.Conv2d(3, 16, 3), nn.GroupNorm(4, 16), nn.Conv2d(16, 8, 3)
        self.head = Head(8)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(functional.relu(self.two(functional.relu(self.norm(self.one(x))))))


@net(images(size=4))
class ConvTranspose(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.up, self.two = conv(3, 8), nn.ConvTranspose2d(8, 12, 2, 2), nn.Conv2d(12, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.two(functional.relu(self.up(self.one(x))))


CASES = [
    "PlainConvNet",
    "FrozenConvs",
    "SplitUnequal",
    "ChunkGlu",
    "PixelShuffle",
    "HardCodedView",
    "FusedQkv",
    "MultiheadAttention",
    "LoneEncoderLayer",
    "EncoderInModel",
    "TiedEmbedding",
    "DataDependentBranch",
    "WeightNorm",
    "Gru",
    "Lstm",
    "GroupedUnequal",
    "DepthwiseSqueeze",
    "DenseBlock",
    "ResidualAdd",
    "EinsumRaw",
    "NoGradInside",
    "DictOutput",
    "GroupNorm",
    "ConvTranspose",
]
