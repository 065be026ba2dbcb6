"""One parser for every form of sparsity, and an error that shows the forms for anything else."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prunery.core.schedule import schedule
from prunery.core.sparsity import parse, parse_wanted
from prunery.errors import SparsityError
from prunery.registry import Choice, Registry
from prunery.seeds import number


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (0.9, 0.9),
        (0, 0.0),
        ("0.9", 0.9),
        ("90%", 0.9),
        (" 99.5 % ", 0.995),
        ("10x", 0.9),
        ("1x", 0.0),
        ("2.5x", 0.6),
        ("density=0.1", 0.9),
        ("density=1", 0.0),
        ("compression=1", 0.9),
        ("compression=0", 0.0),
        ("sparsity=0.25", 0.25),
        ("1e-3", 0.001),
        ("0", 0.0),
    ],
)
def test_accepted_forms(text, value):
    assert parse(text) == pytest.approx(value, abs=1e-15)


def test_percentages_are_read_as_written():
    assert [parse(f"{p}%") for p in (10, 30, 70, 90, 99)] == [0.1, 0.3, 0.7, 0.9, 0.99]


@pytest.mark.parametrize(
    "bad",
    [1.5, 1.0, 1, -0.1, "90", "-0.1", "1.5", "100%", "-5%", "0.5x", "x", "", "ninety", "density=0",
     "density=2", "compression=-1", True, None, [0.9], float("nan"), float("inf"), "nan", "infx", "9 0%"],
)  # fmt: skip
def test_anything_else_shows_the_forms(bad):
    with pytest.raises(SparsityError, match="'10x'"):
        parse(bad)


def test_a_large_exponent_suggests_the_ratio():
    with pytest.raises(SparsityError, match="'10x'"):
        parse("compression=10")


def test_a_bare_percentage_is_told_how_it_is_written():
    with pytest.raises(SparsityError, match="90 % is written '90%'"):
        parse(90)


def test_mappings_are_parsed_and_empty_ones_refused():
    assert parse_wanted({"a.*": "95%", "*": 0.5}) == {"a.*": 0.95, "*": 0.5}
    with pytest.raises(SparsityError):
        parse_wanted({})


def cuts(name, sparsity, start=0.0, **options):
    return schedule.bind(Choice(name, options))(sparsity, start)


def test_one_shot_and_exponential_levels():
    assert cuts("one_shot", 0.9) == [0.9]
    levels = cuts("exponential", 0.99, rounds=2)
    assert levels == [pytest.approx(0.9), 0.99]
    assert len(cuts("exponential", 0.9)) == 100
    assert cuts("exponential", 0.99, start=0.9, rounds=1) == [0.99]


def test_iterative_by_fraction_hits_the_target_with_the_last_cut():
    levels = cuts("iterative", 0.5, fraction=0.1)
    assert len(levels) == 7  # 0.9^6 = 0.531 is not enough
    assert levels[:2] == [pytest.approx(0.1), pytest.approx(0.19)]
    assert levels[-1] == 0.5
    assert len(cuts("iterative", 0.75, fraction=0.1)) == 14
    assert len(cuts("iterative", 0.9, fraction=0.1)) == 22
    assert cuts("iterative", 0.75, fraction=0.5) == [0.5, 0.75]  # no third cut for rounding


def test_iterative_through_levels_stops_at_the_target():
    assert cuts("iterative", 0.9, levels=["50%", 0.8, 0.95]) == [0.5, 0.8, 0.9]
    assert cuts("iterative", 0.95, start=0.5, levels=[0.5, 0.8, 0.95]) == [0.8, 0.95]


@pytest.mark.parametrize(
    "options",
    [{"fraction": 0.1, "rounds": 3}, {"fraction": 0.0}, {"rounds": 0}, {"rounds": 2.5},
     {"levels": [0.8, 0.5]}, {"fraction": 1e-9}],
)  # fmt: skip
def test_schedules_refuse_nonsense(options):
    with pytest.raises(SparsityError):
        cuts("iterative", 0.9, **options)


def test_seeds_are_stable_and_independent():
    assert number(0, "order", 1) == 4489457307835839548  # the same on every machine
    assert len({number(0, "a"), number(1, "a"), number(0, "b"), number(0, "a", 1)}) == 4


def test_tables_refuse_unknown_names_options_and_duplicates():
    table = Registry("fruit")

    @table.add(colour="green")
    def pear(*, size=1):
        return size

    assert table.bind("pear(size=3)")() == 3
    assert table.bind({"name": "pear", "size": 2}).given == {"size": 2}
    assert table.bind("pear").facts["colour"] == "green"
    with pytest.raises(ValueError, match="did you mean 'pear'"):
        table.bind("paer")
    with pytest.raises(ValueError, match="did you mean 'size'"):
        table.bind("pear(sise=3)")
    with pytest.raises(ValueError, match="name is taken"):
        table.add()(pear)
    with pytest.raises(ValueError, match="neither a name"):
        Choice.parse(3)


@given(st.decimals(min_value=0, max_value=100, places=4).filter(lambda d: d < 100))
def test_any_percentage_and_its_density_are_read_exactly(percent):
    assert parse(f"{percent}%") == float(Fraction(percent) / 100)
    assert parse(f"density={1 - percent / 100}") == float(1 - (1 - Fraction(percent) / 100))


@given(st.floats(min_value=1, max_value=1e9, allow_nan=False))
def test_any_ratio_leaves_its_share(ratio):
    assert parse(f"{ratio:.6f}x") == 1 - 1 / float(f"{ratio:.6f}")


@given(st.text(max_size=12) | st.floats() | st.integers() | st.none() | st.booleans())
def test_whatever_is_given_is_a_sparsity_or_our_error(value):
    try:
        sparsity = parse(value)
    except SparsityError:
        return
    assert 0 <= sparsity < 1
