"""Labels by hand: how channels move when elements do."""

import numpy as np
import pytest

from prunery.graph.channels import Channels
from prunery.graph.labels import axis_label, narrowed, permuted, sliced, spread, support, viewed


def line(*ids):
    return np.asarray(ids, np.int64)


def test_a_label_lies_along_one_axis():
    ids = axis_label(line(1, 2, 3), 1, 3)
    assert ids.shape == (1, 3, 1)
    assert support(ids) == (1,)
    assert support(axis_label(line(1), 0, 2)) == ()


@pytest.mark.parametrize(
    ("label", "old", "new", "expected"),
    [
        # (2, 3, 4) -> (2, 12): each channel is four elements now
        (axis_label(line(1, 2, 3), 1, 3), (2, 3, 4), (2, 12), [[1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3]]),
        # positions merged: the channels stay where they are
        (axis_label(line(1, 2), 1, 4), (5, 2, 3, 3), (5, 2, 9), [[[1], [2]]]),
        # one axis in two: heads and features
        (axis_label(line(1, 2, 3, 4), 1, 2), (7, 4), (7, 2, 2), [[[1, 2], [3, 4]]]),
        # axes of size 1 come and go
        (axis_label(line(1, 2), 0, 1), (2,), (1, 2, 1), [[[1], [2]]]),
        (axis_label(line(1, 2), 1, 3), (1, 2, 1), (2,), [1, 2]),
        # the batch is merged with channels behind it
        (axis_label(line(1, 2), 1, 2), (3, 2), (6,), [1, 2, 1, 2, 1, 2]),
        # and with positions that stand before them
        (axis_label(line(1, 2), 2, 3), (3, 5, 2), (15, 2), [[1, 2]]),
    ],
)
def test_a_view_keeps_elements_in_order(label, old, new, expected):
    assert viewed(label, old, new).tolist() == expected


def test_a_view_and_back_is_the_same():
    draw = np.random.default_rng(0)
    for old, new in (((4, 6, 5), (24, 5)), ((4, 6, 5), (2, 2, 30)), ((8, 3), (2, 4, 3)), ((6, 4), (3, 8))):
        for axis in range(len(old)):
            ids = axis_label(draw.permutation(old[axis]) + 1, axis, len(old))
            whole = np.broadcast_to(ids, old)
            moved = viewed(ids, old, new)
            assert (np.broadcast_to(moved, new) == whole.reshape(new)).all()
            assert (np.broadcast_to(viewed(moved, new, old), old) == whole).all()


def test_other_moves():
    ids = axis_label(line(1, 2, 3), 1, 3)
    assert permuted(ids, (0, 2, 1)).shape == (1, 1, 3)
    assert permuted(ids, (-1, 0, 1)).shape == (1, 1, 3)
    assert spread(ids, (2, 2, 3, 4)).shape == (1, 1, 3, 1)
    assert sliced(ids, 1, slice(1, 3)).reshape(-1).tolist() == [2, 3]
    assert sliced(ids, 1, 2).shape == (1, 1)
    assert sliced(ids, 0, 0).tolist() == [[1], [2], [3]]
    assert sliced(ids, 0, slice(0, 1)).shape == ids.shape


def test_axes_along_which_channels_are_the_same_fall_away():
    channels = Channels()
    ids = channels.fresh(6).reshape(2, 3)
    assert support(narrowed(ids, channels)) == (0, 1)
    channels.join(ids[0], ids[1], "")
    assert narrowed(ids, channels).tolist() == [[1, 2, 3]]
