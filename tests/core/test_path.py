"""A reader follows one magnitude prune from `prunery.prune` to zeros in under 350 lines and at most 9 files.

Counted: every function of the package that such a call runs, without blank lines, comments and docstrings.
Not counted is how the call is spelt (names, options and sparsity forms: `registry`, `validate`, `binding`,
`schedule`, `sparsity`), which decides nothing about which weights go.
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

SPELLING = {"__init__.py", "registry.py", "validate.py", "binding.py", "schedule.py", "sparsity.py"}


def functions_run(call):
    seen = set()

    def note(frame, event, _):
        if event == "call":
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
    return len(used - set(text))


def test_the_path_is_short():
    model = mlp(784, 300, 100, 10)
    prunery.prune(mlp(4, 4), 0.5)  # what is imported on first use is not on the path
    path = [
        c
        for c in functions_run(lambda: prunery.prune(model, 0.9))
        if Path(c.co_filename).name not in SPELLING
    ]
    files = {Path(c.co_filename).name: 0 for c in path}
    for code in path:
        files[Path(code.co_filename).name] += lines_of_code(code)
    assert 5 <= len(files) <= 9, files
    assert 100 < sum(files.values()) < 350, files
    assert (
        int((torch.cat([p.flatten() for n, p in model.named_parameters() if "weight" in n]) == 0).sum())
        == 239580
    )
