"""Footnotes: notes that differ in numbers alone share a mark, and their ranges are told."""

from collections import namedtuple

from prunery.report.text.formats import Footnotes

Run = namedtuple("Run", "seed")
ONE, TWO = [Run(0)], [Run(1)]


def test_numbers_become_ranges_and_names_stay():
    notes = Footnotes()
    first = notes.told("300 steps on 4,096 images: loss 0.05 to 5e-05 in fc2.weight", ONE, every=True)
    second = notes.told("300 steps on 512 images: loss 0.2 to 0.001 in fc2.weight", TWO, every=True)
    other = notes.told("300 steps on 512 images: loss 0.2 to 0.001 in fc3.weight", TWO, every=True)
    assert (first, second, other) == ("[1]", "[1]", "[2]")
    assert notes.lines() == [
        "[1] 300 steps on 512-4,096 images: loss 0.05-0.2 to 5e-05-0.001 in fc2.weight",
        "[2] seed 1: 300 steps on 512 images: loss 0.2 to 0.001 in fc3.weight",
    ]


def test_what_only_some_seeds_say_is_told_so():
    notes = Footnotes()
    notes.told("emptied 3 layers", ONE, every=False)
    assert notes.lines() == ["[1] seed 0: emptied 3 layers"]
    notes.told("emptied 4 layers", TWO, every=True)
    assert notes.lines() == ["[1] some seeds: emptied 3-4 layers"]
    assert notes.mark("2 of the weights") == notes.mark("2 of the weights") == "[2]"
