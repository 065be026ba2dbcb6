"""A user's factory is looked for without running its code; what its code raises becomes an error of ours."""

import sys
import types

import pytest

from prunery.errors import DataError, ModelError
from prunery.factories import as_ours, check_exists, is_factory, resolve, working_folder

RAISES = "raise RuntimeError('this code ran')\n"
FILES = {
    "my_model.py": RAISES + "def net(): pass\nclass Net:\n    def small(): pass\nfor other in []: pass\n",
    "my_star.py": RAISES + "from os import *\n",
    "my_getattr.py": RAISES + "def __getattr__(name): return dict\n",
    "my_globals.py": RAISES + "globals().update(net=dict)\n",
    "my_alias.py": RAISES + "from torch import nn as net, optim\nimport os.path\n(made := 3)\n",
    "my_typo.py": "def net(:\n    pass\n",
    "zoo_nets/__init__.py": RAISES,
    "zoo_nets/small.py": RAISES + "def net(): pass\n",
    "zoo_nets/deep/one.py": RAISES + "def net(): pass\n",
    "bare/deeper/two.py": RAISES + "def net(): pass\n",
    "makes/__init__.py": "import sys\nsys.modules[__name__ + '.made'] = sys\n" + RAISES,
    "runs/store/readme.txt": "no module\n",
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with modules that raise when they run; none stays imported."""
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


@pytest.mark.parametrize(
    "name",
    [
        "my_model:net",
        "my_model:Net",
        "my_model:Net.small",
        "my_model:other",
        "my_star:anything",
        "my_getattr:anything",
        "my_globals:net",
        "my_alias:net",
        "my_alias:optim",
        "my_alias:os.path.join",
        "my_alias:made",
        "zoo_nets.small:net",
        "zoo_nets.deep.one:net",
        "bare.deeper.two:net",
        "makes.made:exit",
        "os.path:join",
        "xml.sax.handler:ContentHandler",
    ],
)
def test_what_is_there_is_found_and_nothing_runs(folder, name):
    before, path = set(sys.modules), list(sys.path)
    check_exists("it", name, ModelError)
    ours = {"my_model", "zoo_nets", "bare", "makes", "xml.sax"}
    assert not {module for module in set(sys.modules) - before if module in ours or module.startswith("my_")}
    assert sys.path == path


@pytest.mark.parametrize(
    ("name", "problem", "do"),
    [
        ("my_modle:net", "no module 'my_modle'; did you mean 'my_model'?", "run the command in the folder"),
        ("nowhere:net", "no module 'nowhere'", "install it"),
        ("pytset:net", "no module 'pytset'; did you mean 'pytest'?", "install it"),
        ("zoo_net.small:net", "no module 'zoo_net'; did you mean 'zoo_nets'?", "install it"),
        ("zoo_nets.smal:net", "no module 'zoo_nets.smal'; did you mean 'zoo_nets.small'?", "install it"),
        ("zoo_nets.deap.one:net", "no module 'zoo_nets.deap'; did you mean 'zoo_nets.deep'?", "install it"),
        ("bare.deper.two:net", "no module 'bare.deper'; did you mean 'bare.deeper'?", "install it"),
        ("my_model.net:net", "no module 'my_model.net'", "install it"),
        (
            "zoo_nets.deep:net",
            "'zoo_nets.deep' is a folder and no module (in it: one)",
            "zoo_nets.deep.module:factory",
        ),
        ("runs:net", "'runs' is a folder and no module (in it: none)", "name a module in it"),
        ("my_model:nett", "'my_model' has no 'nett'; did you mean 'net'?", "name one that it has"),
        ("my_alias:path", "'my_alias' has no 'path'", "name one that it has"),
        ("zoo_nets:net", "'zoo_nets' has no 'net'", "name one that it has"),
        ("my_typo:net", "importing 'my_typo' raises SyntaxError", "correct 'my_typo'"),
    ],
)
def test_what_is_not_there_is_refused_with_the_nearest_name(folder, name, problem, do):
    with pytest.raises(DataError) as caught:
        check_exists("the thing", name, DataError)
    assert caught.value.asked == "the thing"
    assert problem in caught.value.found
    assert do in caught.value.do


def test_a_module_that_is_made_in_memory_is_there(folder, monkeypatch):
    module = types.ModuleType("made_here")
    module.net = dict
    monkeypatch.setitem(sys.modules, "made_here", module)
    check_exists("it", "made_here:net", ModelError)
    assert resolve("it", "made_here:net", ModelError) is dict


def test_resolving_imports_from_the_working_folder(folder):
    (folder / "my_fine.py").write_text("class Net:\n    def small(): return 3\n")
    path = list(sys.path)
    assert resolve("it", "my_fine:Net.small", ModelError)() == 3
    assert sys.path == path


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (RAISES, "importing 'my_odd' raises RuntimeError: this code ran"),
        ("import sys; sys.exit(3)", "importing 'my_odd' raises SystemExit: 3"),
        ("import nowhere_at_all", "importing 'my_odd' raises ModuleNotFoundError: No module named"),
        ("net = 3", "it is int, not a function or class"),
        ("nat = 3", "'my_odd' has no 'net'; did you mean 'nat'?"),
        ("def __getattr__(name): raise OSError('two\\nlines.')", "raises OSError: two lines"),
        ("import sys; sys.path.clear(); net = dict", None),
    ],
)
def test_a_module_that_fails_is_named(folder, monkeypatch, text, problem):
    monkeypatch.setattr(sys, "path", list(sys.path))
    (folder / "my_odd.py").write_text(text)
    if problem is None:
        assert resolve("it", "my_odd:net", ModelError) is dict
        return
    with pytest.raises(ModelError) as caught:
        resolve("it", "my_odd:net", ModelError)
    assert problem in caught.value.found
    assert caught.value.asked == "it"
    assert caught.value.do


def test_what_a_users_code_raises_becomes_ours():
    with pytest.raises(ModelError) as caught, as_ours("it", "mend it", ModelError):
        raise KeyError
    assert caught.value.args == ("it", "it raised KeyError", "mend it")
    with pytest.raises(ModelError) as caught, as_ours("it", "mend it", ModelError, "calling it raises"):
        raise SystemExit("over\n  here.")
    assert caught.value.found == "calling it raises SystemExit: over here"
    with pytest.raises(KeyboardInterrupt), as_ours("it", "mend it", ModelError):
        raise KeyboardInterrupt
    with pytest.raises(DataError, match="as it was"), as_ours("it", "mend it", ModelError):
        raise DataError("a set", "as it was", "do this")


def test_the_form_of_a_name():
    good = ("a:b", "a.b:C.d", "größe:netz", "_a1:_b")
    bad = ("a", "a:", ":b", "a b:c", "a:b:c", "a..b:c", "1a:b", "a:1", "a:b.", "", None, 3, ("a:b",))
    assert all(is_factory(name) for name in good)
    assert not any(is_factory(name) for name in bad)


def test_the_working_folder_comes_first_and_goes_again(folder):
    path = list(sys.path)
    with working_folder():
        assert sys.path == [str(folder), *path]
    assert sys.path == path
