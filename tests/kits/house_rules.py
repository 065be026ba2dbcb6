"""The house rules that a machine can check, as functions from sources to a list of offences.

Each takes `Sources` (module or file name -> text), gives texts `place: what is wrong`, and imports nothing.
"""

from __future__ import annotations

import ast
import re
import statistics
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, wraps
from itertools import pairwise

Sources = Mapping[str, "Source"]
Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Source:
    """One file; `name` is its module's name, or its path where it is no module."""

    name: str
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text)

    def nodes(self, *kinds: type) -> list:
        return [node for node in ast.walk(self.tree) if isinstance(node, kinds)]


def sources(texts: Mapping[str, str]) -> Sources:
    return {name: Source(name, text) for name, text in texts.items()}


def rule(check: Callable[[Source], Iterator[tuple[int, str]]]) -> Callable[[Sources], list[str]]:
    """A check of one file, made into one of all of them."""

    @wraps(check)
    def every(files: Sources) -> list[str]:
        return [f"{f.name}:{line}: {text}" for f in files.values() for line, text in check(f)]

    return every


def length(function: Function) -> int:
    return function.end_lineno - function.lineno + 1


def is_name(node: ast.AST, *names: str) -> bool:
    return dotted(node) in names


def dotted(node: ast.AST) -> str:
    """`a.b.c` for such an expression; "" for another. A subscript counts as what it is taken of."""
    if isinstance(node, ast.Subscript):
        return dotted(node.value)
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


@rule
def long_functions(file: Source) -> Iterator[tuple[int, str]]:
    """No function is over 60 lines: nobody holds more in mind."""
    for f in file.nodes(ast.FunctionDef, ast.AsyncFunctionDef):
        if length(f) > 60:
            yield f.lineno, f"{f.name} has {length(f)} lines"


@rule
def long_files(file: Source) -> Iterator[tuple[int, str]]:
    """No file is over 300 lines: split where a reader would."""
    if (lines := len(file.text.splitlines())) > 300:
        yield lines, f"{lines} lines"


def long_median(files: Sources) -> list[str]:
    """Half of all functions have 8 lines or fewer: short functions are the norm, not the exception."""
    lengths = [length(f) for s in files.values() for f in s.nodes(ast.FunctionDef, ast.AsyncFunctionDef)]
    median = statistics.median(lengths)
    return [f"all {len(lengths)} functions: the median is {median:g} lines"] if median > 8 else []


@rule
def star_imports(file: Source) -> Iterator[tuple[int, str]]:
    """No star imports: a reader must see where a name comes from."""
    for node in file.nodes(ast.ImportFrom):
        if node.names[0].name == "*":
            yield node.lineno, f"from {node.module} import *"


@rule
def salted_hashes(file: Source) -> Iterator[tuple[int, str]]:
    """The builtin hash is not used: Python salts it per process, so it must not reach a key or a seed."""
    for node in file.nodes(ast.Call):
        if is_name(node.func, "hash"):
            yield node.lineno, "hash(...)"


SEEDERS = re.compile(
    r"(torch(\..+)?\.(manual_seed|manual_seed_all|seed))|(np|numpy)\.random\.\w+|random\.\w+"
)
DRAWS = re.compile(r"torch\.(rand|randn|randint|randperm|normal|bernoulli|multinomial)")
HARMLESS = ("np.random.default_rng", "np.random.Generator", "random.Random", "numpy.random.default_rng")


@rule
def global_randomness(file: Source) -> Iterator[tuple[int, str]]:
    """Global random state is neither set nor drawn from, but inside `with fork_rng()`, which restores it."""
    safe = {id(n) for w in file.nodes(ast.With) if _forks(w) for n in ast.walk(w)}
    for node in file.nodes(ast.Call):
        name, given = dotted(node.func), {k.arg for k in node.keywords}
        seeds = SEEDERS.fullmatch(name) and name not in HARMLESS
        draws = DRAWS.fullmatch(name) and "generator" not in given
        if (seeds or draws) and id(node) not in safe:
            yield node.lineno, f"{name}(...) touches the global random state: use prunery.seeds.stream"


def _forks(node: ast.With) -> bool:
    calls = (item.context_expr for item in node.items)
    return any(isinstance(c, ast.Call) and dotted(c.func).endswith("fork_rng") for c in calls)


@rule
def mutable_defaults(file: Source) -> Iterator[tuple[int, str]]:
    """No mutable default argument: all calls would share it."""
    for f in file.nodes(ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda):
        for default in [*f.args.defaults, *f.args.kw_defaults]:
            built = isinstance(default, ast.Call) and is_name(
                default.func, "list", "dict", "set", "bytearray"
            )
            literal = (ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp)
            if built or isinstance(default, literal):
                yield default.lineno, f"{getattr(f, 'name', 'lambda')} has the default {ast.unparse(default)}"


@rule
def undocumented(file: Source) -> Iterator[tuple[int, str]]:
    """Every module and public function and class has a docstring: it says what comes back."""
    if not ast.get_docstring(file.tree):
        yield 1, "the module has no docstring"
    stack = list(file.tree.body)
    while stack:
        node = stack.pop()
        if isinstance(node, ast.ClassDef | Function) and not node.name.startswith("_"):
            overload = any(dotted(d).endswith("overload") for d in node.decorator_list)
            if not ast.get_docstring(node) and not overload:
                yield node.lineno, f"{node.name} has no docstring"
            stack += node.body if isinstance(node, ast.ClassDef) else []


PATHS = re.compile(r"(?<![\w.~)}\]-])/(?:work|root|tmp|home|farm|mnt)/[A-Za-z0-9_]")
HOSTS = re.compile(
    r"pypi\.org|pythonhosted\.org|download\.pytorch\.org|anaconda\.org|(?:index-url|find-links)[ =]"
)


def machine_traces(files: Sources) -> list[str]:
    """No committed file names a path of one machine or a package registry: it would hold nowhere else."""
    return [
        f"{file.name}:{number}: {found[0]}"
        for file in files.values()
        for number, line in enumerate(file.text.splitlines(), 1)
        for found in [*PATHS.finditer(line), *HOSTS.finditer(line)]
    ]


def public_names(files: Sources) -> list[str]:
    """`prunery.__all__` is sorted and has at most 20 names: a new public name is a deliberate change."""
    lists = [a.value for a in files["prunery"].nodes(ast.Assign, ast.AnnAssign) if _assigns(a, "__all__")]
    if len(lists) != 1 or not isinstance(lists[0], ast.List | ast.Tuple):
        return ["prunery: __all__ is not one plain list of names"]
    names = ast.literal_eval(lists[0])
    ordered = all(a < b for a, b in pairwise(names))
    found = [] if ordered else [f"prunery: __all__ is not sorted, or has a name twice: {names}"]
    return found + ([f"prunery: {len(names)} public names"] if len(names) > 20 else [])


def _assigns(node: ast.Assign | ast.AnnAssign, name: str) -> bool:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    return any(is_name(target, name) for target in targets)
