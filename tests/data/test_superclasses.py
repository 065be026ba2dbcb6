"""CIFAR-100's superclasses: twenty of five, as the set's own coarse labels have them."""

import os
from collections import Counter

import pytest

from prunery.data.sets import load
from prunery.data.superclasses import CIFAR100, superclasses


def test_twenty_of_five():
    names = [name for members in CIFAR100.values() for name in members.split()]
    assert len(names) == len(set(names)) == 100
    assert Counter(superclasses(names)) == dict.fromkeys(range(20), 5)
    assert superclasses(["whale", "apple"]) == (0, 4)
    assert superclasses(["apple", "banana"]) is None


@pytest.mark.skipif("PRUNERY_DATA" not in os.environ, reason="needs a mirror of CIFAR-100 (PRUNERY_DATA)")
def test_as_the_coarse_labels_say():
    fine, coarse = load("cifar100"), load("cifar100-coarse")
    assert coarse.class_names == tuple(CIFAR100)
    numbers = superclasses(fine.class_names)
    assert [numbers[y] for y in fine.test.y.tolist()] == coarse.test.y.tolist()
