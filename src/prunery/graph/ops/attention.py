"""Attention in one operation; written out it is products and a softmax."""

from __future__ import annotations

import numpy as np

from prunery.graph.flow import Flow, Operand, rule
from prunery.graph.labels import Labels, support
from prunery.graph.read_torch import Call

_ATTENTION = """
    _scaled_dot_product_flash_attention_for_cpu _scaled_dot_product_flash_attention
    _scaled_dot_product_efficient_attention _scaled_dot_product_cudnn_attention
    _scaled_dot_product_attention_math scaled_dot_product_attention
    _scaled_dot_product_fused_attention_overrideable
"""


@rule.add(ops=_ATTENTION)
def attention(flow: Flow, call: Call) -> None:
    """softmax(query · key) · value, for each head; queries of a group share a key and a value."""
    query, key, value = call.args[:3]
    times = query.shape[-3] // key.shape[-3] if query.ndim > 2 else 1
    head = query.ndim - 3
    q, k = flow.labels(query), _for_each_query(flow.labels(key), head, times)
    v = _for_each_query(flow.labels(value), head, times)
    rows = [*query.shape[:-2], query.shape[-2], 1, query.shape[-1]]
    columns = [*query.shape[:-2], 1, key.shape[-2], query.shape[-1]]
    q = tuple(np.expand_dims(ids, ids.ndim - 1) for ids in q)
    k = tuple(np.expand_dims(ids, ids.ndim - 2) for ids in k)
    shape = np.broadcast_shapes(rows, columns)
    scores = flow.joined(call, [Operand(tuple(rows), q), Operand(tuple(columns), k)], shape)
    for ids in scores:
        if ids.shape[-1] > 1 and ids.size == ids.shape[-1] and call.kwargs.get("scale") is None:
            flow.pin([ids], call, "scores are divided by the root of the number of channels")
    for ids in scores:
        if any(axis <= head for axis in support(ids)):
            flow.note_kind(ids, "head")
    scores = flow.reduced(call, scores, [len(shape) - 1], "")
    scores = flow.reduced(call, scores, [len(shape) - 2], "positions, not channels, are put together")
    weighted = tuple(ids.squeeze(-1) for ids in scores)  # (..., queries, 1)
    v = flow.reduced(call, v, [value.ndim - 2], "positions, not channels, are put together")
    out = (*query.shape[:-1], value.shape[-1])
    labels = flow.joined(call, [Operand((*out[:-1], 1), weighted), Operand((*out[:-2], 1, out[-1]), v)], out)
    flow.set(call.outputs()[0], labels)


def _for_each_query(labels: Labels, head: int, times: int) -> Labels:
    """Return the labels of keys or values for each head of the queries."""
    return tuple(ids.repeat(times, head) if times > 1 and ids.shape[head] > 1 else ids for ids in labels)
