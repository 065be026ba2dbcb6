"""Neighbours in space: pools, resizing, and positions that become channels."""

from __future__ import annotations

import numpy as np

from prunery.graph.channels import Ids
from prunery.graph.flow import Flow, rule
from prunery.graph.ops.moves import moved
from prunery.graph.read_torch import Call

_POOL = """
    reflection_pad1d reflection_pad2d reflection_pad3d replication_pad1d replication_pad2d replication_pad3d
    max_pool2d_with_indices max_pool3d_with_indices avg_pool1d avg_pool2d avg_pool3d _adaptive_avg_pool2d
    _adaptive_avg_pool3d adaptive_max_pool2d adaptive_max_pool3d max_pool1d_with_indices adaptive_avg_pool1d
    adaptive_max_pool1d max_pool1d max_pool2d max_pool3d fractional_max_pool2d adaptive_avg_pool2d
    upsample_nearest1d upsample_nearest2d upsample_nearest3d upsample_bilinear2d upsample_linear1d
    upsample_trilinear3d upsample_bicubic2d _upsample_nearest_exact1d _upsample_nearest_exact2d
    _upsample_bilinear2d_aa _upsample_bicubic2d_aa grid_sampler_2d grid_sampler_3d
    mkldnn_max_pool2d unfold_backward
"""


@rule.add(ops=_POOL)
def pool(flow: Flow, call: Call) -> None:
    """Neighbours in space put together, channel by channel."""
    source = call.args[0]
    space = range(
        source.ndim - (int(call.name[-2]) if call.name[-1] == "d" and call.name[-2].isdigit() else 2),
        source.ndim,
    )
    labels = flow.reduced(call, flow.labels(source), space, "positions, not channels, are put together")
    for output in call.outputs():
        flow.set(output, labels)


@rule.add(ops="pixel_shuffle")
def pixel_shuffle(flow: Flow, call: Call) -> None:
    """Groups of channels that become positions: one group is one channel of the output."""
    source, axis = call.args[0], call.args[0].ndim - 3
    group = call.args[1] ** 2
    labels = []
    for ids in flow.reduced(call, flow.labels(source), (axis + 1, axis + 2), "positions are moved"):
        if ids.shape[axis] > 1:
            shape = [*ids.shape[:axis], ids.shape[axis] // group, group, *ids.shape[axis + 1 :]]
            ids = flow.channels.tie(ids.reshape(shape), [axis + 1], "").squeeze(axis + 1)
        labels.append(ids)
    flow.set(call.output, labels)


@rule.add(ops="pixel_unshuffle")
def pixel_unshuffle(flow: Flow, call: Call) -> None:
    """Positions that become channels: each channel becomes a group of them."""
    source, axis = call.args[0], call.args[0].ndim - 3
    labels = flow.reduced(call, flow.labels(source), (axis + 1, axis + 2), "positions are moved")
    times = call.args[1] ** 2
    flow.set(call.output, [ids.repeat(times, axis) if ids.shape[axis] > 1 else ids for ids in labels])


@rule.add(ops="channel_shuffle native_channel_shuffle")
def channel_shuffle(flow: Flow, call: Call) -> None:
    """Channels in another order; as many of each group go."""
    groups = call.args[1]

    def move(ids: Ids) -> Ids:
        if ids.shape[1] == 1:
            return ids
        shape = (ids.shape[0], groups, ids.shape[1] // groups, *ids.shape[2:])
        flow.channels.tie(ids.reshape(shape), [1], "")
        return ids.reshape(shape).swapaxes(1, 2).reshape(ids.shape)

    moved(flow, call, move)


@rule.add(ops="im2col")
def im2col(flow: Flow, call: Call) -> None:
    """Patches: each channel becomes as many rows as a patch has positions."""
    kernel = int(np.prod(call.args[1]))
    labels = flow.reduced(call, flow.labels(call.args[0]), (2, 3), "positions are moved")
    labels = tuple(ids.reshape((*ids.shape[:2], 1)) for ids in labels)
    flow.set(call.output, [ids.repeat(kernel, 1) if ids.shape[1] > 1 else ids for ids in labels])
