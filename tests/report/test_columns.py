"""Top-5 and loss have tables of their own, with their own unit and chance level; no column mixes them."""

import math

import pytest
import report_case as case

from prunery.report.results.columns import COLUMNS, LOSS, TOP1, TOP5, recorded
from prunery.report.results.frame import frame
from prunery.report.results.groups import groups_of
from prunery.report.text import tables
from prunery.report.text.captions import task


@pytest.fixture
def cells():
    plan = case.study(retrain=5)
    return frame(plan, case.store(plan, lambda c: 9800 - round(100 * c.sparsity) + 10 * c.seed))


def table(cells, metric):
    return tables.accuracy(cells, groups_of(cells, metric=metric), metric=metric)


def test_each_metric_names_its_unit_and_its_own_chance_level(cells):
    assert recorded(cells, COLUMNS) == [TOP5, LOSS]
    top5, loss = table(cells, TOP5), table(cells, LOSS)
    assert top5.caption[0] == (
        "Top-5 accuracy (k = 5) on the test split (10 000 images, labels read once per network), in %; "
        "chance level 50.00 %."
    )
    # ten classes: ln 10
    assert f"chance level {math.log(10):.3f} nats." in loss.caption[0]
    assert (top5.title, loss.title) == (TOP5.label, LOSS.label)


def test_the_values_are_those_of_the_metric(cells):
    one, five = table(cells, TOP1), table(cells, TOP5)
    row = {t.title: next(r for r in t.rows if r[0] == "snip") for t in (one, five, table(cells, LOSS))}
    assert row[one.title][2] == "97.60 ±0.25"
    assert row[TOP5.label][2] == "99.90 ±0.01"  # equal counts: half an image to either side
    assert row[LOSS.label][2] == "0.100 ±0.000"


def test_what_was_not_recorded_has_no_table(cells):
    cells["test_top5"] = math.nan
    assert recorded(cells, COLUMNS) == [LOSS]
    assert recorded(frame(case.study(), case.Kept()), COLUMNS) == []


def test_a_report_says_that_networks_were_trained_in_bfloat16(cells):
    assert set(cells["precision"]) == {"float32"}
    assert task(cells) == "lenet300 on mnist"
    tuned = {"name": "finetune", "training": {"epochs": 5, "precision": "bfloat16"}}
    plan = case.study([{"criterion": "magnitude", "recovery": tuned}])
    half = frame(plan, case.store(plan, lambda c: 9000))
    assert set(half[half.method == "magnitude"]["precision"]) == {"bfloat16"}
    assert task(half) == "lenet300 on mnist (trained in bfloat16)"


def test_only_shares_of_images_come_in_steps(cells):
    steps = {m.name: groups_of(cells, metric=m)[0].step for m in (TOP1, TOP5, LOSS)}
    assert steps == {"test_top1": 0.01, "test_top5": 0.01, "test_loss": 0.0}


def test_guessing_among_four_classes_costs_ln_4_and_not_ln_25():
    assert LOSS.chance({"chance_top1": 25.0}) == pytest.approx(math.log(4))
    assert TOP1.chance({"chance_top1": 25.0, "chance_top5": 100.0}) == 25.0
    assert LOSS.chance({"chance_top1": None}) is None
