"""Plans: the right steps in the right order, shared wherever they are equal. (Keys: test_keys.)"""

from collections import Counter

from lab_kit import planned, raw, spec

from prunery.lab.plan import plan
from prunery.lab.spec import from_plain

TASK = raw()["task"]
CHAIN = {"name": "imp", "criterion": "magnitude", "schedule": {"name": "iterative", "levels": [0.5, 0.8]}}


def kinds(found):
    return Counter(step.kind for step in found.steps.values())


def paths(found, role="pruned"):
    return {
        (c.method, c.sparsity, c.seed): [found.steps[k].kind for k in c.path]
        for c in found.cells
        if c.role == role
    }


def cell(found, method, sparsity=0.0, seed=0):
    return next(c for c in found.cells if (c.method, c.sparsity, c.seed) == (method, sparsity, seed))


def test_the_steps_of_a_small_study():
    found = planned()
    # per seed: dense, its extra epochs once (magnitude only), 2 methods at 2 sparsities
    assert kinds(found) == {"init": 2, "train": 2, "prune": 8, "recover": 2 + 8, "measure": 2 + 2 + 8}
    assert len(found.cells) == 2 * (1 + 1 + 4)
    assert found.epochs() == 2 * (2 + 2 + 4 * 2)
    assert found.unshared_epochs() == 2 * (2 + 4 + 2 * 4 + 2 * 2)


def test_where_a_method_prunes_decides_its_path():
    found = paths(planned())
    assert found["magnitude", 0.5, 0] == ["init", "train", "prune", "recover", "measure"]
    assert found["snip", 0.5, 0] == ["init", "prune", "recover", "measure"]
    at_init = paths(planned(methods=[{"name": "m", "criterion": "magnitude", "at": "init"}]))
    assert at_init["m", 0.9, 1] == ["init", "prune", "recover", "measure"]


def test_parents_come_before_children():
    found = planned(methods=[CHAIN, {"criterion": "snip", "recovery": "rewind"}])
    seen = set()
    for key, step in found.steps.items():
        assert key == step.key
        assert seen >= set(step.parents)
        seen.add(key)


def test_every_cell_names_its_controls():
    found = planned()
    dense = {c.seed: c for c in found.cells if c.role == "dense"}
    extra = {c.seed: c for c in found.cells if c.role == "dense_extra"}
    assert {c.method for c in extra.values()} == {"dense + 2 epochs"}
    for c in found.cells:
        assert c.dense == dense[c.seed].key
        assert c.path[-1] == c.key
        wanted = extra[c.seed].key if c.method == "magnitude" else ""
        assert c.extra == wanted


def test_controls_come_without_asking():
    data = raw(methods=[{"criterion": "snip", "scope": "layer"}])
    del data["controls"]
    found = plan(from_plain(data))
    roles = {(c.method, c.role, c.of, c.arm) for c in found.cells}
    assert roles == {
        ("dense", "dense", "", ""),
        ("dense + 2 epochs", "dense_extra", "", ""),  # as the magnitude control is trained on
        ("snip", "pruned", "", ""),
        ("snip (shuffled in each layer)", "sanity", "snip", "shuffle"),
        ("magnitude", "pruned", "", ""),
        ("magnitude (shuffled in each layer)", "sanity", "magnitude", "shuffle"),
    }
    cut = next(found.steps[k] for k in cell(found, "magnitude", 0.9).path if found.steps[k].kind == "prune")
    assert (cut.args["criterion"], cut.args["scope"]) == ("magnitude", "layer")


def test_controls_that_are_there_or_unwanted_are_not_added():
    both = [{"name": "m", "criterion": "magnitude"}, {"criterion": "random"}]
    roles = Counter(c.role for c in planned(methods=both, controls=["magnitude"], seeds=1).cells)
    assert roles["pruned"] == 4
    assert roles["sanity"] == 0
    twice = planned(methods=both, controls=["random"], sanity=["shuffle", "invert"], seeds=1)
    assert Counter(c.arm for c in twice.cells if c.of) == {"shuffle": 2, "invert": 2}
    named = spec(methods=[{"name": "magnitude", "criterion": "snip"}], controls=["magnitude"])
    assert [m.name for m in named.compared] == ["magnitude", "magnitude (control 1)"]


def test_dense_training_happens_once_per_seed_however_many_methods():
    many = [
        {"name": f"{c}-{s}", "criterion": c, "scope": s}
        for c in ("random", "magnitude")
        for s in ("global", "layer")
    ]
    found = planned(methods=many, seeds=3)
    assert kinds(found)["train"] == 3
    assert kinds(found)["init"] == 3
    assert len({c.extra for c in found.cells if c.role == "pruned"}) == 3


def test_chains_share_their_beginnings():
    found = planned(methods=[CHAIN], sparsities=[0.5, 0.8, 0.9], seeds=1)
    # cuts to 0.5, 0.8 and 0.9 once each, not 1 + 2 + 3
    assert kinds(found)["prune"] == 3
    longest = cell(found, "imp", 0.9)
    assert paths(found)["imp", 0.9, 0] == ["init", "train", *["prune", "recover"] * 3, "measure"]
    assert [found.steps[k].args["sparsity"] for k in longest.path if found.steps[k].kind == "prune"] == [
        0.5,
        0.8,
        0.9,
    ]
    assert longest.path[:6] == cell(found, "imp", 0.8).path[:6]
    assert longest.path[:4] == cell(found, "imp", 0.5).path[:4]
    assert [found.steps[k].args["phase"] for k in longest.path if "training" in found.steps[k].args] == [
        0,
        1,
        2,
        3,
    ]


def test_a_fraction_of_what_remains_shares_its_beginnings_too():
    method = {"name": "imp", "criterion": "magnitude", "schedule": "iterative(fraction=0.5)"}
    found = planned(methods=[method], sparsities=[0.5, 0.75, 0.8], seeds=1)
    assert sorted(s.args["sparsity"] for s in found.steps.values() if s.kind == "prune") == [0.5, 0.75, 0.8]


def test_dense_is_trained_on_as_often_as_a_chain_is():
    found = planned(methods=[CHAIN], sparsities=[0.5, 0.8], seeds=1)
    assert {c.method for c in found.cells if c.role == "dense_extra"} == {
        "dense + 2 epochs",
        "dense + 2×2 epochs",
    }
    assert cell(found, "imp", 0.5).extra == cell(found, "dense + 2 epochs").key
    assert cell(found, "imp", 0.8).extra == cell(found, "dense + 2×2 epochs").key
    epochs = {c.method: sum(found.steps[k].epochs for k in c.path) for c in found.cells}
    assert epochs == {"dense": 2, "dense + 2 epochs": 4, "dense + 2×2 epochs": 6, "imp": 6}


def test_what_is_pruned_at_init_has_a_dense_control_of_as_many_epochs():
    longer = {"criterion": "snip", "recovery": {"name": "finetune", "training": {"epochs": 6}}}
    found = planned(methods=[longer], seeds=1)
    (control,) = [c for c in found.cells if c.role == "dense_extra"]
    assert control.method == "dense, 6 epochs"
    assert [found.steps[k].kind for k in control.path] == ["init", "train", "measure"]
    assert found.steps[control.path[1]].epochs == 6
    # where another control is as long, it serves: 2 epochs and 4 more
    more = {"criterion": "magnitude", "recovery": {"name": "finetune", "training": {"epochs": 4}}}
    both = planned(methods=[longer, more], seeds=1)
    assert [c.method for c in both.cells if c.role == "dense_extra"] == ["dense + 4 epochs"]


def test_schedules_without_recovery_in_between_are_one_prune_step():
    found = planned(methods=[{"criterion": "synflow"}], seeds=1)
    assert paths(found)["synflow", 0.9, 0] == ["init", "prune", "recover", "measure"]
    cuts = {s.args["schedule"] for s in found.steps.values() if s.kind == "prune"}
    assert cuts == {"exponential"}


def test_recovery_none_is_measured_at_once_and_has_no_extra_control():
    found = planned(methods=[{"criterion": "magnitude", "recovery": "none"}], seeds=1)
    assert kinds(found) == {"init": 1, "train": 1, "prune": 2, "measure": 3}
    assert {c.extra for c in found.cells} == {""}


def test_rewinding_starts_from_the_initial_weights():
    found = planned(methods=[{"name": "rw", "criterion": "magnitude", "recovery": "rewind"}], seeds=1)
    at = cell(found, "rw", 0.5)
    recover, (init, train, prune) = found.steps[at.path[3]], at.path[:3]
    assert recover.parents == (prune, init)
    assert recover.args["reset"] == "init"
    assert found.steps[prune].parents == (train,)
    assert at.extra == "", "trained from the start like dense itself"
    longer = {
        "name": "rw",
        "criterion": "magnitude",
        "recovery": {"name": "rewind", "training": {"epochs": 5}},
    }
    found = planned(methods=[longer], seeds=1)
    control = next(c for c in found.cells if c.role == "dense_extra")
    assert (control.method, cell(found, "rw", 0.5).extra) == ("dense, 5 epochs", control.key)


def test_a_control_from_the_start_is_as_long_as_it_is_trained():
    slow = {"epochs": 2, "learning_rate": 0.01}
    rewound = {"name": "rw", "criterion": "magnitude", "recovery": {"name": "rewind", "training": slow}}
    longer = {"criterion": "snip", "recovery": {"name": "finetune", "training": {"epochs": 4}}}
    found = planned(methods=[rewound, longer], seeds=1)
    dense = [c for c in found.cells if "dense" in c.role]
    epochs = {c.method: sum(found.steps[k].epochs for k in c.path) for c in dense}
    assert epochs == {"dense": 2, "dense, 2 epochs": 2, "dense, 4 epochs": 4}
    control = cell(found, "dense, 2 epochs")
    assert [found.steps[k].kind for k in control.path] == ["init", "train", "measure"]


def test_magnitude_at_init_is_not_the_magnitude_control():
    at_init = {"name": "early", "criterion": "magnitude", "at": "init"}
    names = [m.name for m in spec(methods=[at_init], controls=["magnitude"]).compared]
    assert names == ["early", "magnitude"]


def test_two_recoveries_of_equal_length_have_two_controls_with_two_names():
    slow = {"name": "finetune", "training": {"learning_rate": 0.01}}
    methods = [{"criterion": "magnitude"}, {"name": "slow", "criterion": "magnitude", "recovery": slow}]
    found = planned(methods=methods)
    names = Counter(c.method for c in found.cells if c.role == "dense_extra")
    assert names == {"dense + 2 epochs": 2, "dense + 2 epochs (learning rate 0.01)": 2}
