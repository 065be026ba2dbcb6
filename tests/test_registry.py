"""Rows by name: a user's own module is found by `module:row`, and never imported for an archive."""

import sys

import pytest

from prunery.errors import ChoiceError
from prunery.registry import Choice, Registry, no_imports

MODULE = '''
from prunery.core.criteria import criterion

@criterion.add(needs="weight", at="trained", source="a test")
def flat(e, *, level=1.0):
    """One level for all."""
    return e.weight * 0 + level
'''


@pytest.fixture
def module(tmp_path, monkeypatch):
    """The name of a user's module with one criterion, importable for the time of the test."""
    from prunery.core.criteria import criterion

    (tmp_path / "registry_rows.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "registry_rows", raising=False)
    monkeypatch.setattr(criterion, "_rows", dict(criterion._rows))
    monkeypatch.setattr(criterion, "_bare", {k: list(v) for k, v in criterion._bare.items()})
    return "registry_rows"


def test_a_dotted_name_imports_the_module_and_is_the_rows_name(module):
    from prunery.core.criteria import criterion

    bound = criterion.bind(f"{module}:flat(level=2.0)")
    assert (bound.name, bound.given) == (f"{module}:flat", {"level": 2.0})
    assert criterion.bind("flat").name == f"{module}:flat", "its bare name is known once it is imported"
    assert f"{module}:flat" in list(criterion)


def test_a_module_that_is_run_again_replaces_its_row(module):
    from importlib import reload

    from prunery.core.criteria import criterion

    first = criterion[f"{module}:flat"].function
    reload(sys.modules[module])
    assert criterion[f"{module}:flat"].function is not first
    assert criterion["flat"].function is criterion[f"{module}:flat"].function


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("registry_rows:flatt", "did you mean 'registry_rows:flat'"),
        ("registry_rows:MODULE", "no row of that name"),
        ("no_such_rows:flat", "ModuleNotFoundError"),
        ("flat", "Choose one of"),
    ],
)
def test_what_is_not_there_is_said(module, name, words):
    from prunery.core.criteria import criterion

    with pytest.raises(ChoiceError, match=words):
        criterion.bind(name)


def test_a_module_that_fails_is_said(module, tmp_path):
    from prunery.core.criteria import criterion

    (tmp_path / "registry_broken.py").write_text("1 / 0\n")
    with pytest.raises(ChoiceError, match="ZeroDivisionError"):
        criterion.bind("registry_broken:flat")


def test_a_users_row_cannot_take_the_name_of_a_row_of_the_library():
    from prunery.core.criteria import criterion

    def magnitude(e):
        return e.weight

    with pytest.raises(ChoiceError, match="name is taken"):
        criterion.add(needs="weight")(magnitude)


def test_two_rows_of_one_bare_name_are_told_apart(module, tmp_path):
    from prunery.core.criteria import criterion

    (tmp_path / "registry_other.py").write_text(MODULE)
    assert criterion.bind(f"{module}:flat").name != criterion.bind("registry_other:flat").name
    with pytest.raises(ChoiceError, match="there are 2 of that name"):
        criterion.bind("flat")
    del sys.modules["registry_other"]


def test_an_archive_imports_nothing(module):
    refusing, lenient = Registry("schedule"), Registry("scope", stand_in={"at": "trained"})
    with no_imports():
        with pytest.raises(ChoiceError, match="nothing is imported"):
            refusing.bind(f"{module}:flat")
        bound = lenient.bind(f"{module}:flat(level=2.0)")
        assert (bound.name, bound.given, bound.facts["at"]) == (f"{module}:flat", {"level": 2.0}, "trained")
    assert module not in sys.modules
    with pytest.raises(ChoiceError, match="was not imported"):
        bound()


@pytest.mark.parametrize(
    ("text", "choice"),
    [
        ("a.b:row", Choice("a.b:row")),
        ("a:row(k=1, s='x')", Choice("a:row", {"k": 1, "s": "x"})),
        (" row(k=[1, 2]) ", Choice("row", {"k": [1, 2]})),
        ("row()", Choice("row")),
        ("a b(k=1)", Choice("a b(k=1)")),
        ("row(k=f())", Choice("row(k=f())")),
        ("row(1)", Choice("row(1)")),
    ],
)
def test_choices_are_read_from_text(text, choice):
    assert Choice.parse(text) == choice
