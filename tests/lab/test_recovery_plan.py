"""Recovery as a list of actions in a plan: one step each, each rung measured, controls that train as long."""

import pytest
from lab_kit import ONE_EPOCH, planned, spec
from own_rows import registries_kept

from prunery.errors import SpecError
from prunery.lab.actions import ElementError, checked
from prunery.lab.progress import labels
from prunery.registry import Choice

TWO = {"epochs": 2}
LISTED = {"name": "listed", "criterion": "magnitude", "recovery": ["bn", "finetune"]}
NORMED = {**ONE_EPOCH, "model": "lab_nets:normed"}


@pytest.fixture(autouse=True)
def registries():
    with registries_kept("own_actions"):
        yield


def magnitude(*recovery, **more):
    return {"name": "m", "criterion": "magnitude", "recovery": list(recovery), **more}


def cell(plan, method, sparsity=None):
    return next(c for c in plan.cells if c.method == method and sparsity in (None, c.sparsity))


def actions(plan, cell):
    """The recover steps of a path, as their arguments say them."""
    steps = [plan.steps[key] for key in cell.path]
    names = {"nothing": "finetune", "init": "rewind", "reinit": "reinit"}
    return [
        "bn" if s.args.get("estimate") else s.args.get("action") or names[s.args["reset"]]
        for s in steps
        if s.kind == "recover"
    ]


def test_a_list_is_one_step_an_action_and_shares_equal_beginnings():
    both = planned(methods=[LISTED, {"name": "short", "criterion": "magnitude", "recovery": "bn"}], seeds=1)
    listed, short = cell(both, "listed", 0.9), cell(both, "short", 0.9)
    assert actions(both, listed) == ["bn", "finetune"]
    assert listed.path[:4] == short.path[:4], "the norms are estimated once"
    assert both.steps[listed.path[4]].parents == (listed.path[3],)


def test_a_list_of_one_is_that_action():
    one = planned(methods=[{"name": "m", "criterion": "magnitude", "recovery": "bn"}])
    assert set(planned(methods=[magnitude("bn")]).steps) == set(one.steps)
    assert spec(methods=[magnitude("bn")]) == spec(
        methods=[{"name": "m", "criterion": "magnitude", "recovery": "bn"}]
    )


def test_each_rung_but_the_last_has_a_measure_step():
    plan = planned(
        methods=[magnitude("bn", "finetune", {"name": "finetune", "training": TWO}, "bn")], seeds=1
    )
    found = cell(plan, "m", 0.9)
    assert [label for label, _ in found.rungs] == ["bn", "finetune", "finetune (2)"]
    assert [plan.steps[key].parents[0] for _, key in found.rungs] == list(found.path[3:6])
    assert {plan.steps[key].kind for _, key in found.rungs} == {"measure"}
    assert plan.steps[found.key].parents == (found.path[6],)
    alone = planned(methods=[{"criterion": "magnitude", "recovery": "bn"}, {"criterion": "snip"}])
    assert {c.rungs for c in alone.cells} == {()}


def test_every_step_has_a_label():
    plan = planned(methods=[LISTED], sparsities=[0.9], seeds=1, before_recovery=True)
    named = labels(plan)
    assert set(plan.steps) == set(named)
    found = cell(plan, "listed")
    assert named[found.before] == "measure, listed 90% before recovery, seed 0"
    assert named[found.rungs[0][1]] == "measure, listed 90% after bn, seed 0"


def test_arms_and_controls_have_no_rungs():
    plan = planned(methods=[LISTED], sanity=["shuffle", "invert", "reinit"], seeds=1)
    assert {c.role for c in plan.cells if c.rungs} == {"pruned"}


def test_schedules_that_recover_between_cuts_do_the_whole_list_after_each():
    chain = {**LISTED, "schedule": {"name": "iterative", "levels": [0.5, 0.8]}}
    plan = planned(methods=[chain], sparsities=[0.8], seeds=1)
    found = cell(plan, "listed")
    assert [plan.steps[k].kind for k in found.path[2:-1]] == ["prune", "recover", "recover"] * 2
    phases = [plan.steps[k].args["phase"] for k in found.path if "training" in plan.steps[k].args]
    assert phases == [0, 1, 2]
    assert len(found.rungs) == 1
    assert cell(plan, "dense + 2×2 epochs").key == found.extra


def test_controls_count_the_epochs_of_the_whole_list():
    long = magnitude("finetune", "bn", {"name": "finetune", "training": {"epochs": 3, "learning_rate": 0.01}})
    plan = planned(methods=[long], sparsities=[0.8], seeds=1)
    control = cell(plan, "dense + 5 epochs")
    assert cell(plan, "m").extra == control.key
    mine, theirs = (
        [plan.steps[k].args for k in c.path if "training" in plan.steps[k].args]
        for c in (cell(plan, "m"), control)
    )
    assert [(a["training"], a["phase"]) for a in mine] == [(a["training"], a["phase"]) for a in theirs]
    early = planned(methods=[{**long, "criterion": "snip"}], sparsities=[0.8], seeds=1)
    assert [c.method for c in early.cells if c.role == "dense_extra"] == ["dense, 5 epochs"]


def test_what_was_trained_before_a_reset_is_lost_for_the_control_too():
    again = magnitude(
        {"name": "finetune", "training": TWO}, {"name": "rewind", "train": False}, "bn", "finetune"
    )
    plan = planned(methods=[again], sparsities=[0.8], seeds=1)
    assert cell(plan, "m").extra == "", "trained from the start like dense itself"
    assert [c.method for c in plan.cells] == ["dense", "m"]


def test_a_reset_alone_reads_the_initial_network():
    plan = planned(methods=[magnitude({"name": "rewind", "train": False}, "finetune")], seeds=1)
    found = cell(plan, "m", 0.9)
    reset, train = (plan.steps[key] for key in found.path[3:5])
    assert reset.parents == (found.path[2], found.path[0])
    assert reset.args["action"] == {"name": "rewind", "train": False}
    assert "training" not in reset.args
    assert train.args["reset"] == "nothing"


@pytest.mark.parametrize(
    ("recovery", "wanted"),
    [
        (["bn", "finetune"], [{"name": "reinit", "train": False}, "bn", "finetune"]),
        (["rewind", "bn"], ["reinit", "bn"]),
        (
            [{"name": "rewind", "train": False}, "bn", "finetune"],
            [{"name": "reinit", "train": False}, "bn", "finetune"],
        ),
        (["finetune", "rewind"], ["reinit", "finetune"]),
    ],
)
def test_the_arm_reinit_trains_fresh_weights_as_long(recovery, wanted):
    plan = planned(methods=[magnitude(*recovery)], sanity=["reinit"], sparsities=[0.8], seeds=1)
    arm = next(c for c in plan.cells if c.arm == "reinit")
    assert actions(plan, arm) == wanted
    epochs = [sum(plan.steps[k].epochs for k in c.path) for c in (arm, cell(plan, "m"))]
    assert epochs[0] == epochs[1]


def test_an_action_that_reads_dense_has_its_training_as_a_parent():
    plan = planned(methods=[magnitude("own_actions:look")], sparsities=[0.8], seeds=1)
    found = cell(plan, "m")
    step = plan.steps[found.path[3]]
    assert step.args["action"] == "own_actions:look"
    assert step.parents == (found.path[2], found.path[0], found.path[1])


@pytest.mark.parametrize(
    ("recovery", "words"),
    [
        ([], "methods[0].recovery: a list of actions: it is empty"),
        (["bn", "none"], "'none' is one of several"),
        (["bn", "finetun"], "methods[0].recovery[1]: recovery 'finetun': there is none of that name"),
        (["bn", {"name": "finetune", "trainin": {}}], "methods[0].recovery[1]: option 'trainin' of recovery"),
        ([{"name": "rewind", "to": 3}, "bn"], "methods[0].recovery[0]: recovery rewind(to=3)"),
        (
            ["bn", {"name": "finetune", "training": {"epoch": 3}}],
            "methods[0].recovery[1]: the training setting",
        ),
        (
            ["bn", {"name": "finetune", "training": {"epochs": -1}}],
            "methods[0].recovery[1].training: the training",
        ),
        ([{"name": "rewind", "train": False, "training": {"epochs": 1}}, "bn"], "'train' is false"),
        (["own_actions:wishful", "bn"], "its fact needs names 'planets'"),
        ([["bn"]], "the choice ['bn']"),
    ],
)
def test_wrong_lists_are_said_with_their_place(recovery, words):
    with pytest.raises(SpecError) as caught:
        spec(methods=[{"criterion": "magnitude", "recovery": recovery}])
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_untrained_network_has_no_trained_parent():
    with pytest.raises(SpecError, match="needs the trained dense network"):
        spec(methods=[{"criterion": "snip", "recovery": "own_actions:look"}])
    assert spec(methods=[{"criterion": "snip", "at": "trained", "recovery": "own_actions:look"}])


def test_checked_names_the_entry():
    with pytest.raises(ElementError) as caught:
        checked(["bn", "nothing"])
    assert caught.value.place == 1
    assert checked("bn") == checked(["bn"]) == (Choice("bn"),)
