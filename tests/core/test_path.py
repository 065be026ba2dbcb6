"""A reader follows one magnitude prune from `prunery.prune` to zeros in under 350 lines and at most 12 files.

Counted: every function of the package that such a call runs, without blank lines, comments and docstrings.
Not followed, nor what it calls in turn, is what decides nothing about which weights go: how the call is spelt
(`registry`, `validate`, `binding`, `schedule`, `sparsity`, the signature of `prune` itself), the names of
parameters behind wrappers (`wrappers`), refusals and warnings (`silence`, `coverage`, `cautions`).
"""

import ast
import inspect
import io
import sys
import tokenize
from pathlib import Path

import torch
from nets import mlp

import prunery
from prunery.core import weights

ASIDE = {
    "__init__.py", "registry.py", "validate.py", "binding.py", "schedule.py", "sparsity.py", "wrappers.py",
    "silence.py", "coverage.py", "cautions.py",
}  # fmt: skip


PRUNE = inspect.unwrap(prunery.prune).__code__


def callers(frame):
    """The package's frames from this one up, until another library calls."""
    home = str(Path(prunery.__file__).parent)
    while frame is not None:
        if frame.f_code.co_filename.startswith(home) and frame.f_code.co_name != "__call__":  # of a row
            yield frame
        frame = frame.f_back


def functions_run(call):
    seen = set()

    def note(frame, event, _):
        if event == "call" and not any(Path(f.f_code.co_filename).name in ASIDE for f in callers(frame)):
            seen.add(frame.f_code)

    sys.setprofile(note)
    try:
        call()
    finally:
        sys.setprofile(None)
    home = Path(prunery.__file__).parent
    return [c for c in seen if Path(c.co_filename).is_relative_to(home) and not c.co_name.startswith("<")]


def lines_of_code(code):
    source = inspect.cleandoc("\n" + inspect.getsource(code))
    tree = ast.parse(source)
    doc = next(
        (n.body[0] for n in ast.walk(tree) if isinstance(n, ast.FunctionDef) and ast.get_docstring(n)), None
    )
    text = range(doc.lineno, doc.end_lineno + 1) if doc else range(0)
    skipped = {
        tokenize.COMMENT,
        tokenize.NL,
        tokenize.NEWLINE,
        tokenize.INDENT,
        tokenize.DEDENT,
        tokenize.ENDMARKER,
    }
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    used = {n for t in tokens if t.type not in skipped for n in range(t.start[0], t.end[0] + 1)}
    function = tree.body[0]
    signature = range(function.lineno, function.body[0].lineno) if code is PRUNE else range(0)
    return len(used - set(text) - set(signature))


def test_the_path_is_short():
    model = mlp(784, 300, 100, 10)
    prunery.prune(mlp(4, 4), 0.5)  # what is imported on first use is not on the path
    weights._names_of_kind.cache_clear()  # nor is a function off the path because it ran before
    path = functions_run(lambda: prunery.prune(model, 0.9))
    files = {Path(c.co_filename).name: 0 for c in path}
    for code in path:
        files[Path(code.co_filename).name] += lines_of_code(code)
    assert 5 <= len(files) <= 12, files
    assert 100 < sum(files.values()) < 350, files
    assert (
        int((torch.cat([p.flatten() for n, p in model.named_parameters() if "weight" in n]) == 0).sum())
        == 239580
    )
