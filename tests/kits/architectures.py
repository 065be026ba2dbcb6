"""Parts of well-known architectures, written out in plain torch, small."""

import math

import torch
from torch import nn
from torch.nn import functional


class Conv1D(nn.Module):
    """GPT-2's linear layer: a weight of shape (in, out), through addmm."""

    def __init__(self, nf, nx):
        super().__init__()
        self.nf = nf
        self.weight = nn.Parameter(torch.randn(nx, nf) / nx**0.5)
        self.bias = nn.Parameter(torch.zeros(nf))

    def forward(self, x):
        return torch.addmm(self.bias, x.view(-1, x.shape[-1]), self.weight).view(*x.shape[:-1], self.nf)


class GPT2(nn.Module):
    """One block, token and position tables, and a head tied to the token table."""

    def __init__(self, width=16, words=30, length=12, heads=2):
        super().__init__()
        self.wte, self.wpe = nn.Embedding(words, width), nn.Embedding(length, width)
        self.ln_1, self.ln_2, self.ln_f = (nn.LayerNorm(width) for _ in range(3))
        self.c_attn, self.c_proj = Conv1D(3 * width, width), Conv1D(width, width)
        self.c_fc, self.c_out = Conv1D(4 * width, width), Conv1D(width, 4 * width)
        self.lm_head = nn.Linear(width, words, bias=False)
        self.lm_head.weight = self.wte.weight
        self.heads = heads

    def forward(self, input_ids):
        batch, length = input_ids.shape
        x = self.wte(input_ids) + self.wpe(torch.arange(length, device=input_ids.device))
        parts = self.c_attn(self.ln_1(x)).view(batch, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        y = functional.scaled_dot_product_attention(*parts, is_causal=True)
        x = x + self.c_proj(y.transpose(1, 2).reshape(batch, length, -1))
        x = x + self.c_out(functional.gelu(self.c_fc(self.ln_2(x)), approximate="tanh"))
        return {"logits": self.lm_head(self.ln_f(x))}


class RMSNorm(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x):
        return self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6))


class T5Attention(nn.Module):
    """Self-attention with relative positions in logarithmic buckets."""

    def __init__(self, width=16, words=30, heads=2, buckets=8):
        super().__init__()
        self.words = nn.Embedding(words, width)
        self.norm = RMSNorm(width)
        self.q, self.k, self.v, self.o = (nn.Linear(width, width, bias=False) for _ in range(4))
        self.relative_attention_bias = nn.Embedding(buckets, heads)
        self.heads, self.buckets = heads, buckets

    def bucket(self, distance):
        half = self.buckets // 2
        bucket = (distance > 0).to(torch.long) * half
        distance = torch.abs(distance)
        exact = half // 2
        large = exact + (torch.log(distance.float() / exact) / math.log(128 / exact) * (half - exact)).to(
            torch.long
        )
        large = torch.min(large, torch.full_like(large, half - 1))
        bucket += torch.where(distance < exact, distance, large)
        return bucket

    def forward(self, input_ids):
        x = self.words(input_ids)
        batch, length, width = x.shape
        places = torch.arange(length, device=input_ids.device)
        bias = self.relative_attention_bias(self.bucket(places[None] - places[:, None])).permute(2, 0, 1)
        normed = self.norm(x)
        q, k, v = (
            f(normed).view(batch, length, self.heads, -1).transpose(1, 2) for f in (self.q, self.k, self.v)
        )
        y = ((q @ k.transpose(2, 3) + bias).float().softmax(-1)) @ v
        return x + self.o(y.transpose(1, 2).reshape(batch, length, width))


class Llama(nn.Module):
    """One block: rotary positions, fewer heads of keys than of queries, a gated MLP."""

    def __init__(self, width=16, words=30, heads=4, groups=2, inner=24):
        super().__init__()
        self.embed_tokens = nn.Embedding(words, width)
        size = width // heads
        self.q_proj, self.o_proj = nn.Linear(width, width, bias=False), nn.Linear(width, width, bias=False)
        self.k_proj, self.v_proj = (nn.Linear(width, groups * size, bias=False) for _ in range(2))
        self.gate_proj, self.up_proj = (nn.Linear(width, inner, bias=False) for _ in range(2))
        self.down_proj = nn.Linear(inner, width, bias=False)
        self.norm_1, self.norm_2 = RMSNorm(width), RMSNorm(width)
        self.lm_head = nn.Linear(width, words, bias=False)
        self.lm_head.weight = self.embed_tokens.weight
        self.register_buffer("inv_freq", 1.0 / 10000 ** (torch.arange(0, size, 2) / size))
        self.heads, self.groups = heads, groups

    def rotated(self, x):
        angles = (torch.arange(x.shape[2], device=x.device)[:, None] * self.inv_freq).repeat(1, 2)
        a, b = x.chunk(2, -1)
        return x * angles.cos() + torch.cat([-b, a], -1) * angles.sin()

    def forward(self, input_ids):
        x = self.embed_tokens(input_ids)
        batch, length, width = x.shape
        normed = self.norm_1(x)
        q, k, v = (
            f(normed).view(batch, length, n, -1).transpose(1, 2)
            for f, n in ((self.q_proj, self.heads), (self.k_proj, self.groups), (self.v_proj, self.groups))
        )
        k, v = (t.repeat_interleave(self.heads // self.groups, 1) for t in (self.rotated(k), v))
        y = functional.scaled_dot_product_attention(self.rotated(q), k, v, is_causal=True)
        x = x + self.o_proj(y.transpose(1, 2).reshape(batch, length, width))
        normed = self.norm_2(x)
        x = x + self.down_proj(functional.silu(self.gate_proj(normed)) * self.up_proj(normed))
        return self.lm_head(x)


class Experts(nn.Module):
    """Mixtral's experts: stacked weights, each on the rows that the router sends to it."""

    def __init__(self, width=8, inner=6, experts=4, top=2, how="loop"):
        super().__init__()
        self.router = nn.Linear(width, experts, bias=False)
        self.gate_up_proj = nn.Parameter(torch.randn(experts, 2 * inner, width))
        self.down_proj = nn.Parameter(torch.randn(experts, width, inner))
        self.top, self.how = top, how

    def forward(self, x):
        rows = x.reshape(-1, x.shape[-1])
        scores, chosen = self.router(rows).softmax(-1).topk(self.top, -1)
        return (self.loop if self.how == "loop" else self.gathered)(rows, scores, chosen).view(x.shape)

    def loop(self, rows, scores, chosen):
        total = torch.zeros_like(rows)
        for expert in chosen.unique():
            row, place = torch.where(chosen == expert)
            gate, up = functional.linear(rows[row], self.gate_up_proj[expert]).chunk(2, -1)
            y = functional.linear(functional.silu(gate) * up, self.down_proj[expert])
            total.index_add_(0, row, y * scores[row, place, None])
        return total

    def gathered(self, rows, scores, chosen):
        ids, repeated = chosen.reshape(-1), rows.repeat_interleave(self.top, 0)
        gate, up = torch.bmm(self.gate_up_proj[ids], repeated.unsqueeze(-1)).squeeze(-1).chunk(2, -1)
        y = torch.bmm((functional.silu(gate) * up).unsqueeze(1), self.down_proj[ids].transpose(1, 2))
        return (y.squeeze(1) * scores.view(-1, 1)).view(-1, self.top, rows.shape[-1]).sum(1)


class LoRA(nn.Module):
    """An adapter beside a linear layer, as peft hangs it there."""

    def __init__(self, base_layer, rank=2):
        super().__init__()
        self.base_layer = base_layer
        self.lora_A = nn.ModuleDict({"default": nn.Linear(base_layer.in_features, rank, bias=False)})
        self.lora_B = nn.ModuleDict({"default": nn.Linear(rank, base_layer.out_features, bias=False)})

    def forward(self, x):
        return self.base_layer(x) + 0.5 * self.lora_B["default"](self.lora_A["default"](x))


class WindowAttention(nn.Module):
    """Swin's attention: a table of position biases and an index into it."""

    def __init__(self, width=8, heads=2, length=4):
        super().__init__()
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.relative_position_bias_table = nn.Parameter(torch.randn(2 * length - 1, heads))
        places = torch.arange(length)
        self.register_buffer("index", places[:, None] - places + length - 1)
        self.heads = heads

    def forward(self, x):
        batch, length, width = x.shape
        q, k, v = self.qkv(x).view(batch, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
        bias = (
            self.relative_position_bias_table[self.index.view(-1)].view(length, length, -1).permute(2, 0, 1)
        )
        y = (q @ k.transpose(-2, -1) + bias).softmax(-1) @ v
        return self.proj(y.transpose(1, 2).reshape(batch, length, width))


class ConvNeXt(nn.Module):
    """A depthwise convolution, a global response norm, layer scale."""

    def __init__(self, width=8):
        super().__init__()
        self.dwconv, self.norm = nn.Conv2d(width, width, 7, padding=3, groups=width), nn.LayerNorm(width)
        self.pwconv1, self.pwconv2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.grn_gamma = nn.Parameter(torch.ones(1, 1, 1, 4 * width))
        self.layer_scale = nn.Parameter(torch.ones(width, 1, 1))

    def forward(self, x):
        y = functional.gelu(self.pwconv1(self.norm(self.dwconv(x).permute(0, 2, 3, 1))))
        spread = torch.norm(y, p=2, dim=(1, 2), keepdim=True)
        y = y + self.grn_gamma * (y * (spread / (spread.mean(-1, keepdim=True) + 1e-6)))
        return x + self.layer_scale * self.pwconv2(y).permute(0, 3, 1, 2)
