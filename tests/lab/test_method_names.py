"""Names of methods that a spec does not name: the shortest words that tell them apart."""

import pytest
from lab_kit import spec

from prunery.lab.spec import from_plain, plain

SLOW = {"name": "finetune", "training": {"learning_rate": 0.01}}
FAST = {"name": "finetune", "training": {"learning_rate": 0.2}}
CHAIN = {"name": "iterative", "levels": [0.5, 0.9]}


def names(*methods, **changes):
    return [method.name for method in spec(methods=list(methods), **changes).methods]


@pytest.mark.parametrize(
    ("methods", "expected"),
    [
        ([{"criterion": "magnitude", "recovery": SLOW}, {"criterion": "snip"}], ["magnitude", "snip"]),
        (
            [{"criterion": "magnitude"}, {"criterion": "magnitude", "recovery": SLOW}],
            ["magnitude", "magnitude, lr 0.01"],
        ),
        (
            [{"criterion": "magnitude", "recovery": FAST}, {"criterion": "magnitude", "recovery": SLOW}],
            ["magnitude, lr 0.2", "magnitude, lr 0.01"],
        ),
        (
            [{"criterion": "magnitude"}, {"criterion": "magnitude", "schedule": CHAIN, "recovery": "rewind"}],
            ["magnitude", "magnitude, iterative, levels 0.5 to 0.9, rewind"],
        ),
        (
            [{"criterion": "magnitude"}, {"criterion": "magnitude", "granularity": "filter"}],
            ["magnitude", "magnitude, filters"],
        ),
        (
            [{"criterion": "magnitude"}, {"criterion": "magnitude", "at": "init", "floor": 0.05}],
            ["magnitude", "magnitude, before training, floor 5 %"],
        ),
        (
            [
                {"criterion": "magnitude", "recovery": "none"},
                {"criterion": "magnitude", "recovery": ["bn", SLOW]},
            ],
            ["magnitude, not retrained", "magnitude, bn, lr 0.01"],
        ),
    ],
)
def test_they_are_the_shortest_that_tell_methods_apart(methods, expected):
    assert names(*methods) == expected


def test_a_name_that_is_given_stays_and_is_not_taken_again():
    assert names({"criterion": "magnitude", "name": "snip"}, {"criterion": "snip", "scope": "layer"}) == [
        "snip",
        "snip layer",
    ]


def test_the_control_is_told_apart_too():
    made = spec(methods=[{"criterion": "magnitude", "at": "init"}], controls=["magnitude"])
    assert [method.name for method in made.compared] == ["magnitude, before training", "magnitude"]


def test_what_is_stored_keeps_its_names():
    made = spec(methods=[{"criterion": "magnitude", "recovery": SLOW}])
    stored = plain(made)
    assert stored["methods"][0]["name"] == "magnitude"
    long = {**stored, "methods": [{**stored["methods"][0], "name": "magnitude finetune(learning_rate=0.01)"}]}
    assert from_plain(long).methods[0].name == "magnitude finetune(learning_rate=0.01)"


def test_a_name_is_no_longer_than_a_spec_may_hold():
    settings = {"epochs": 5, "learning_rate": 0.01, "lr_schedule": "cosine", "batch": 64, "momentum": 0.8}
    settings |= {"weight_decay": 0.0001, "label_smoothing": 0.1, "augmentation": "flip"}
    many = {"criterion": "magnitude", "recovery": {"name": "finetune", "training": settings}}
    made = spec(methods=[{"criterion": "magnitude"}, many])
    assert len(made.methods[1].name) == 80
    assert made.methods[1].name.startswith("magnitude, 5 epochs, lr 0.01,")
    assert from_plain(plain(made)) == made
