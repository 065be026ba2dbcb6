"""What the actions of a recovery do, those of a user's own too. (Their steps: test_recovery_plan.)"""

from itertools import pairwise

import pytest
import torch
from lab_kit import ONE_EPOCH, differences, do, planned, raw, spec
from own_rows import registries_kept
from safetensors.torch import load_file

from prunery.core.masks import Masks
from prunery.errors import EvidenceError, MasksError, SpecError
from prunery.lab.store import Store
from prunery.lab.work import work
from prunery.train import loop, recovery_context

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


def done(plan, store):
    for step in plan.steps.values():
        do(step, store)
    return store


def run(tmp_path, method, **changes):
    plan = planned(**{"task": ONE_EPOCH, "methods": [method], "sparsities": [0.8], "seeds": 1, **changes})
    return plan, done(plan, Store(tmp_path))


def weights(store, key):
    return load_file(store.file(key, "weights.safetensors"))


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
    seeds, real = [], recovery_context.fit
    monkeypatch.setattr(recovery_context, "fit", lambda *a, **o: seeds.append(o["seed"]) or real(*a, **o))
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
    assert len(set(seeds)) == 3, "dense, and two orders of its own"


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
    two = [{"criterion": "magnitude"}, {"criterion": "magnitude", "recovery": ["bn", "finetune"]}]
    assert from_plain(raw(methods=two)).methods[1].name == "magnitude, bn"


def test_a_training_that_stops_at_an_accuracy_costs_what_it_took_and_says_where_it_fell_short(tmp_path):
    def tuned(accuracy):
        return magnitude({"name": "finetune", "training": {"epochs": 3, "stop_at": accuracy}})

    plan, store = run(tmp_path / "low", tuned(10))
    record = store.record(cell(plan, "m").path[-2])
    assert (record.cost["epochs"], record.notes) == (1, ())
    plan, store = run(tmp_path / "high", tuned(100))
    record = store.record(cell(plan, "m").path[-2])
    assert record.cost["epochs"] == 3
    assert record.notes == ("100 % on validation was not reached in 3 epochs",)
