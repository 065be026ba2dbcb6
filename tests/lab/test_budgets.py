"""Epochs of each method, unequal budgets, and the smallest difference that seeds can show."""

from lab_kit import HERE, spec

from prunery.lab import archive, budgets
from prunery.lab.plan import plan
from prunery.lab.spec import from_plain, load, plain

RESULTS = HERE.parents[1] / "results"
LONG = {"name": "finetune", "training": {"epochs": 4}}
CHAIN = {"name": "imp", "criterion": "magnitude", "schedule": {"name": "iterative", "levels": [0.5, 0.9]}}
DURING = {
    "name": "slow",
    "criterion": "magnitude",
    "schedule": {"name": "gradual", "training": {"epochs": 7}},
}


def test_epochs_in_all_count_what_comes_before_in_and_after_the_cuts():
    snip = {"criterion": "snip", "recovery": "finetune"}
    asked = spec(methods=[CHAIN, DURING, snip, {"criterion": "random", "recovery": "none"}])
    assert budgets.epochs_of(asked) == {
        "imp": {0.5: 2 + 2, 0.9: 2 + 2 + 2},
        "slow": {0.5: 7, 0.9: 7},
        "snip": {0.5: 2, 0.9: 2},
        "random": {0.5: 2, 0.9: 2},
    }
    assert budgets.ranged({0.5: 4, 0.9: 6}) == "4-6"
    assert budgets.ranged({0.5: 4, 0.9: 4}) == "4"


def test_unequal_budgets_are_said_and_how_to_make_them_equal():
    short = [{"criterion": "magnitude"}, {"criterion": "snip", "recovery": "finetune"}]
    assert budgets.unequal(spec(methods=short)) == (
        "Budgets are unequal: epochs in all are 4 for magnitude; 2 for snip. This alone can make a "
        "difference in accuracy. To train what is pruned before training (snip) for 4: "
        "recovery: {name: finetune, training: {epochs: 4}}."
    )
    for equal in ({}, {"recovery": LONG}):
        methods = [{"criterion": "magnitude"}, {"criterion": "snip", **equal}]
        assert budgets.unequal(spec(methods=methods)) is None
    assert budgets.unequal(load("study:demo")) is None
    assert "4-6 for imp; 4 for magnitude" in budgets.unequal(
        spec(methods=[CHAIN, {"criterion": "magnitude"}])
    )


def test_what_seeds_can_show_is_said_in_spreads_where_no_run_tells_more():
    assert budgets.shown_by(spec(seeds=1), None) == (
        "1 seed can show no difference, because an interval needs 3 seeds or more"
    )
    assert budgets.shown_by(spec(seeds=5), None) == (
        "5 seeds can show differences of 2.3 spreads between runs or more"
    )
    apart = [{"criterion": "magnitude"}, {"criterion": "snip", "sparsities": [0.5]}]
    assert "of 2.5 spreads" in budgets.shown_by(spec(seeds=5, methods=apart), None)
    assert "at a sparsity with fewer methods" in budgets.shown_by(spec(seeds=5, methods=apart), None)


def test_and_in_points_where_records_of_the_same_task_tell():
    kept = archive.opened(RESULTS / "five-criteria-cnn8-cpu" / "records.jsonl.gz")
    asked = from_plain(kept.study("five-criteria-cnn8-cpu"))
    spread = budgets.known_spread(asked, kept)
    assert 0.5 < spread < 2, "points"
    said = budgets.shown_by(asked, kept)
    assert said.endswith(f"points or more (earlier runs on this task spread by {spread:.2g} points)")
    other = asked.model_copy(update={"task": asked.task.model_copy(update={"images": 5000})})
    assert budgets.known_spread(other, kept) is None


SNIP = {"criterion": "snip"}


def recovery_of(*methods, **changes):
    """What the last of these methods is stored with."""
    return plain(spec(methods=list(methods), **changes))["methods"][-1]["recovery"]


def test_what_prunes_before_training_gets_the_epochs_of_the_others_by_default():
    assert recovery_of({"criterion": "magnitude", "recovery": LONG}, SNIP) == {
        "name": "finetune",
        "training": {"epochs": 6},  # 2 of the dense network and 4
    }
    assert recovery_of(CHAIN, {"criterion": "magnitude"}, SNIP)["training"] == {"epochs": 4}  # the fewest
    assert recovery_of({"criterion": "magnitude", "recovery": "none"}, SNIP) == "finetune"


def test_a_recovery_that_is_said_stays_what_it_is():
    given = {"criterion": "magnitude", "recovery": LONG}
    assert recovery_of(given, {**SNIP, "recovery": "finetune"}) == "finetune"
    assert recovery_of(given, {**SNIP, "recovery": LONG}) == LONG
    assert recovery_of(given, {**SNIP, "schedule": {"name": "iterative", "levels": [0.5, 0.9]}}) == "finetune"
    assert recovery_of({**SNIP, "name": "other"}, SNIP) == "finetune"  # nothing prunes a trained network
    first = [{**SNIP, "scope": "layer"}, {"criterion": "random"}]  # whose recovery the control copies
    assert plain(spec(methods=first, controls=["magnitude"]))["methods"][0]["recovery"] == "finetune"


def test_a_stored_spec_is_planned_as_it_was():
    asked = spec(methods=[{"criterion": "magnitude"}, SNIP])
    again = from_plain(plain(asked))
    assert plan(again).steps.keys() == plan(asked).steps.keys()
    old = {**plain(asked), "methods": [{**m, "recovery": "finetune"} for m in plain(asked)["methods"]]}
    assert budgets.epochs_of(from_plain(old))["snip"] == {0.5: 2, 0.9: 2}
