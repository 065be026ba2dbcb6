"""More parts of random networks: moves, gates, raw parameters, attention, recurrence, writes into views."""

from __future__ import annotations

import random
from typing import Any

import torch
from graph_random import Op, Shape, part, width
from torch import Tensor, nn
from torch.nn import functional


@part
def gated(draw: random.Random, shape: Shape) -> Op | None:
    if shape[0] % 2:
        return None

    def run(m: Any, x: Tensor) -> Tensor:
        a, b = x.chunk(2, 1)
        return a * torch.sigmoid(b)

    kind = draw.choice((run, lambda m, x: functional.glu(x, 1)))
    return Op(kind, (shape[0] // 2, *shape[1:]))


@part
def shuffled(draw: random.Random, shape: Shape) -> Op | None:
    groups = draw.choice((2, 4))
    if shape[0] % groups:
        return None

    def run(m: Any, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        return x.view(n, m.groups, c // m.groups, h, w).transpose(1, 2).reshape(n, -1, h, w)

    return Op(draw.choice((run, lambda m, x: functional.channel_shuffle(x, m.groups))), shape, groups=groups)


@part
def pixels(draw: random.Random, shape: Shape) -> Op | None:
    c, h, w = shape
    if draw.random() < 0.5 and not c % 4:
        return Op(lambda m, x: functional.pixel_shuffle(x, 2), (c // 4, 2 * h, 2 * w)) if c > 4 else None
    if h % 2 or w % 2:
        return None
    return Op(lambda m, x: functional.pixel_unshuffle(x, 2), (4 * c, h // 2, w // 2))


@part
def scaled(draw: random.Random, shape: Shape) -> Op:
    c = shape[0]
    gain, shift = nn.Parameter(torch.rand(c, 1, 1) + 0.5), torch.randn(c)
    kinds = (
        lambda m, x: x * m.gain,
        lambda m, x: m.gain * x + m.shift.view(1, -1, 1, 1),
        lambda m, x: torch.addcmul(x, x, m.gain, value=0.5),
        lambda m, x: (x.permute(0, 2, 3, 1) + m.shift).permute(0, 3, 1, 2),
        lambda m, x: x * m.gain.exp() if m.gain.shape[0] else x,
    )
    op = Op(draw.choice(kinds), shape, gain=gain)
    op.register_buffer("shift", shift)
    return op


@part
def mixed(draw: random.Random, shape: Shape) -> Op:
    out = width(draw)
    mix = nn.Parameter(torch.randn(shape[0], out) / shape[0] ** 0.5)
    kinds = (
        lambda m, x: torch.einsum("bchw,cd->bdhw", x, m.mix),
        lambda m, x: (x.permute(0, 2, 3, 1) @ m.mix).permute(0, 3, 1, 2),
        lambda m, x: torch.tensordot(x, m.mix, ([1], [0])).movedim(-1, 1),
        lambda m, x: (m.mix.t() @ x.flatten(2)).unflatten(-1, x.shape[2:]),
    )
    return Op(draw.choice(kinds), (out, *shape[1:]), mix=mix)


@part
def grouped_mean(draw: random.Random, shape: Shape) -> Op | None:
    c, h, w = shape
    if c % 2 or c == 2:
        return None
    kinds = (
        lambda m, x: x.view(x.shape[0], -1, 2, *x.shape[2:]).mean(2),
        lambda m, x: x.view(x.shape[0], 2, -1, *x.shape[2:]).sum(1),
        lambda m, x: x.unflatten(1, (2, -1)).amax(1),
        lambda m, x: torch.stack(x.chunk(2, 1)).mean(0),
        lambda m, x: sum(x.split(x.shape[1] // 2, 1)),
        lambda m, x: x[:, ::2] - x[:, 1::2],
        lambda m, x: x[:, : x.shape[1] // 2],
    )
    return Op(draw.choice(kinds), (c // 2, h, w))


@part
def moved(draw: random.Random, shape: Shape) -> Op:
    c, h, w = shape
    kinds = (
        (lambda m, x: x.flip(1), shape),
        (lambda m, x: x.flip(2), shape),
        (lambda m, x: x.roll(1, 3), shape),
        (lambda m, x: x.transpose(2, 3), (c, w, h)),
        (lambda m, x: x.repeat(1, 2, 1, 1), (2 * c, h, w)),
        (lambda m, x: x.repeat_interleave(2, 1), (2 * c, h, w)),
        (lambda m, x: functional.pad(x, (1, 0, 0, 1)), (c, h + 1, w + 1)),
        (lambda m, x: functional.pad(x, (0, 0, 0, 0, 2, 2)), (c + 4, h, w)),
        (lambda m, x: torch.cat([x, x.new_zeros(x.shape[0], 4, *x.shape[2:])], 1), (c + 4, h, w)),
        (lambda m, x: torch.cat([x, -x], 1), (2 * c, h, w)),
        (lambda m, x: x[:, :, 1:, :-1] if x.shape[2] > 2 else x, (c, h - (h > 2), w - (h > 2))),
        (lambda m, x: x.expand(x.shape[0], -1, -1, -1).contiguous(), shape),
    )
    return Op(*draw.choice(kinds))


@part
def put_together(draw: random.Random, shape: Shape) -> Op:
    kinds = (
        lambda m, x: x * x.mean(1, keepdim=True),
        lambda m, x: x / x.norm(dim=1, keepdim=True).clamp_min(0.1),
        lambda m, x: x * x.softmax(1),
        lambda m, x: x * x.flatten(2).softmax(-1).view_as(x),
        lambda m, x: x - x.mean((2, 3), keepdim=True),
        lambda m, x: functional.layer_norm(x.permute(0, 2, 3, 1), (x.shape[1],)).permute(0, 3, 1, 2),
        lambda m, x: x * torch.sigmoid(x.sum(1, keepdim=True)),
        lambda m, x: x.cumsum(2) / 4,
        lambda m, x: x.clamp(-1, 1) + x.abs().sqrt(),
        lambda m, x: (
            (x.flatten(2) @ x.flatten(2).transpose(1, 2)).softmax(-1)
            @ x.flatten(2)
            @ torch.eye(x.shape[2] * x.shape[3], dtype=x.dtype)
        ),
    )
    function = draw.choice(kinds)
    return Op(lambda m, x: m.inner(m, x).reshape(x.shape), shape, inner=function)


@part
def written(draw: random.Random, shape: Shape) -> Op | None:
    c = shape[0]
    if c < 6:
        return None

    def half(m: Any, x: Tensor) -> Tensor:
        y = x.clone()
        y[:, : m.half] = torch.tanh(m.conv(x[:, : m.half]))
        return y

    def zeros(m: Any, x: Tensor) -> Tensor:
        y = torch.zeros_like(x)
        y += x
        y[:, m.half :].mul_(0.5)
        return y

    def rows(m: Any, x: Tensor) -> Tensor:
        y = torch.empty_like(x)
        y[:, :, 0] = 0.0
        y[:, :, 1:] = x[:, :, :-1]
        return y

    def apart(m: Any, x: Tensor) -> Tensor:
        a, b = x.split([m.half, x.shape[1] - m.half], 1)
        return torch.cat([functional.relu(a), m.conv(a), b[:, m.half :]], 1)

    kind = draw.choice((half, zeros, rows, apart))
    out = (
        c if c >= 2 * (c // 2) and kind is not apart else 2 * (c // 2) + max(0, c - c // 2 - c // 2),
        *shape[1:],
    )
    return Op(kind, out, half=c // 2, conv=nn.Conv2d(c // 2, c // 2, 1))


@part
def tokens(draw: random.Random, shape: Shape) -> Op:
    """Positions as a sequence: a layer norm and a perceptron."""
    c, hidden = shape[0], width(draw)
    body = nn.Sequential(
        nn.LayerNorm(c) if draw.random() < 0.5 else nn.Identity(), nn.Linear(c, hidden), nn.GELU()
    )

    def run(m: Any, x: Tensor) -> Tensor:
        y = m.back(m.body(x.flatten(2).transpose(1, 2)))
        return y.transpose(1, 2).reshape(x.shape)

    return Op(run, shape, body=body, back=nn.Linear(hidden, c))


@part
def attention(draw: random.Random, shape: Shape) -> Op | None:
    c, heads = shape[0], draw.choice((1, 2, 4))
    if c % heads:
        return None

    def packed(m: Any, x: Tensor) -> Tensor:
        y = x.flatten(2).transpose(1, 2)
        b, n, _ = y.shape
        q, k, v = m.qkv(y).view(b, n, 3, m.heads, -1).permute(2, 0, 3, 1, 4)
        y = functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, n, -1)
        return m.out_proj(y).transpose(1, 2).reshape(b, -1, *x.shape[2:])

    def whole(m: Any, x: Tensor) -> Tensor:
        y = x.flatten(2).transpose(1, 2)
        return m.attention(y, y, y)[0].transpose(1, 2).reshape(x.shape)

    if draw.random() < 0.5:
        return Op(whole, shape, attention=nn.MultiheadAttention(c, heads, batch_first=True))
    return Op(packed, shape, qkv=nn.Linear(c, 3 * c), out_proj=nn.Linear(c, c), heads=heads)


@part
def recurrent(draw: random.Random, shape: Shape) -> Op:
    hidden, two = width(draw), draw.random() < 0.5
    layer = draw.choice((nn.LSTM, nn.GRU, nn.RNN))(shape[0], hidden, 1, batch_first=True, bidirectional=two)

    def run(m: Any, x: Tensor) -> Tensor:
        y = m.layer(x.flatten(2).transpose(1, 2))[0]
        return y.transpose(1, 2).reshape(x.shape[0], -1, *x.shape[2:])

    return Op(run, (hidden * (1 + two), *shape[1:]), layer=layer)
