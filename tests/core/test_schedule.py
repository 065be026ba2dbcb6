"""Cuts: what a schedule's row may return, and the two schedules whose cuts lie inside a training."""

import subprocess
import sys

import pytest

from prunery.core.schedule import Cut, cuts_of, is_update, schedule
from prunery.errors import ChoiceError, PruneryError, SparsityError
from prunery.registry import Choice


def cuts(name, sparsity, start=0.0, **options):
    return schedule.bind(Choice(name, options))(sparsity, start)


class Update:
    def due(self, step, total):
        return step == 0

    def __call__(self, context):
        return context.masks


def test_numbers_are_cuts():
    assert cuts_of([0.5, "90%"]) == [Cut(0.5), Cut(0.9)]
    assert cuts_of((0.5, Cut(0.6))) == [Cut(0.5), Cut(0.6)]
    assert cuts_of(schedule.bind("iterative(fraction=0.5)")(0.75)) == [Cut(0.5), Cut(0.75)]
    assert (Cut(0.5).regrow, Cut(0.5).at, Cut(0.5).grow, Cut(0.5).criterion) == (0.0, None, "random", None)


@pytest.mark.parametrize("row", ["one_shot", "iterative", "exponential"])
def test_the_rows_between_trainings_still_give_numbers(row):
    levels = cuts(row, 0.9)
    assert all(type(level) is float for level in levels)
    assert "during" not in schedule[row].facts
    assert [cut.at for cut in cuts_of(levels)] == [None] * len(levels)


@pytest.mark.parametrize(
    ("result", "word"),
    [
        ([], "no cut"),
        (0.5, "0.5"),
        ("90%", "90%"),
        ([0.9, 0.5], "ascending"),
        ([Cut(0.5, at=0.1), Cut(0.9)], "every cut its place"),
        ([Cut(0.5, at=0.6), Cut(0.9, at=0.5)], "ascending"),
        ([0.5, 1.0], "1.0"),
        ([None], "None"),
        (Update(), "mask update"),
    ],
)
def test_cuts_that_cannot_be_are_refused(result, word):
    with pytest.raises(SparsityError, match=word):
        cuts_of(result)


def test_a_cut_that_regrows_may_lower_the_sparsity():
    assert len(cuts_of([Cut(0.9, at=0), Cut(0.8, 0.1, at=0.5)])) == 2


@pytest.mark.parametrize(
    "fields",
    [
        {"regrow": 1.0, "at": 0.5},
        {"regrow": -0.1, "at": 0.5},
        {"regrow": True, "at": 0.5},
        {"at": 1.5},
        {"at": "half"},
        {"at": 0.5, "grow": "gradient"},
        {"regrow": 0.3},
        {"criterion": "random"},
    ],
)
def test_cuts_refuse_nonsense(fields):
    with pytest.raises(PruneryError):
        Cut(0.5, **fields)


def test_what_a_mask_update_is():
    assert is_update(Update())
    assert not is_update(Update)
    assert not is_update([0.5])
    assert not is_update(lambda context: context.masks)


def test_gradual_is_cubic():
    """By hand: 0.8 (1 - (1 - i/4)^3) for i = 1..4, at begin + i (end - begin) / 4."""
    found = cuts("gradual", 0.8, begin=0.2, end=0.6, cuts=4)
    assert [cut.sparsity for cut in found] == pytest.approx([0.4625, 0.7, 0.7875, 0.8], abs=1e-15)
    assert [cut.at for cut in found] == pytest.approx([0.3, 0.4, 0.5, 0.6], abs=1e-15)
    assert (found[-1].sparsity, found[-1].at) == (0.8, 0.6)
    assert {cut.regrow for cut in found} == {0.0}
    later = cuts("gradual", 0.9, start=0.5, cuts=2)  # 0.9 - 0.4 / 8
    assert [cut.sparsity for cut in later] == [pytest.approx(0.85, abs=1e-15), 0.9]


def test_gradual_without_options():
    found = cuts("gradual", 0.9)
    assert (len(found), found[0].at, found[-1].at) == (30, 0.025, 0.75)
    facts = schedule["gradual"].facts
    assert (facts["during"], facts["between"], facts["at"]) == (True, False, "init")
    assert "eq. 1" in facts["source"]


@pytest.mark.parametrize(
    ("every", "places"),
    [(0.1, [0.3, 0.4, 0.5]), (0.3, [0.5]), (0.15, [0.35, 0.5]), (0.2, [0.4])],
)
def test_every_is_the_share_from_cut_to_cut(every, places):
    found = cuts("gradual", 0.9, begin=0.2, end=0.5, every=every)
    assert [cut.at for cut in found] == pytest.approx(places, abs=1e-12)
    assert max(cut.at for cut in found) <= 0.5
    assert found[-1].sparsity == 0.9


def test_drop_grow_keeps_the_sparsity():
    first, *rest = cuts("drop_grow", 0.9, cuts=3, end=0.6)
    assert first == Cut(0.9, at=0.0, criterion="random")
    assert [cut.at for cut in rest] == pytest.approx([0.2, 0.4, 0.6], abs=1e-15)
    assert {(cut.sparsity, cut.regrow, cut.grow, cut.criterion) for cut in rest} == {
        (0.9, 0.3, "random", None)
    }
    assert len(cuts("drop_grow", 0.9)) == 31
    assert (schedule["drop_grow"].facts["during"], schedule["drop_grow"].facts["at"]) == (True, "init")


def test_drop_grow_by_the_cosine():
    """By hand: 0.4 (1 + cos(pi at / 0.6)) / 2 at 0.15, 0.3, 0.45, 0.6."""
    _, *rest = cuts("drop_grow", 0.9, fraction=0.4, decay="cosine", cuts=4, end=0.6)
    root = 0.5**0.5
    assert [cut.regrow for cut in rest] == pytest.approx([0.2 + 0.2 * root, 0.2, 0.2 - 0.2 * root, 0.0])


@pytest.mark.parametrize(
    "options",
    [
        {"begin": 0.5, "end": 0.5},
        {"begin": 0.8},
        {"begin": -0.1},
        {"end": 1.1},
        {"end": "late"},
        {"cuts": 0},
        {"cuts": 2.5},
        {"cuts": True},
        {"cuts": 20_000},
        {"every": 0.0},
        {"every": 0.8},
        {"every": 1e-6},
        {"every": "1%"},
        {"cuts": 3, "every": 0.1},
    ],
)
def test_silly_options_are_refused(options):
    with pytest.raises(SparsityError, match="a pruning schedule"):
        cuts("gradual", 0.9, **options)
    if "begin" not in options:
        with pytest.raises(SparsityError, match="a pruning schedule"):
            cuts("drop_grow", 0.9, **options)


@pytest.mark.parametrize(
    ("options", "error", "word"),
    [
        ({"fraction": 0}, SparsityError, "between 0 and 1"),
        ({"fraction": 1.0}, SparsityError, "between 0 and 1"),
        ({"end": 1.0}, SparsityError, "never trained"),
        ({"decay": "linear"}, ChoiceError, "'constant' or 'cosine'"),
        ({"grow": "gradient"}, ChoiceError, "at random only"),
    ],
)
def test_silly_options_of_drop_grow_are_refused(options, error, word):
    with pytest.raises(error, match=word):
        cuts("drop_grow", 0.9, **options)


def test_schedules_need_no_torch():
    code = "import sys\nfrom prunery.core.schedule import schedule, cuts_of\n"
    code += "cuts_of(schedule.bind('gradual')(0.9))\nassert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
