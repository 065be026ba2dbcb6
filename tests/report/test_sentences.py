"""Generated sentences: they claim what the statistics allow, and name what broke."""

from dataclasses import replace

import pytest
import report_case as case

from prunery.comparisons import simultaneous_tail
from prunery.report.results.frame import frame
from prunery.report.results.groups import groups_of
from prunery.report.text.sentences import answers
from prunery.report.text.winners import against_first
from prunery.stats import t_quantile

WOBBLE = (0, 7, 3, 11, 5)


def answers_of(plan, correct, **more):
    return answers(groups_of(frame(plan, case.store(plan, correct, **more))))


def test_a_clear_winner_is_called_one():
    # differences of about 10 and 50 points, and hardly any spread
    level = {"magnitude": 9700, "snip": 8700, "random": 4700}
    plan = case.study(sparsities=[0.9], seeds=5)
    sentences = answers_of(plan, lambda c: level.get(c.method, 9800) + WOBBLE[c.seed] * (c.method == "snip"))
    assert sentences[0] == (
        "At 90 %, magnitude keeps most: 97.00 ±0.01 %, ahead of each other method, by at least "
        "+9.95 [+9.87, +10.02] points."
    )


def test_a_winner_by_chance_is_not():
    plan = case.study(["magnitude", "snip"], sparsities=[0.9])
    values = {"magnitude": (9700, 9650, 9720), "snip": (9690, 9700, 9640)}
    sentences = answers_of(plan, lambda c: values[c.method][c.seed] if c.method in values else 9800)
    assert sentences[0] == (
        "At 90 %, magnitude is highest, 96.90 ±0.90 %, but which of magnitude and snip is best is not shown "
        "with 3 seeds (differences above 1.62 would be)."
    )


def test_one_seed_gives_no_verdict():
    plan = case.study(["magnitude", "snip"], sparsities=[0.9], seeds=1)
    sentences = answers_of(plan, lambda c: 9700 if c.method == "magnitude" else 9000)
    assert sentences == [
        "At 90 %, magnitude is highest: 97.00 % (too few seeds for a verdict).",
        "Methods are compared at UNEQUAL total epochs (20: magnitude; 10: snip).",
    ]


def test_the_best_of_what_guesses_is_no_winner():
    plan = case.study(["magnitude", "snip"], sparsities=[0.9, 0.98])
    guesses = {"magnitude": (1080, 1010, 990), "snip": (1000, 990, 1020)}
    sentences = answers_of(plan, lambda c: guesses[c.method][c.seed] if c.sparsity == 0.98 else 9800)
    assert sentences[1] == "At 98 %, nothing is above chance (10.00 %)."
    guesses["magnitude"] = (1080, 1010, 1100)  # 10 points in a hundred of 10 000 images: 0.30 each
    sentences = answers_of(plan, lambda c: guesses[c.method][c.seed] if c.sparsity == 0.98 else 9800)
    assert " to 98 %, magnitude is highest" in sentences[0]
    assert " to 10.63 ±1.17 %" in sentences[0]


def test_where_accuracy_leaves_the_dense_interval():
    plan = case.study(["magnitude", "snip", "random"], retrain=5)
    lost = {"magnitude": {0.98: 100}, "snip": {0.9: 100, 0.98: 100}, "random": {}}
    sentences = answers_of(plan, lambda c: 9800 + 10 * c.seed - lost.get(c.method, {}).get(c.sparsity, 0))
    # dense: 98.10 ±0.25
    wanted = (
        "First sparsity with a mean below the dense interval [97.85, 98.35] %: "
        "magnitude 98 %, snip 90 %, random none."
    )
    assert wanted in sentences


def test_seeds_that_leave_it_elsewhere_are_told():
    plan = case.study(["magnitude", "snip"], retrain=5)

    def right(c):
        below = c.method == "magnitude" and (c.sparsity, c.seed) in {(0.9, 0), (0.98, 0), (0.98, 1)}
        return 9800 + 10 * c.seed - (100 if below else 0)

    (sentence,) = [s for s in answers_of(plan, right) if s.startswith("First sparsity")]
    assert "(in brackets: of single seeds, where they differ)" in sentence
    assert "magnitude 90 % (90 %-none), snip none." in sentence


def test_a_collapse_is_below_dense_and_a_gap_is_not():
    plan = case.study(["magnitude", "snip"])
    broken, gone = case.cell_of(plan, "magnitude", 0.9, 0), case.cell_of(plan, "snip", 0.9, 0)
    sentences = answers_of(
        plan,
        lambda c: 9800 + 10 * c.seed,
        notes={broken.key: ["predicts class 1 for all 10000"]},
        without={gone.key},
    )
    assert any(s.endswith("magnitude 90 % (90 %-none), snip none.") for s in sentences)
    assert sentences[-2:] == ["Collapsed: magnitude at 90 % (1 of 3).", "Missing: snip at 90 % (1 of 3)."]
    # what is left of a collapsed cell is no candidate for the best one
    assert "At 90 %, snip alone neither collapsed nor diverged: 98.10, 98.20 %." in sentences


def test_an_empty_store_has_nothing_but_gaps():
    plan = case.study(["magnitude"], sparsities=[0.9], seeds=2)
    sentences = answers(groups_of(frame(plan, case.Kept())))
    assert sentences == [
        "Missing: dense (2 of 2), dense + 10 epochs (2 of 2) and magnitude at 90 % (2 of 2)."
    ]


def test_what_broke_at_many_sparsities_is_one_phrase_for_a_method():
    levels = (0.5, 0.6, 0.7, 0.8, 0.9)
    plan = case.study(["magnitude", "snip", "grasp"], sparsities=levels)
    gone = {c.key for c in plan.cells if c.method == "snip" or (c.method == "grasp" and c.sparsity > 0.75)}
    one = case.cell_of(plan, "magnitude", 0.6, 1).key
    sentences = answers_of(plan, lambda c: 9800, without=gone | {one})
    assert sentences[-1] == (
        "Missing: magnitude at 60 % (1 of 3), snip at 5 sparsities from 50 % to 90 % (15 of 15) and "
        "grasp at 80 % and 90 % (6 of 6)."
    )


def test_a_study_that_has_hardly_begun_is_said_to_have():
    plan = case.study(["magnitude", "snip", "grasp"], sparsities=(0.5, 0.6, 0.7, 0.8), seeds=2)
    sentences = answers(groups_of(frame(plan, case.Kept())))
    assert sentences == ["Missing: 28 of 28 runs have no record yet."]


def test_weights_and_filters_are_ranked_apart():
    filters = {"criterion": "magnitude", "granularity": "filter", "exclude": ["@output"]}
    two = [{"name": f"filters {s}", "scope": s, **filters} for s in ("global", "layer")]
    plan = case.study(["magnitude", "snip", *two], sparsities=[0.9], seeds=1)
    best = {"magnitude": 9700, "snip": 9600, "filters global": 9300, "filters layer": 9200}
    sentences = answers_of(plan, lambda c: best.get(c.method, 9800))
    assert sentences[:2] == [
        "At 90 % of the weights removed, magnitude is highest: 97.00 % (too few seeds for a verdict).",
        "At 90 % of the filters removed, filters global is highest: 93.00 % (too few seeds for a verdict).",
    ]


def test_what_has_no_path_left_is_named():
    plan = case.study(["snip", "magnitude"], sparsities=[0.9, 0.98], seeds=2)
    gone = {c.key for c in plan.cells if (c.method, c.sparsity) == ("snip", 0.98)}
    notes = {key: ["test: predicts class 1 for all 10000"] for key in gone}
    store = case.store(plan, lambda c: 9800, notes=notes)
    for key in gone:
        record = store.records[key]
        numbers = tuple(replace(n, value=0) if n.name == "params_effective" else n for n in record.numbers)
        store.records[key] = replace(record, numbers=numbers)
    cells = frame(plan, store)
    assert answers(groups_of(cells))[-1] == (
        "No path from input to output is left, so nothing can be learnt: snip at 98 % (2 of 2)."
    )
    (noted,) = {row["notes"] for row in cells.to_dict("records") if row["key"] in gone}
    assert noted.endswith("for all 10000 | no path from input to output is left, so it cannot learn")


def test_the_family_is_all_pairs_because_the_first_was_chosen_by_its_mean():
    # magnitude is ahead of two equal others by 0.6 on average; three pairs share one spread
    plan = case.study(sparsities=[0.9], seeds=5)
    wobble = {
        "magnitude": (24, 62, 100, 138, 176),
        "snip": (50, 10, 90, 20, 70),
        "random": (60, 0, 90, 20, 40),
    }
    groups = groups_of(frame(plan, case.store(plan, lambda c: 9600 + wobble.get(c.method, WOBBLE)[c.seed])))
    (first, *others) = sorted((g for g in groups if g.role == "pruned"), key=lambda g: -g.summary.mean)
    differences = against_first([first, *others])
    assert [d.critical for d in differences] == pytest.approx(
        [t_quantile(8, simultaneous_tail(((8, 3, 0.0),)))] * 2
    )


def test_neighbouring_sparsities_with_one_answer_are_one_sentence():
    plan = case.study(["magnitude", "snip"], sparsities=[0.5, 0.7, 0.8, 0.9], seeds=5)
    best = {0.5: "magnitude", 0.7: "magnitude", 0.8: "magnitude", 0.9: "snip"}
    sentences = answers_of(
        plan,
        lambda c: 9000 + 500 * (best.get(c.sparsity) == c.method) + WOBBLE[c.seed] * (c.method == "snip"),
    )
    assert [s.split(":")[0] for s in sentences[:2]] == [
        "From 50 % to 80 %, magnitude keeps most",
        "At 90 %, snip keeps most",
    ]


def test_a_range_of_intervals_that_are_cut_is_one_of_means_and_too_few_runs_are_no_measure():
    plan = case.study(["magnitude", "random"], sparsities=[0.5, 0.6])
    values = {"magnitude": (9990, 9800, 9995), "random": (9950, 9890, 9960)}

    def correct(cell):
        return values[cell.method][cell.seed] if cell.method in values else 9800

    (sentence, *_) = answers_of(plan, correct)
    assert "From 50 % to 60 %, random is highest, 99.33 %, but which" in sentence
