"""Recovery as a list of actions: one step each, each rung measured, and actions of a user's own."""

from itertools import pairwise

import pytest
import torch
from lab_kit import ONE_EPOCH, differences, do, planned, raw, spec
from own_rows import registries_kept
from safetensors.torch import load_file

from prunery.core.masks import Masks
from prunery.errors import EvidenceError, MasksError, SpecError
from prunery.lab.actions import ElementError, checked
from prunery.lab.store import Store
from prunery.lab.work import work
from prunery.registry import Choice
from prunery.train import loop

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


def done(plan, store):
    for step in plan.steps.values():
        do(step, store)
    return store


def run(tmp_path, method, **changes):
    plan = planned(**{"task": ONE_EPOCH, "methods": [method], "sparsities": [0.8], "seeds": 1, **changes})
    return plan, done(plan, Store(tmp_path))


def weights(store, key):
    return load_file(store.file(key, "weights.safetensors"))


# -- the plan ----------------------------------------------------------------------------------------------


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


# -- what cannot be ----------------------------------------------------------------------------------------


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


# -- the work ----------------------------------------------------------------------------------------------


def test_norms_then_training_with_both_states_measured(tmp_path):
    plan, store = run(tmp_path, LISTED, task=NORMED)
    found = cell(plan, "listed")
    cut, norms, tuned = (store.record(key) for key in found.path[2:5])
    start, middle, end = (weights(store, key) for key in (found.path[1], found.path[3], found.path[4]))
    masks = Masks.load(store.file(cut.key, "masks.safetensors"))
    assert torch.equal(middle["0.weight"], start["0.weight"] * masks["0.weight"])
    assert not torch.equal(middle["1.running_mean"], start["1.running_mean"])
    assert not torch.equal(end["4.weight"], middle["4.weight"])
    assert (end["4.weight"][~masks["4.weight"]] == 0).all()
    assert norms.cost["scoring_macs"] > 0
    assert tuned.cost["epochs"] == 1
    (label, key), final = found.rungs[0], store.record(found.key)
    assert (label, store.record(key).parents) == ("bn", (norms.key,))
    assert store.record(key).number("top1", "test") != final.number("top1", "test")


@pytest.mark.parametrize("name", ["rewind", "reinit"])
def test_a_reset_alone_sets_the_survivors_back(tmp_path, name):
    plan, store = run(tmp_path, magnitude({"name": name, "train": False}, "finetune"))
    path = cell(plan, "m").path
    init, after = weights(store, path[0]), weights(store, path[3])
    masks = Masks.load(store.file(path[2], "masks.safetensors"))
    same = {k: torch.equal(after[k], init[k] * masks[k] if k in masks else init[k]) for k in init}
    assert {same[k] for k in masks} == {name == "rewind"}
    assert all((after[k][~masks[k]] == 0).all() for k in masks)
    record = store.record(path[3])
    assert record.cost.keys() == {"scoring_macs", "seconds"}
    assert record.tables == {}


def test_an_action_has_everything_at_hand(tmp_path):
    plan, store = run(tmp_path, magnitude("own_actions:look"))
    import own_actions

    seen = own_actions.SEEN[-1]
    context = seen["context"]
    path = cell(plan, "m").path
    dense, pruned = weights(store, path[1]), weights(store, path[3])
    assert all(torch.equal(v, dense[k]) for k, v in seen["dense"].state_dict().items())
    assert all(torch.equal(v, pruned[k]) for k, v in context.model.state_dict().items())
    assert context.masks.kept == Masks.load(store.file(path[2], "masks.safetensors")).kept
    assert [len(batch["fc2"]) for batch in seen["inputs"]] == [128, 128, 44]
    for batch in seen["inputs"]:
        assert torch.equal(batch["fc2"], batch["fc2.weight"])
        assert batch["fc2"].shape[1] == 300
        assert (batch["fc2"] >= 0).all(), "behind a ReLU"
    assert not context.model.fc2._forward_pre_hooks
    record = store.record(path[3])
    assert record.notes == ("3 batches of inputs",)
    macs = 64 * 300 + 300 * 100 + 100 * 10
    assert record.cost["scoring_macs"] == 300 * macs
    assert context.device.type in ("cpu", "cuda")
    assert len(seen["splits"].train) == 1442 - 144


def test_inputs_are_those_of_the_network_as_it_is_then(tmp_path):
    run(tmp_path, magnitude("own_actions:look"))
    import own_actions

    context = own_actions.SEEN[-1]["context"]
    whole = next(context.layer_inputs(["fc3"], images=10, model=context.dense))
    pieces = context.layer_inputs(["fc3"], images=20, batch=10)
    next(pieces)
    with torch.no_grad():
        for parameter in context.model.fc2.parameters():
            parameter.zero_()
    assert (next(pieces)["fc3"] == 0).all()
    assert not (whole["fc3"] == 0).all()
    with pytest.raises(ValueError, match="did you mean 'fc3'"):
        next(context.layer_inputs(["fc4"]))


def test_draws_differ_between_two_actions_of_one_list_and_seeds(tmp_path):
    plan, store = run(tmp_path, magnitude("own_actions:draws", "own_actions:draws"), seeds=2)
    shifts = set()
    for found in (c for c in plan.cells if c.role == "pruned"):
        states = [weights(store, found.path[i])["fc3.bias"] for i in (1, 3, 4)]
        shifts |= {round(float((b - a)[0]), 6) for a, b in pairwise(states)}
    assert len(shifts) == 4


@pytest.mark.parametrize(
    ("action", "error", "words"),
    [
        ("secretive", EvidenceError, "'labels' in a recovery action"),
        ("trains_in_secret", EvidenceError, "its facts say that it does not train"),
        ("lazy", SpecError, "it trained for 0 epochs, and the plan counts 1"),
        ("grows", MasksError, "removed weights of 'fc1.weight' that are not 0"),
        ("unmasks", MasksError, "it changed the mask of 'fc1.weight'"),
    ],
)
def test_an_action_that_does_what_it_must_not_fails(tmp_path, action, error, words):
    with pytest.raises(error, match=words):
        run(tmp_path, magnitude(f"own_actions:{action}"))


def test_an_action_that_trains_twice_is_counted_and_goes_on_where_it_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "BETWEEN_EPOCHS", 0.0)
    three = {**ONE_EPOCH, "training": {**ONE_EPOCH["training"], "epochs": 3}}
    plan = planned(task=three, methods=[magnitude("own_actions:twice")], sparsities=[0.8], seeds=1)
    found = cell(plan, "m")
    step = plan.steps[found.path[3]]
    assert step.epochs == 3
    assert cell(plan, "dense + 3 epochs").key == found.extra
    stores = [Store(tmp_path / name) for name in ("calm", "cut")]
    for store in stores:
        for key in found.path[:3]:
            do(plan.steps[key], store)
    calm, cut = stores
    do(step, calm)
    seen = []

    def dies(epochs):
        if epochs > 2.5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work(step, cut, cut.scratch(step.key), report_progress=dies)
    scratch = cut.scratch(step.key)
    cut.commit(work(step, cut, scratch, report_progress=seen.append), scratch)
    assert 2 < seen[0] < seen[-1] == 3, "what was done was not trained again"
    assert differences(calm.record(step.key), cut.record(step.key)) == []
    record = calm.record(step.key)
    assert [row["epoch"] for row in record.tables["epochs"]] == [1, 1, 2]
    assert record.cost["epochs"] == 3
    orders = [row["train_loss"] for row in record.tables["epochs"]]
    assert len(set(orders)) == 3


def test_a_loop_of_its_own_is_counted(tmp_path):
    method = magnitude({"name": "own_actions:loop", "training": TWO})
    plan, store = run(tmp_path, method)
    record = store.record(cell(plan, "m").path[3])
    train, macs = 1442 - 144, 64 * 300 + 300 * 100 + 100 * 10
    assert (record.cost["epochs"], record.cost["samples"]) == (2, 2 * train)
    assert record.cost["training_macs"] == 3 * 2 * train * macs
    assert "action" in record.args
    assert record.args["action"] == "own_actions:loop", "the settings stand under training"
    assert record.args["training"]["epochs"] == 2


def test_the_spec_comes_back_from_plain_data():
    from prunery.lab.spec import from_plain, plain

    before = spec(methods=[magnitude("bn", {"name": "finetune", "training": TWO})])
    assert from_plain(plain(before)) == before
    assert plain(before)["methods"][0]["recovery"] == ["bn", {"name": "finetune", "training": TWO}]
    assert plain(spec(methods=[LISTED | {"recovery": ["bn"]}]))["methods"][0]["recovery"] == "bn"
    assert from_plain(raw(methods=[{"criterion": "magnitude", "recovery": ["bn", "finetune"]}])).methods[
        0
    ].name == ("magnitude bn+finetune")
