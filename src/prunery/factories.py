"""A user's factory, `package.module:factory`: looked for without running its code, imported, called.

Whatever a user's code raises becomes one error of the library: what was asked, found, and is to be done.
"""

from __future__ import annotations

import ast
import importlib
import os
import pkgutil
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.machinery import ModuleSpec
from itertools import accumulate
from pathlib import Path
from typing import Any

from prunery.errors import PruneryError
from prunery.registry import nearest
from prunery.user_code import contained

_FORM = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")
_MAKES_NAMES = ("globals", "vars", "exec", "eval", "setattr")  # a module's names may then be any
_MAKES_MODULES = re.compile(r"sys\.modules|__path__|meta_path|path_hooks")

_NAME_ONE = "name one that it has"


def is_factory(name: object) -> bool:
    """Return whether `name` has the form `package.module:factory`."""
    return isinstance(name, str) and _FORM.fullmatch(name) is not None


@contextmanager
def working_folder() -> Iterator[None]:
    """Import modules from the working folder too, as `python -m` does; a console script leaves it out."""
    folder = os.getcwd()
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        with suppress(ValueError):  # the user's code took it out
            sys.path.remove(folder)


@contextmanager
def as_ours(asked: str, do: str, error: type[PruneryError], doing: str = "it raised") -> Iterator[None]:
    """Turn what a user's code raises into `error`; Ctrl-C and errors of the library stay as they are.

    The working folder stays what it is, and the process stays, too.
    """
    try:
        with contained():
            yield
    except PruneryError:
        raise
    except (Exception, SystemExit) as raised:
        text = " ".join(str(raised).split()).rstrip(".")
        problem = f"{doing} {type(raised).__name__}{f': {text}' if text else ''}"
        raise error(asked, problem, do) from raised


def check_exists(asked: str, name: str, error: type[PruneryError]) -> None:
    """Check that a factory's module is there and that its source can bind the factory; else raise `error`.

    No code of the user's runs and no package is imported. What only running it can tell passes.
    """
    module, _, path = name.partition(":")
    with working_folder():
        spec = _located(asked, module, error)
        source = None if spec is None else _source(spec)
    if source is not None:
        _check_source(asked, source, module, path.partition(".")[0], error)


def resolve(asked: str, name: str, error: type[PruneryError]) -> Callable[..., Any]:
    """Return the function or class that `package.module:factory` names; raise `error` if there is none."""
    module, _, path = name.partition(":")
    with working_folder(), as_ours(asked, f"correct {module!r}", error, f"importing {module!r} raises"):
        _located(asked, module, error)
        value: Any = importlib.import_module(module)
        for part in path.split("."):
            if not hasattr(value, part):
                raise error(asked, f"{module!r} has no {path!r}{nearest(part, dir(value))}", _NAME_ONE)
            value = getattr(value, part)
    if not callable(value):
        problem = f"it is {type(value).__name__}, not a function or class"
        raise error(asked, problem, "name a factory, which makes a fresh one at each call")
    factory: Callable[..., Any] = value
    return factory


def _located(asked: str, module: str, error: type[PruneryError]) -> ModuleSpec | None:
    """Return the spec of a module, found package by package; None if loaded, or if only running can tell."""
    if sys.modules.get(module) is not None:
        return None
    importlib.invalidate_caches()
    parent: ModuleSpec | None = None
    for name in accumulate(module.split("."), "{}.{}".format):
        spec = _spec(name, None if parent is None else parent.submodule_search_locations or [])
        if spec is None:
            if parent is not None and _makes_modules(parent):
                return None
            do = "install it, or run the command in the folder that holds it"
            raise error(asked, f"there is no module {name!r}{_nearest_module(name, parent)}", do)
        parent = spec
    assert parent is not None
    if parent.loader is None and parent.submodule_search_locations:
        inside = sorted(_modules_in(parent.submodule_search_locations))
        problem = f"{module!r} is a folder and no module (in it: {', '.join(inside) or 'none'})"
        raise error(asked, problem, f"name a module in it, {module}.module:factory")
    return parent


def _spec(name: str, folders: Sequence[str] | None) -> ModuleSpec | None:
    """Return the spec of a module in the folders of its package, None for an outermost one; nothing runs."""
    loaded = sys.modules.get(name)
    if loaded is not None:
        return _spec_of_folders(name, getattr(loaded, "__path__", []))
    for finder in sys.meta_path:
        with suppress(Exception):  # a finder may want its package imported
            spec = finder.find_spec(name, folders)
            if spec is not None:
                return spec
    last = name.rpartition(".")[2]
    beside = [os.path.join(folder, last) for folder in (sys.path if folders is None else folders)]
    beside = [folder for folder in beside if os.path.isdir(folder)]
    return _spec_of_folders(name, beside) if beside else None


def _spec_of_folders(name: str, folders: Iterable[str]) -> ModuleSpec:
    spec = ModuleSpec(name, None)
    spec.submodule_search_locations = list(folders)
    return spec


def _source(spec: ModuleSpec) -> str | None:
    """Return the source of a module, or None where there is none to read."""
    loader: Any = spec.loader
    with suppress(Exception):  # a loader may do without `get_source`, or fail to decode
        source: str | None = loader.get_source(spec.name)
        return source
    return None


def _makes_modules(package: ModuleSpec) -> bool:
    """Return whether a package may make modules that no folder holds, when it runs."""
    if package.name in sys.modules or package.loader is None:
        return False
    source = _source(package)
    return source is None or _MAKES_MODULES.search(source) is not None


def _nearest_module(name: str, parent: ModuleSpec | None) -> str:
    """Return a hint at the module that may be meant: in the same folder, or an installed one."""
    package, dot, last = name.rpartition(".")
    if parent is not None:
        beside = _modules_in(parent.submodule_search_locations or [])
        return nearest(name, [f"{package}{dot}{other}" for other in beside])
    return nearest(last, _modules_in([os.getcwd()])) or nearest(
        last, (m.name for m in pkgutil.iter_modules())
    )


def _modules_in(folders: Iterable[str]) -> set[str]:
    """Return the names of the modules and packages in these folders, packages without `__init__` too."""
    folders = list(folders)
    plain = (path for folder in folders if os.path.isdir(folder) for path in Path(folder).iterdir())
    packages = {p.name for p in plain if p.name.isidentifier() and p.is_dir() and any(p.glob("*.py"))}
    return packages | {module.name for module in pkgutil.iter_modules(folders)}


def _check_source(asked: str, source: str, module: str, first: str, error: type[PruneryError]) -> None:
    """Check that a module's source is Python and may bind the name `first`."""
    try:
        names = _bound(ast.parse(source, f"{module}.py"))
    except (SyntaxError, ValueError, RecursionError, MemoryError) as wrong:
        problem = f"importing {module!r} raises {type(wrong).__name__}: {wrong}"
        raise error(asked, problem, f"correct {module!r}") from wrong
    if names is not None and first not in names:
        raise error(asked, f"{module!r} has no {first!r}{nearest(first, names)}", _NAME_ONE)


def _bound(tree: ast.Module) -> set[str] | None:
    """Return every name that a module's code binds somewhere, or None if it may bind any."""
    names: set[str] = set()
    for node in ast.walk(tree):
        match node:
            case ast.ImportFrom(names=[ast.alias(name="*")]) | ast.Attribute(attr="__dict__"):
                return None
            case ast.Name(id=name) if name in _MAKES_NAMES:
                return None
            case ast.Attribute(attr="modules", value=ast.Name(id="sys")):
                return None
            case ast.Name(id=name, ctx=ast.Store()) | ast.ClassDef(name=name):
                names.add(name)
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                names.add(name)
            case ast.alias(name=name, asname=other):
                names.add(other or name.partition(".")[0])
    if any(isinstance(node, ast.FunctionDef) and node.name == "__getattr__" for node in tree.body):
        return None
    return names
