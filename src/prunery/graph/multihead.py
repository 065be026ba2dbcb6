"""Attention with fewer heads than its width asks for, which torch's own module cannot compute."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

_SIZES = ("num_heads", "embed_dim", "kdim", "vdim", "_qkv_same_embed_dim")


class PrunedMultiheadAttention(nn.MultiheadAttention):
    """nn.MultiheadAttention whose heads are as many as its parameters have rows for.

    Parameters have the names they have there, and the call is the same. `in_proj_weight` has 3·heads·head_dim
    rows, as many columns as the input has features, and `out_proj.weight` has heads·head_dim columns. Added
    keys (`add_bias_kv`, `add_zero_attn`) are not computed.
    """

    @staticmethod
    def replace_(module: nn.MultiheadAttention) -> None:
        """Turn torch's module into one of this class, of the size of its parameters."""
        module.__class__ = PrunedMultiheadAttention
        cast(PrunedMultiheadAttention, module).set_sizes_()

    def set_sizes_(self) -> None:
        """Set the sizes to those of the parameters."""
        weights = self._weights()
        self.num_heads = max(1, len(weights[0]) // self.head_dim)  # a single one may lose features
        self.embed_dim = len(self.out_proj.weight)
        self.kdim, self.vdim = weights[1].shape[1], weights[2].shape[1]
        self._qkv_same_embed_dim = False  # torch's fused kernels stay away

    def _weights(self) -> tuple[Tensor, ...]:
        """Return the weights of queries, keys and values."""
        if self.in_proj_weight is not None:
            return self.in_proj_weight.chunk(3)
        return self.q_proj_weight, self.k_proj_weight, self.v_proj_weight

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Return what torch's module would, and the weights of attention where they are asked for."""
        if is_causal and attn_mask is None:
            raise RuntimeError("is_causal is only a hint: give attn_mask too")
        together = query.ndim == 2  # one example without an axis of examples
        if together:
            query, key, value = query[None], key[None], value[None]
        elif not self.batch_first:
            query, key, value = (tensor.transpose(0, 1) for tensor in (query, key, value))
        causal = is_causal and key_padding_mask is None and not need_weights
        mask = None if causal else self._mask(query, attn_mask, key_padding_mask)
        out, weights = self._attend(self._projected(query, key, value), mask, causal, need_weights)
        out = self._out(out)
        if weights is not None and average_attn_weights:
            weights = weights.mean(1)
        if together:
            return out[:, 0], None if weights is None else weights[0]
        return (out.transpose(0, 1) if self.batch_first else out), weights

    def _out(self, mixed: Tensor) -> Tensor:
        return functional.linear(mixed, self.out_proj.weight, self.out_proj.bias)

    def _projected(self, *inputs: Tensor) -> list[Tensor]:
        """Return queries, keys and values with axes (example, head, position, feature)."""
        biases = (None,) * 3 if self.in_proj_bias is None else self.in_proj_bias.chunk(3)
        return [
            functional.linear(x, weight, bias).reshape(*x.shape[:2], self.num_heads, -1).transpose(1, 2)
            for x, weight, bias in zip(inputs, self._weights(), biases, strict=True)
        ]

    def _mask(self, query: Tensor, attn_mask: Tensor | None, padding: Tensor | None) -> Tensor | None:
        """Return what is added to scores, with axes (example, head, query, key), or None."""
        if attn_mask is not None and attn_mask.ndim == 3:
            if len(attn_mask) != len(query) * self.num_heads:
                raise RuntimeError(f"attn_mask is not for {len(query)} examples x {self.num_heads} heads")
            attn_mask = attn_mask.reshape(-1, self.num_heads, *attn_mask.shape[1:])
        added = [_added(m, query.dtype) for m in (attn_mask,) if m is not None]
        if padding is not None:
            added.append(_added(padding, query.dtype).reshape(-1, 1, 1, padding.shape[-1]))
        return sum(added[1:], added[0]) if added else None

    def _attend(
        self, projected: list[Tensor], mask: Tensor | None, causal: bool, need_weights: bool
    ) -> tuple[Tensor, Tensor | None]:
        q, k, v = projected
        dropout = self.dropout if self.training else 0.0
        if not need_weights:
            out, weights = (
                functional.scaled_dot_product_attention(
                    q, k, v, mask, dropout, causal, scale=self.head_dim**-0.5
                ),
                None,
            )
        else:
            scores = q * self.head_dim**-0.5 @ k.transpose(-2, -1)
            weights = functional.dropout((scores if mask is None else scores + mask).softmax(-1), dropout)
            out = weights @ v
        return out.permute(2, 0, 1, 3).flatten(2), weights  # laid out as torch's module does it


class _InParts(PrunedMultiheadAttention):
    """Calls `out_proj` as a module, so that its hooks run."""

    def _out(self, mixed: Tensor) -> Tensor:
        return self.out_proj(mixed)  # type: ignore[no-any-return]


@contextmanager
def in_parts(*models: nn.Module) -> Iterator[None]:
    """Within it torch's attention calls `out_proj` as a module, so that what enters it can be seen.

    Results are the same but for rounding. Attention with added keys (`add_bias_kv`, `add_zero_attn`), and
    classes derived from torch's but that of fewer heads, are left as they are.
    """
    kinds = (nn.MultiheadAttention, PrunedMultiheadAttention)
    every = [m for model in models for m in model.modules() if isinstance(m, nn.MultiheadAttention)]
    plain = [m for m in every if type(m) in kinds and m.bias_k is None and not m.add_zero_attn]
    before = [(type(m), {name: vars(m)[name] for name in _SIZES}) for m in plain]
    fast: Any = torch.backends.mha
    fused = fast.get_fastpath_enabled()
    try:
        for module in plain:
            PrunedMultiheadAttention.replace_(module)
            module.__class__ = _InParts
        if plain:
            fast.set_fastpath_enabled(False)
        yield
    finally:
        for module, (kind, state) in zip(plain, before, strict=True):
            module.__class__ = kind
            vars(module).update(state)
        fast.set_fastpath_enabled(fused)


def _added(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """Return a mask as numbers that are added to scores; True, as torch has it, hides a place."""
    if mask.dtype != torch.bool:
        return mask.to(dtype)
    return torch.zeros_like(mask, dtype=dtype).masked_fill(mask, float("-inf"))
