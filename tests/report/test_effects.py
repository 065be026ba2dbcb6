"""Main effects: methods that differ in one choice alone, and what that choice changes."""

import pytest
import report_case as case

from prunery.lab import spec as specs
from prunery.lab.factors import factors_of
from prunery.report.results.effects import effects_of
from prunery.report.results.frame import frame
from prunery.report.results.groups import groups_of
from prunery.report.text import effects as said

FILTERS = {"granularity": "filter", "exclude": ["@output"]}
WEIGHTS = {"granularity": "weight", "scope": "layer", "exclude": ["@output"]}


def method(name, rate, **choices):
    recovery = {"name": "finetune", "training": {"epochs": 5, "learning_rate": rate}}
    return {"name": name, "criterion": "magnitude", "recovery": recovery, **choices}


FOUR = [
    method("w fast", 0.1, **WEIGHTS),
    method("w slow", 0.01, **WEIGHTS),
    method("f fast", 0.1, **FILTERS),
    method("f slow", 0.01, **FILTERS),
]
WORTH = {"w fast": 9000, "w slow": 8900, "f fast": 8000, "f slow": 7700}


def effects(methods, correct, *, seeds=3, sparsities=(0.5, 0.7), **more):
    spec = case.spec(methods, sparsities=sparsities, seeds=seeds)
    plan = specs_plan(spec)
    groups = groups_of(frame(plan, case.store(plan, correct, **more)))
    return effects_of(specs.plain(spec), groups)


def specs_plan(spec):
    from prunery.lab.plan import plan

    return plan(spec)


def worth(cell):
    wobble = {("w fast", 0): 3, ("f slow", 1): 4, ("w slow", 2): 5}.get((cell.method, cell.seed), 0)
    return WORTH.get(cell.method, 9800) + wobble


def test_factors_are_choices_in_which_methods_differ_with_all_else_alike():
    factors = {f.name: f for f in factors_of(specs.plain(case.spec(FOUR)))}
    assert set(factors) == {"granularity", "training.learning_rate"}
    assert factors["granularity"].levels == ("weight", "filter")
    assert factors["granularity"].contexts == (
        {"weight": "w fast", "filter": "f fast"},
        {"weight": "w slow", "filter": "f slow"},
    )


def test_what_a_criterion_brings_along_is_no_difference_of_its_own():
    """SynFlow's hundred rounds at initialisation belong to it; an option that was written does not."""
    methods = [
        "magnitude",
        "snip",
        "synflow",
        {"name": "once", "criterion": "synflow", "schedule": "one_shot"},
    ]
    factors = {f.name: f for f in factors_of(specs.plain(case.spec(methods)))}
    assert set(factors) == {"criterion", "schedule"}
    assert factors["criterion"].levels == ("magnitude", "snip", "synflow")
    assert factors["schedule"].contexts == ({"exponential": "synflow", "one_shot": "once"},)


def test_a_main_effect_is_the_mean_over_what_else_varies():
    found = {e.factor.name: e for e in effects(FOUR, worth)}
    structure, rate = found["granularity"], found["training.learning_rate"]
    # (9000 - 8000 + 8900 - 7700) / 2 = 1100 of 10 000 images, and (3 + 5 - 4) / 6 of an image
    assert structure.difference.summary.mean == pytest.approx(11.0 + 0.04 / 6, abs=1e-9)
    assert (structure.better, structure.worse, structure.contexts) == ("weight", "filter", 2)
    assert rate.difference.summary.mean == pytest.approx((100 + 300) / 2 / 100, abs=0.02)
    assert (rate.better, rate.worse, rate.over) == ("0.1", "0.01", "seeds")
    assert structure.difference.verdict == rate.difference.verdict == "higher"
    assert said.sentence(structure).startswith(
        "removing single weights rather than whole filters keeps 11.0 points more over 50 % to 70 %, [+"
    )


def test_a_cell_that_broke_is_left_out_on_both_sides():
    spec = case.spec(FOUR, sparsities=(0.5, 0.7), seeds=3)
    broken = [c.key for c in specs_plan(spec).cells if (c.method, c.sparsity) == ("f slow", 0.7)]
    found = effects(FOUR, worth, notes={key: ["test: predicts class 1"] for key in broken})
    structure = next(e for e in found if e.factor.name == "granularity")
    assert structure.difference.summary.mean == pytest.approx((2 * 1000 + 1200) / 3 / 100, abs=0.02)


def test_with_one_seed_the_pairs_of_methods_are_the_repetitions():
    six = [*FOUR, method("w slower", 0.001, **WEIGHTS), method("f slower", 0.001, **FILTERS)]
    more = {**WORTH, "w slower": 8000, "f slower": 7000}
    found = {e.factor.name: e for e in effects(six, lambda c: more.get(c.method, 9800), seeds=1)}
    structure = found["granularity"]
    assert (structure.over, structure.difference.summary.n) == ("contexts", 3)
    assert structure.singles == pytest.approx((10.0, 12.0, 10.0))
    assert "over pairs of methods, more in 3 of 3" in said.sentence(structure)
    assert all(e.difference.verdict is None for e in effects(FOUR, worth, seeds=1))


def test_a_longer_training_is_said_and_an_equal_one_is_compared_apart():
    chain = {"name": "iterative", "rounds": 3}
    once, longer = method("once", 0.1), method("once 15", 0.1)
    longer["recovery"]["training"]["epochs"] = 15
    methods = [once, method("chain", 0.1, schedule=chain), longer]
    values = {"once": 8000, "chain": 9000, "once 15": 8990}
    found = effects(methods, lambda c: values.get(c.method, 9800) + c.seed, sparsities=(0.9,))
    plain, equal = [e for e in found if e.factor.name == "schedule"]
    assert (plain.unequal, plain.difference.summary.mean) == (True, pytest.approx(10.0))
    assert (equal.unequal, equal.difference.summary.mean) == (False, pytest.approx(0.1))
    assert "(25 epochs against 15)" in said.change(plain)
    assert said.change(equal) == "pruning step by step rather than at once for as many epochs"


def test_the_answer_names_what_is_shown_first():
    text = said.answer(effects(FOUR, worth), [])
    assert text.startswith("Removing single weights rather than whole filters keeps 11.0 points more")
    assert "; retraining at a learning rate of 0.1 rather than 0.01 keeps 2.0 points more" in text
    assert said.answer([], ["At 90 %, snip is highest."]) == "At 90 %, snip is highest."
    assert said.answer([], []) is None
