"""Records: nothing is lost on the way to JSON and back, and equal means equal."""

import json
import math
from dataclasses import replace

import pytest
from lab_kit import differences, equal, record

from prunery.errors import StoreError
from prunery.lab.record import canonical, files_in, from_json, to_json


def test_json_gives_back_everything():
    before = record(files={"weights": "00"})
    after = from_json(to_json(before))
    assert math.isnan(after.tables["epochs"][0]["train_loss"])
    assert (after.numbers, after.parents, after.notes) == (before.numbers, before.parents, before.notes)
    assert (after.cost, after.environment, after.files) == (before.cost, before.environment, before.files)
    assert equal(before, after)


def test_the_files_of_a_record_without_the_rest():
    text = to_json(record(files={"weights": "00", "masks": "11"}))
    assert files_in(text) == ["weights", "masks"]
    with pytest.raises(StoreError, match="altered"):
        files_in(text.replace("97.5", "98.5"))
    with pytest.raises(ValueError):
        files_in(text[:-3])


def test_json_is_strict_where_numbers_are_not_finite():
    numbers = tuple(replace(record().numbers[0], value=v) for v in (math.nan, math.inf, -math.inf))
    text = to_json(record(numbers=numbers))
    json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    values = [n.value for n in from_json(text).numbers]
    assert math.isnan(values[0])
    assert values[1:] == [math.inf, -math.inf]


def test_times_and_environment_do_not_count():
    other = record(cost={"epochs": 2, "seconds": 99.0}, environment={"device": "cuda"})
    assert equal(record(), other)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("key", "f" * 16),
        ("args", {"model": "lenet300", "seed": 1}),
        ("parents", ()),
        ("numbers", ()),
        ("tables", {}),
        ("notes", ()),
        ("cost", {"epochs": 3, "seconds": 1.5}),
        ("files", {"weights": "00"}),
    ],
)
def test_all_else_counts(field, value):
    assert differences(record(), replace(record(), **{field: value})) == [field]


def test_a_digit_that_was_altered_is_noticed():
    text = to_json(record())
    assert text.count("97.5") == 1
    with pytest.raises(StoreError, match="altered"):
        from_json(text.replace("97.5", "98.5"), source="x")


@pytest.mark.parametrize("cut", [1, 100, -3])
def test_a_text_that_was_cut_off_is_no_record(cut):
    with pytest.raises(ValueError):
        from_json(to_json(record())[:cut])


def test_a_number_is_found_by_name_and_split():
    assert record().number("top1", "test").count == 975
    assert record().number("top1") is None
    assert record().number("top1", "train") is None


def test_canonical_text_is_one_for_equal_data():
    assert canonical({"b": 1.0, "a": (1, 2)}) == canonical({"a": [1, 2], "b": 1}) == '{"a":[1,2],"b":1}'
    assert canonical(0.5) != canonical(0.25)
    assert canonical({"a": None}) != canonical({})
