"""Small vision transformers, with attention as several libraries write it."""

from __future__ import annotations

from typing import Any

import torch
from graph_nets import images, net
from torch import Tensor, nn
from torch.nn import functional


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
        self,
        width: int,
        heads: int,
        depth: int,
        size: int,
        patch: int,
        block: Any = VitBlock,
        classes: int = 5,
    ) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, width, patch, patch)
        self.cls = nn.Parameter(torch.randn(1, 1, width) * 0.1)
        self.position = nn.Parameter(torch.randn(1, (size // patch) ** 2 + 1, width) * 0.1)
        self.blocks = nn.Sequential(*(block(width, heads) for _ in range(depth)))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, classes)

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
