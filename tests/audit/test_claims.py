"""Sentences against a table: wrong, unsupported, borne out, and not understood."""

from __future__ import annotations

import pytest
from audit_kit import audited

TABLE = """dataset,model,method,sparsity,top1
    cifar10,vgg16,dense,0,93.50
    cifar10,vgg16,SNIP,0.5,93.00
    cifar10,vgg16,SNIP,0.9,92.26
    cifar10,vgg16,SNIP,0.98,91.08
    cifar10,vgg16,SynFlow,0.5,93.20
    cifar10,vgg16,SynFlow,0.9,92.10
    cifar10,vgg16,SynFlow,0.98,91.90
    cifar10,vgg16,magnitude_at_init,0.5,92.80
    cifar10,vgg16,magnitude_at_init,0.9,91.90
    cifar10,vgg16,magnitude_at_init,0.98,92.00"""
TRUE = [
    "SynFlow reaches the highest accuracy at 50 % sparsity.",
    "SNIP is the best at 90 %.",
    "At 90% sparsity, SNIP beats SynFlow.",
    "SNIP is worse than SynFlow at 98 %.",
    "SNIP outperforms SynFlow by 0.16 points at 90 %.",
    "SynFlow never beats the dense network.",
    "SynFlow consistently stays above 91.5 %.",
    "SNIP falls monotonically with sparsity.",
    "SNIP reaches 92.26 % at 90 % sparsity on CIFAR-10 with VGG-16.",
    "SNIP reaches 93.0, 92.3 and 91.1 % at 50, 90 and 98 % sparsity.",
    "SNIP and SynFlow reach 92.26 % and 92.10 % at a sparsity of 0.9.",
    "The dense network has an accuracy of 93.5 %.",
    "Magnitude at init is not monotone with increasing sparsity.",
    "Magnitude at init is the lowest at 90 %.",
]
WRONG = [
    ("SynFlow is the best method at every sparsity.", "2 of 3 places"),
    ("SNIP has the highest accuracy at 98 % sparsity.", "not so in 1 of 1"),
    ("SynFlow outperforms SNIP at all sparsities.", "1 of 3 comparisons"),
    ("SNIP never beats SynFlow.", "1 of 3 comparisons"),
    ("SNIP outperforms SynFlow by 1.2 points at 90 %.", "the table has 0.16"),
    ("All methods stay above 92 % at 90 % sparsity.", "1 of 3 values"),
    ("SNIP never falls below 92 %.", "1 of 3 values"),
    ("The accuracy of magnitude at init decreases monotonically with sparsity.", "1 of 2 steps"),
    ("SNIP reaches 92.62 % at 90 % sparsity.", "the table has SNIP at 90 % 92.26 (cifar10, vgg16, line 4)"),
    ("SNIP reaches 91.5 % at 95 % sparsity.", "unsupported: the table has nothing at sparsity 95 %"),
    ("SNIP is significantly better than SynFlow at 90 %.", "one run a cell"),
]
QUIET = [  # numbers that are no accuracies
    "Dense trainings that differ by seed lie within 0.15 points of each other 95 % of the time.",
    "Differences to the dense network: mean with its 95 % t-interval, paired t-tests at 5 %.",
    "SNIP loses 2 % with a 30 % drop in MACs.",
    "Pruning with SNIP at 90 % removes 74 % of the MACs.",
    "SNIP keeps 26 % of the dense network's operations at 90 %.",
]
UNCHECKED = ["Pruning is always robust.", "GraSP beats everything.", "The best choice depends on the task."]


@pytest.mark.parametrize("text", TRUE)
def test_true_claim_is_borne_out(tmp_path, text):
    done = audited(tmp_path, TABLE, claims=text)
    assert [str(f) for f in done.findings] == []
    assert done.unchecked == ()


@pytest.mark.parametrize(("text", "why"), WRONG)
def test_wrong_claim_is_a_finding(tmp_path, text, why):
    (finding,) = audited(tmp_path, TABLE, claims=f"# Results\n\nWe prune. \n{text}").findings
    assert why in finding.message
    assert (finding.file, finding.lines, finding.where) == ("claims", (4,), f'"{text}"')


@pytest.mark.parametrize("text", UNCHECKED)
def test_claim_not_understood_is_no_finding(tmp_path, text):
    done = audited(tmp_path, TABLE, claims=text)
    assert done.findings == ()
    assert [(u.line, u.text) for u in done.unchecked] == [(1, text)]


@pytest.mark.parametrize("text", QUIET)
def test_other_numbers_are_not_taken_for_accuracies(tmp_path, text):
    assert audited(tmp_path, TABLE, claims=text).findings == ()


def test_what_is_no_prose_is_not_read(tmp_path):
    text = "# SNIP is best at 98 %\n\n| SNIP is best at 98 % |\n\n```\nSNIP is best at 98 %.\n```\nThanks.\n"
    done = audited(tmp_path, TABLE, claims=text)
    assert (done.findings, done.unchecked) == ((), ())


def test_sentences_in_lists_and_over_several_lines(tmp_path):
    text = "Hello there.\n- SNIP is the\n  best at 98 % sparsity.\n- SNIP is the lowest at 98 %, e.g. here.\n"
    (finding,) = audited(tmp_path, TABLE, claims=text).findings
    assert finding.lines == (2,)


def test_methods_called_by_numbers_are_no_names(tmp_path):
    table = "method,sparsity,acc\n100,0.9,92\n200,0.9,91"
    done = audited(tmp_path, table, claims="At 90 % sparsity, A reaches 92.1 % and B 91.0 %.")
    assert done.findings == ()


SMALL = """method,sparsity,acc
    dense,0,92.3
    GMP,0.5,92.4
    GMP,0.9,90.1
    SNIP,0.5,91.9
    SNIP,0.9,88.7"""
BORNE_OUT = [
    "No method falls below 88 %.",
    "SNIP keeps 91.9 % at 50 % and 88.7 % at 90 %.",
    "From 50 % to 90 % sparsity, GMP falls from 92.4 % to 90.1 %.",
    "GMP loses less than 3 % at 90 % sparsity.",
    "GMP loses only 2.2 points at 90 % sparsity.",
    "All methods except SNIP stay above 90 %.",
    "SNIP never rises above the dense network.",
    "SNIP is within 1.5 points of GMP at 90 %.",
    "GMP is 0.1 points above the dense network at 50 %.",
    "SNIP is outperformed by GMP at every sparsity.",
    "SNIP is no better than GMP.",
    "SNIP's highest accuracy is at 50 %.",
    "The best result of SNIP is 91.9 %.",
    "The accuracy of SNIP drops by 3.2 points from 50 % to 90 %.",
]
BORNE_OUT += [
    "With 10 % of the weights remaining, GMP is best.",
    "At tenfold compression GMP beats SNIP.",
    "GMP is the best up to 90 % sparsity.",
    "GMP beats SNIP by at least 0.5 points at all sparsities.",
    "Is SNIP the best at 90 %?",
    "GMP stays above SNIP from 90 % on.",
    "GMP beats SNIP for sparsities below 90 %.",
]
NOT_CHECKED = [  # two comparisons, others' results, what the table does not hold
    "GMP beats SNIP by 0.5 points at 50 %, but is 2.2 points worse than dense at 90 %.",
    "GMP is better than SNIP, and SNIP is worse than dense.",
    "SNIP was reported to reach 93.1 % at 90 % in the original paper, we get 88.7 %.",
    "Without fine-tuning, GMP would drop to 40 % at 90 %.",
    "GMP at 90 % sparsity is worse than SNIP at 50 % sparsity.",
    "SNIP reaches about 89 % at 90 % sparsity.",
    "Only GMP is better than dense at 50 %.",
    "Not all methods stay above 90 %.",
    "Without momentum, SNIP reaches 87.1 % at 90 % sparsity.",
    "At 90 % sparsity, SNIP has an error of 11.3 %.",
    "GMP never loses more than 2.5 points, but never 5 %.",
]
NOT_CHECKED += [
    "On average, SNIP is better than GMP.",
    "All standard deviations stay below 0.2.",
    "SNIP has the lowest FLOPs at 90 %.",
    "SNIP is the best method at low sparsity.",
    "GMP is not always better than SNIP.",
    "It is not true that GMP always beats SNIP.",
    "SNIP beats GMP at 50 %, while GMP is better at 90 %.",
    "With 20 % of the weights, SNIP is best.",
    "There is no evidence that SNIP beats GMP.",
    "SNIP sometimes beats GMP.",
    "SNIP is one of the best methods at 90 %.",
    "SNIP beats GMP in terms of robustness.",
    "SNIP beats GMP as sparsity grows.",
]
CONTRADICTED = [
    ("With 10 % of the weights left, SNIP is best.", "not so in 1 of 1"),
    ("SNIP is the best up to 90 %.", "not so in 2 of 2"),
    ("GMP beats SNIP by at least 0.8 points at all sparsities.", "the table has 0.50, 1.40"),
    ("No method falls below 89 %.", "1 of 4 values"),
    ("SNIP keeps 91.9 % at 50 % and 88.9 % at 90 %.", "88.9 is quoted for SNIP at 90 %"),
    ("From 50 % to 90 % sparsity, GMP falls from 94.2 % to 90.1 %.", "94.2 is quoted for GMP at 50 %"),
    ("GMP loses only 0.3 points at 90 %.", "the table has 2.20 points"),
    ("SNIP loses less than 1 % at 90 % sparsity.", "the table has 3.60 points"),
    ("All methods except SNIP stay above 91 %.", "1 of 2 values"),
    ("GMP improves over dense at 90 %.", "1 of 1 comparisons"),
    ("GMP never drops below the dense baseline.", "1 of 2 comparisons"),
    ("SNIP is within 0.5 points of GMP at 90 %.", "1 of 1 comparisons"),
    ("GMP is outperformed by SNIP at 90 %.", "1 of 1 comparisons"),
    ("GMP is no better than SNIP.", "2 of 2 comparisons"),
    ("SNIP has the highest accuracy of all methods at 90 %.", "not so in 1 of 1"),
    ("No pruned network falls below 89 %.", "1 of 4 values"),
]


@pytest.mark.parametrize("text", BORNE_OUT)
def test_a_true_sentence_is_not_called_false(tmp_path, text):
    done = audited(tmp_path, SMALL, claims=text)
    assert [str(f) for f in done.findings] == []


@pytest.mark.parametrize("text", NOT_CHECKED)
def test_a_sentence_that_is_not_sure_is_listed(tmp_path, text):
    done = audited(tmp_path, SMALL, claims=text)
    assert [str(f) for f in done.findings] == []
    assert [u.text for u in done.unchecked] == [text]


@pytest.mark.parametrize(("text", "why"), CONTRADICTED)
def test_a_false_sentence_is_found(tmp_path, text, why):
    (finding,) = audited(tmp_path, SMALL, claims=text).findings
    assert why in finding.message


SEEDS = (
    """method,sparsity,seed,acc
    A,0.9,0,89.30
    A,0.9,1,89.61
    A,0.9,2,89.12
    B,0.9,0,89.52
    B,0.9,1,89.40
    B,0.9,2,89.77
    C,0.9,0,91.52
    C,0.9,1,91.40
    C,0.9,2,91.77""".replace("A,", "snip,")
    .replace("B,", "synflow,")
    .replace("C,", "grasp,")
)


def test_significance_over_seeds(tmp_path):
    (finding,) = audited(tmp_path, SEEDS, claims="Synflow is significantly better than snip.").findings
    assert "their runs overlap" in finding.message
    done = audited(tmp_path, SEEDS, claims="Grasp is significantly better than snip.")
    assert (done.findings, done.unchecked) == ((), ())


def test_significance_of_means_whose_runs_are_not_shown(tmp_path):
    table = "method,sparsity,acc\nsnip,0.9,92.6 ± 0.1\nsynflow,0.9,92.9 ± 0.2"
    done = audited(tmp_path, table, claims="Synflow is significantly better than snip.")
    assert done.findings == ()
    assert len(done.unchecked) == 1
