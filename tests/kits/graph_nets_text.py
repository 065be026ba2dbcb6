"""Small networks for text: recurrent and attention."""

from __future__ import annotations

import torch
from graph_nets import net, tokens, values
from torch import Tensor, nn
from torch.nn import functional


@net(tokens())
class LstmTagger(nn.Module):
    def __init__(
        self, words: int = 20, into: int = 8, width: int = 12, layers: int = 1, tags: int = 5
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(words, into)
        self.lstm = nn.LSTM(into, width, layers, bidirectional=True, batch_first=True)
        self.norm, self.fc = nn.LayerNorm(2 * width), nn.Linear(2 * width, tags)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.lstm(self.embedding(x))[0])


@net(values(7, 6))
class RnnStates(nn.Module):
    """A decoder that starts from the last state of an encoder."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = nn.RNN(6, 10, batch_first=True), nn.GRU(6, 10, batch_first=True)
        self.fc = nn.Linear(10, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.decoder(x, self.encoder(x)[1])[0])


@net(values(7, 6))
class LstmCells(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell, self.fc, self.hidden = nn.LSTMCell(6, 10), nn.Linear(10, 5), 10

    def forward(self, x: Tensor) -> Tensor:
        h = c = x.new_zeros(x.shape[0], self.hidden)
        for step in range(x.shape[1]):
            h, c = self.cell(x[:, step], (h, c))
        return self.fc(h)


@net(values(7, 6))
class LstmProjected(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.fc = nn.LSTM(6, 10, proj_size=8, batch_first=True), nn.Linear(8, 5)
        self.more = nn.Sequential(nn.Linear(5, 9), nn.ReLU(), nn.Linear(9, 4))

    def forward(self, x: Tensor) -> Tensor:
        return self.more(self.fc(self.lstm(x)[0]))


class GptAttention(nn.Module):
    """Causal attention; queries, keys and values from one split, a mask in a buffer."""

    def __init__(self, width: int, heads: int, length: int) -> None:
        super().__init__()
        self.c_attn, self.c_proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.n_head, self.n_embd = heads, width
        self.register_buffer("mask", torch.tril(torch.ones(length, length)).view(1, 1, length, length))

    def forward(self, x: Tensor) -> Tensor:
        B, T, C = x.size()
        q, k, v = self.c_attn(x).split(self.n_embd, dim=2)
        q, k, v = (t.view(B, T, self.n_head, C // self.n_head).transpose(1, 2) for t in (q, k, v))
        scores = (q @ k.transpose(-2, -1)) * (1.0 / k.size(-1) ** 0.5)
        scores = scores.masked_fill(self.mask[:, :, :T, :T] == 0, float("-inf"))
        y = functional.softmax(scores, dim=-1) @ v
        return self.c_proj(y.transpose(1, 2).contiguous().view(B, T, C))


class GptAttentionByHeads(nn.Module):
    """The same, by the size of a head: as many heads as there are features for."""

    def __init__(self, width: int, heads: int, length: int) -> None:
        super().__init__()
        self.c_attn, self.c_proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.split_size, self.head_dim = width, width // heads

    def forward(self, x: Tensor) -> Tensor:
        shape = (*x.shape[:-1], -1, self.head_dim)
        q, k, v = (t.view(shape).transpose(1, 2) for t in self.c_attn(x).split(self.split_size, dim=2))
        y = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.c_proj(y.transpose(1, 2).reshape(*x.shape[:-1], -1).contiguous())


class GptBlock(nn.Module):
    def __init__(self, width: int, heads: int, length: int, attention: type = GptAttention) -> None:
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = attention(width, heads, length)
        self.mlp = nn.ModuleDict({"c_fc": nn.Linear(width, 4 * width), "c_proj": nn.Linear(4 * width, width)})

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp["c_proj"](functional.gelu(self.mlp["c_fc"](self.ln_2(x)), approximate="tanh"))


class Gpt(nn.Module):
    def __init__(
        self, width: int, heads: int, depth: int, length: int, vocabulary: int, attention: type = GptAttention
    ) -> None:
        super().__init__()
        self.wte, self.wpe = nn.Embedding(vocabulary, width), nn.Embedding(length, width)
        self.blocks = nn.ModuleList(GptBlock(width, heads, length, attention) for _ in range(depth))
        self.ln_f, self.head = nn.LayerNorm(width), nn.Linear(width, vocabulary, bias=False)
        self.head.weight = self.wte.weight

    def forward(self, x: Tensor) -> Tensor:
        x = self.wte(x) + self.wpe(torch.arange(x.shape[1], device=x.device))
        for block in self.blocks:
            x = block(x)
        return self.head(self.ln_f(x))


@net(tokens(6))
def Gpt2() -> nn.Module:  # noqa: N802
    return Gpt(16, 4, 2, 8, 20)


@net(tokens(6))
def Gpt2ByHeads() -> nn.Module:  # noqa: N802
    return Gpt(16, 4, 2, 8, 20, GptAttentionByHeads)


class RmsNorm(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        x = x.float()
        return self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6))


def rotate_half(x: Tensor) -> Tensor:
    return torch.cat([-x[..., x.shape[-1] // 2 :], x[..., : x.shape[-1] // 2]], -1)


class LlamaAttention(nn.Module):
    """Grouped queries with rotary positions."""

    def __init__(self, width: int, heads: int, shared: int) -> None:
        super().__init__()
        self.num_heads, self.num_kv_heads, self.head_dim = heads, shared, width // heads
        self.num_key_value_groups = heads // shared
        self.q_proj, self.o_proj = nn.Linear(width, width, bias=False), nn.Linear(width, width, bias=False)
        self.k_proj = nn.Linear(width, shared * self.head_dim, bias=False)
        self.v_proj = nn.Linear(width, shared * self.head_dim, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        shape = (*x.shape[:-1], -1, self.head_dim)
        q, k, v = (p(x).view(shape).transpose(1, 2) for p in (self.q_proj, self.k_proj, self.v_proj))
        q, k = q * cos + rotate_half(q) * sin, k * cos + rotate_half(k) * sin
        b, h, n, d = k.shape
        k, v = (
            t[:, :, None].expand(b, h, self.num_key_value_groups, n, d).reshape(b, -1, n, d) for t in (k, v)
        )
        y = self.attend(q, k, v)
        return self.o_proj(y.transpose(1, 2).reshape(*x.shape[:-1], -1).contiguous())

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return functional.scaled_dot_product_attention(q, k, v, is_causal=True)


class LlamaWritten(LlamaAttention):
    """The same as products and a softmax."""

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        scores = torch.matmul(q, k.transpose(2, 3)) * self.head_dim**-0.5
        mask = torch.full(scores.shape[-2:], float("-inf")).triu(1)
        return torch.matmul((scores + mask).softmax(-1, dtype=torch.float32), v)


class LlamaBlock(nn.Module):
    def __init__(self, width: int, heads: int, shared: int, inner: int = 24) -> None:
        super().__init__()
        self.norm1, self.attention, self.norm2 = (
            RmsNorm(width),
            LlamaAttention(width, heads, shared),
            RmsNorm(width),
        )
        self.gate, self.up = nn.Linear(width, inner, bias=False), nn.Linear(width, inner, bias=False)
        self.down = nn.Linear(inner, width, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x), cos, sin)
        y = self.norm2(x)
        return x + self.down(functional.silu(self.gate(y)) * self.up(y))


@net(tokens(6))
class Llama(nn.Module):
    def __init__(
        self,
        width: int = 16,
        heads: int = 4,
        shared: int = 2,
        inner: int = 24,
        depth: int = 2,
        words: int = 20,
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(words, width)
        self.blocks = nn.ModuleList(LlamaBlock(width, heads, shared, inner) for _ in range(depth))
        self.norm, self.head = RmsNorm(width), nn.Linear(width, words, bias=False)
        half = width // heads // 2
        self.register_buffer("inv_freq", 1.0 / 100 ** (torch.arange(half).float() / half), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        angles = torch.outer(torch.arange(x.shape[1]).float(), self.inv_freq)
        angles = torch.cat([angles, angles], -1)
        cos, sin = angles.cos(), angles.sin()
        x = self.embedding(x)
        for block in self.blocks:
            x = block(x, cos, sin)
        return self.head(self.norm(x))


@net(tokens(6))
def LlamaEager() -> nn.Module:  # noqa: N802
    model = Llama()
    for block in model.blocks:
        block.attention.__class__ = LlamaWritten
    return model


@net(values(6, 16))
class EncoderDecoder(nn.Module):
    """nn.Transformer: attention to itself and across, with a causal mask."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Transformer(16, 4, 1, 1, 24, batch_first=True)
        self.fc = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        mask = nn.Transformer.generate_square_subsequent_mask(x.shape[1])
        return self.fc(self.body(x, x.flip(1), tgt_mask=mask, tgt_is_causal=True))


@net(values(6, 12))
class DefaultAttention(nn.Module):
    """Weights of attention are computed, and nobody uses them."""

    def __init__(self) -> None:
        super().__init__()
        self.into, self.attention = nn.Linear(12, 16), nn.MultiheadAttention(16, 4, bias=False)
        self.fc = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        x, _ = self.attention(*[self.into(x).transpose(0, 1)] * 3)
        return self.fc(x.mean(0))


@net(lambda batch: (torch.randn(6, batch, 12), torch.randn(9, batch, 8)))
class CrossAttention(nn.Module):
    """Keys and values of other widths, length first, with weights asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(12, 3, kdim=8, vdim=10)
        self.value, self.fc = nn.Linear(8, 10), nn.Linear(12, 5)

    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        out, weights = self.attention(x, y, self.value(y))
        return self.fc(out), weights


@net(values(6, 10))
class SeparateHeads(nn.Module):
    """Attention written out with einsum, a projection for each role."""

    def __init__(self) -> None:
        super().__init__()
        self.heads, self.q, self.k, self.v = 4, nn.Linear(10, 16), nn.Linear(10, 16), nn.Linear(10, 24)
        self.out = nn.Linear(24, 5)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (p(x).unflatten(-1, (self.heads, -1)) for p in (self.q, self.k, self.v))
        weights = torch.einsum("bqhd,bkhd->bhqk", q, k).div(2.0).softmax(-1)
        return self.out(torch.einsum("bhqk,bkhd->bqhd", weights, v).flatten(2))
