"""The house rules about imports, as functions from sources to a list of offences (see house_rules)."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from house_rules import Source, Sources, dotted

# lowest first; a part imports itself and what is below it
LAYERS = (
    {"errors", "user_code"},
    {"registry", "seeds", "atomic", "stats", "filenames", "inert", "machine"},
    {"factories", "wrappers", "spreads"},
    {"forward", "comparisons"},
    {"graph"},
    {"core"},
    {"data", "models"},
    {"measure"},
    {"train", "export", "runtime"},
    {"forms"},
    {"lab"},  # spec, plan, record, store and what they consist of
    {"studies"},
    {"lab.work", "lab.engines"},
    {"report", "audit"},
    {"cli"},
    {"prunery"},  # the public face
)
RANK = {part: rank for rank, layer in enumerate(LAYERS) for part in layer}
GROUND = {
    "errors",
    "user_code",
    "registry",
    "seeds",
    "atomic",
    "stats",
    "spreads",
    "comparisons",
    "filenames",
    "inert",
    "machine",
}
SEES = {"report": {"lab", *GROUND}, "audit": GROUND}


def part(module: str) -> str:
    """The part of the library that a module belongs to."""
    names = module.split(".")[1:]
    if not names:
        return "prunery"
    if names[0] == "__main__":
        return "cli"
    return ".".join(names[:2]) if names[0] == "lab" and names[1:2] in (["work"], ["engines"]) else names[0]


def _only_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and dotted(node.test).endswith("TYPE_CHECKING")


def _statements(body: list[ast.stmt], *, deep: bool) -> Iterator[ast.stmt]:
    """The import statements that run when a module is imported; `deep`: and those in functions."""
    for node in body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif not _only_for_types(node) and (
            deep or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        ):
            inner = [n for n in ast.iter_child_nodes(node) if isinstance(n, ast.stmt | ast.ExceptHandler)]
            yield from _statements(inner, deep=deep)


def imports(file: Source, files: Sources, *, deep: bool = False) -> list[tuple[int, str]]:
    """(line, module) for each import; `from package import module` is an import of the module."""
    found = []
    for node in _statements(file.tree.body, deep=deep):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
            continue
        whole = [f"{node.module}.{alias.name}" for alias in node.names]
        found += [(node.lineno, name if name in files else str(node.module)) for name in whole]
    return found


def every_import(file: Source, files: Sources) -> list[tuple[int, str]]:
    """As `imports`, of every import statement: at module level, in functions and for types alone."""
    found = [(n.lineno, alias.name) for n in file.nodes(ast.Import) for alias in n.names]
    for node in file.nodes(ast.ImportFrom):
        names = [f"{node.module}.{alias.name}" for alias in node.names]
        found += [(node.lineno, name if name in files else str(node.module)) for name in names]
    return found


def relative_imports(files: Sources) -> list[str]:
    """Imports are absolute: a reader sees the part that is imported, and so does this checker."""
    return [
        f"{file.name}:{node.lineno}: a relative import"
        for file in files.values()
        for node in file.nodes(ast.ImportFrom)
        if node.level
    ]


def import_cycles(files: Sources) -> list[str]:
    """No import cycle, in functions and for types included: a file can be read after those it needs."""
    graph = {name: {m for _, m in every_import(file, files) if m in files} for name, file in files.items()}
    while leaves := [name for name, needs in graph.items() if not needs]:
        graph = {name: needs - set(leaves) for name, needs in graph.items() if needs}
    if not graph:
        return []
    path = [min(graph)]  # every module left imports another one that is left: walk until one comes again
    while path[-1] not in path[:-1]:
        path.append(min(graph[path[-1]]))
    return [" -> ".join(path[path.index(path[-1]) :])]


def loads_torch(module: str, files: Sources) -> bool:
    """Whether importing `module` imports torch, as far as the sources tell."""
    ahead, seen = [module], set()
    while ahead:
        name = ahead.pop()
        if name.split(".")[0] in ("torch", "torchvision") or name == "safetensors.torch":
            return True
        if name in seen or name not in files:
            continue
        seen.add(name)
        parents = [name[:i] for i, letter in enumerate(name) if letter == "."]
        ahead += [*parents, *(needed for _, needed in imports(files[name], files))]
    return False


def upward_imports(files: Sources) -> list[str]:
    """Imports point down only, in functions too; what plans and reports imports no module with torch."""
    found = []
    for file in files.values():
        if part(file.name) not in RANK:
            found.append(f"{file.name}: no layer is known for it: give it one in LAYERS")
            continue
        for line, module in imports(file, files, deep=True):
            if module.split(".")[0] == "prunery" and (why := _forbidden(file.name, module, files)):
                found.append(f"{file.name}:{line}: imports {module}: {why}")
    return found


def _forbidden(importer: str, imported: str, files: Sources) -> str | None:
    above, below = part(importer), part(imported)
    if above == below:
        return None
    if above in SEES and below not in SEES[above]:
        return f"{above} sees {', '.join(sorted(SEES[above]))} only"
    if RANK.get(below, len(LAYERS)) >= RANK[above]:
        return f"{below} is not below {above}"
    if above in ("lab", "studies", "report", "audit") and loads_torch(imported, files):
        return "it imports torch, and a plan is made without it"
    return None
