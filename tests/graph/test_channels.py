"""Channels by hand: joined, tied, pinned."""

from itertools import pairwise

import numpy as np

from prunery.graph.channels import Channels, counted


def pinned(channels):
    numbers, reasons = channels.reasons()
    return {i: list(reasons[n]) for i, n in enumerate(numbers.tolist()) if reasons[n] is not None}


def test_channels_that_are_joined_have_one_that_stands_for_them():
    channels = Channels()
    a, b, c = channels.fresh(3), channels.fresh(3), channels.fresh(3)
    channels.join(a, b, "")
    channels.join(b[::-1], c, "")
    assert channels.find(b).tolist() == a.tolist()
    assert channels.find(c).tolist() == a[::-1].tolist()
    assert pinned(channels) == {}


def test_a_chain_in_one_call_is_followed_to_its_end():
    channels = Channels()
    ids = channels.fresh(50)
    channels.join(ids[:-1], ids[1:], "")
    assert set(channels.find(ids).tolist()) == {int(ids[0])}


def test_what_stands_opposite_to_none_stays():
    channels = Channels()
    a = channels.fresh(3)
    channels.join(a, np.asarray([0, 0, int(a[2])]), "no partner: add")
    assert pinned(channels) == {int(a[0]): ["no partner: add"], int(a[1]): ["no partner: add"]}
    assert channels.stays()[a].tolist() == [True, True, False]


def test_tied_channels_are_one_along_an_axis():
    channels = Channels()
    ids = channels.fresh(6).reshape(2, 3)
    assert channels.tie(ids, [0], "").tolist() == [[1, 2, 3]]
    assert channels.find(ids).tolist() == [[1, 2, 3], [1, 2, 3]]
    assert channels.tie(ids, [0, 1], "").tolist() == [[1]]


def test_a_pin_holds_all_that_are_joined_before_and_after():
    channels = Channels()
    a, b, c = channels.fresh(2), channels.fresh(2), channels.fresh(2)
    channels.join(a, b, "")
    channels.pin(b[:1], "because: one")
    channels.pin(b[:1], "because: two")
    channels.pin(b[1:], "")
    channels.join(b, c, "")
    assert pinned(channels) == {int(a[0]): ["because: one"], int(a[1]): []}
    assert channels.stays()[channels.find(c)].all()


def test_none_is_never_pinned():
    channels = Channels()
    channels.pin(np.zeros(4, np.int64), "why")
    assert pinned(channels) == {}


def test_many_channels():
    channels = Channels()
    many = [channels.fresh(700) for _ in range(5)]
    for one, other in pairwise(many):
        channels.join(one, other, "")
    assert (channels.find(many[-1]) == many[0]).all()
    before = channels.joins
    channels.join(many[0], many[-1], "")
    assert channels.joins == before


def test_counted():
    ids, times = counted(np.asarray([[5, 2], [5, 0]]))
    assert (ids.tolist(), times.tolist()) == ([0, 2, 5], [1, 1, 2])
    assert counted(np.zeros(0, np.int64))[0].tolist() == []
