"""The YAML of specs: numbers are numbers, words are words, no key stands twice."""

import pytest

from prunery.errors import SpecError
from prunery.lab.yaml import read, value

VALUES = {
    "1e-3": 0.001,
    "1E3": 1000.0,
    ".5": 0.5,
    "1.": 1.0,
    "-2": -2,
    "+3": 3,
    "1_000": 1000,
    "true": True,
    "False": False,
    "null": None,
    "~": None,
    "no": "no",
    "on": "on",
    "yes": "yes",
    "off": "off",
    "1:30": "1:30",
    "010": "010",
    "0x10": "0x10",
    "2026-01-31": "2026-01-31",
    "90%": "90%",
    "10x": "10x",
    '"90"': "90",
    "density=0.1": "density=0.1",
}


@pytest.mark.parametrize(("text", "wanted"), VALUES.items())
def test_what_a_word_means(text, wanted):
    found = read(f"key: {text}", source="f")["key"]
    assert (found, type(found)) == (wanted, type(wanted))
    assert value(text) == wanted


def test_aliases_and_merges_work_and_may_be_overridden():
    text = "base: &b {x: 1, y: 2}\nnext:\n  <<: *b\n  y: 3"
    assert read(text, source="f")["next"] == {"x": 1, "y": 3}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3", "f.yaml: line 3: key 'a': it stands on line 1 already"),
        ("x:\n  y: 1\n  z: 2\n  y: 3", "f.yaml: line 4: key 'y': it stands on line 2 already"),
        ("a: [1", "f.yaml: line 1: it is not YAML"),
        ("a: 1\n---\nb: 2", "f.yaml: line 2: it is not YAML"),
        ("a: !!python/object:os.system x", "could not determine a constructor"),
        ("? [a]\n: 3", "a key is a list"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(text, message):
    with pytest.raises(SpecError) as caught:
        read(text, source="f.yaml")
    assert message in str(caught.value)


def test_a_value_that_is_no_yaml_stays_text():
    assert value("[1, 2") == "[1, 2"
    assert value("{a: 1, a: 2}") == "{a: 1, a: 2}"
    assert value("[0.5, 90%]") == [0.5, "90%"]
