"""House rules: each holds for the whole library, and each is seen failing on a bad snippet."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import house_imports
import house_rules
import pytest
from house_imports import loads_torch, part
from house_rules import sources

ROOT = Path(__file__).parent.parent


def modules() -> dict[str, str]:
    """Module name -> text, of the library."""
    texts = {}
    for path in sorted((ROOT / "src" / "prunery").rglob("*.py")):
        names = path.relative_to(ROOT / "src").with_suffix("").parts
        texts[".".join(names[:-1] if names[-1] == "__init__" else names)] = path.read_text()
    return texts


def python_files() -> dict[str, str]:
    """Path -> text, of the library, its tests and its benchmarks."""
    paths = (p for folder in ("src", "tests", "benchmarks") for p in sorted((ROOT / folder).rglob("*.py")))
    return {str(path.relative_to(ROOT)): path.read_text() for path in paths}


def committed() -> dict[str, str]:
    """Path -> text, of every text file that is, or could be, committed."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    texts = {}
    for name in filter(None, listed.stdout.split("\0")):
        data = (ROOT / name).read_bytes() if (ROOT / name).is_file() else b"\0"
        if b"\0" not in data:
            texts[name] = data.decode(errors="replace")
    return texts


LIBRARY, PYTHON = sources(modules()), sources(python_files())
BODY = "    x = 1\n" * 60
NINE = "def f():\n" + "    x = 1\n" * 8
MODULE = '"""Doc."""\n'

# rule, what it holds for, and sources that each break it
RULES = [
    (
        house_rules.long_functions,
        PYTHON,
        [{"a": f"def f():\n{BODY}"}, {"a": f"class A:\n  def f():\n{BODY}"}],
    ),
    (house_rules.long_files, PYTHON, [{"a": "x = 1\n" * 301}]),
    (house_rules.long_median, LIBRARY, [{"a": NINE}, {"a": NINE, "b": NINE, "c": "def f(): pass"}]),
    (
        house_rules.star_imports,
        PYTHON,
        [{"a": "from math import *"}, {"a": "def f():\n    from math import *"}],
    ),
    (house_rules.salted_hashes, LIBRARY, [{"a": "seed = hash('x')"}]),
    (
        house_rules.global_randomness,
        LIBRARY,
        [
            {"a": "torch.manual_seed(3)"},
            {"a": "torch.cuda.manual_seed_all(3)"},
            {"a": "torch.default_generator.manual_seed(3)"},
            {"a": "torch.cuda.default_generators[0].manual_seed(3)"},
            {"a": "np.random.seed(3)"},
            {"a": "x = numpy.random.rand(3)"},
            {"a": "random.shuffle(x)"},
            {"a": "x = torch.randn(3)"},
            {"a": "with torch.no_grad():\n    torch.manual_seed(3)"},
        ],
    ),
    (
        house_rules.mutable_defaults,
        PYTHON,
        [{"a": "def f(x=[]): pass"}, {"a": "def f(*, x=dict()): pass"}, {"a": "f = lambda x={1}: x"}],
    ),
    (
        house_rules.undocumented,
        LIBRARY,
        [
            {"a": "x = 1"},
            {"a": MODULE + "def f(): pass"},
            {"a": MODULE + "class A: pass"},
            {"a": MODULE + 'class A:\n    """Doc."""\n    def f(self): pass'},
        ],
    ),
    (
        house_rules.public_names,
        LIBRARY,
        [
            {"prunery": "__all__ = ['b', 'a']"},
            {"prunery": "__all__ = ['a', 'a']"},
            {"prunery": f"__all__ = {[f'a{i:02}' for i in range(21)]}"},
            {"prunery": "x = 1"},
        ],
    ),
    (
        house_imports.import_cycles,
        LIBRARY,
        [
            {"prunery.a": "import prunery.b", "prunery.b": "from prunery import a"},
            {"prunery.a": "try:\n    from prunery.a import x\nexcept ImportError:\n    pass"},
            {
                "prunery.a": "import prunery.b",
                "prunery.b": "import prunery.c",
                "prunery.c": "import prunery.b",
            },
            {"prunery.a": "def f():\n    import prunery.b", "prunery.b": "import prunery.a"},
            {
                "prunery.a": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import prunery.b",
                "prunery.b": "import prunery.a",
            },
        ],
    ),
    (house_imports.relative_imports, LIBRARY, [{"prunery.a": "from . import b"}]),
    (
        house_imports.upward_imports,
        LIBRARY,
        [
            {"prunery.registry": "import prunery.core.masks"},
            {"prunery.errors": "def f():\n    from prunery.registry import Registry"},
            {"prunery.core.prune": "from prunery.train import loop", "prunery.train.loop": ""},
            {"prunery.data.sets": "from prunery.models.build import build"},
            {"prunery.lab.plan": "from prunery.lab.work import work"},
            {"prunery.lab.plan": "import prunery.core.masks", "prunery.core.masks": "import torch"},
            {"prunery.lab.spec": "def f():\n    import prunery.core.a", "prunery.core.a": "import torch.nn"},
            {
                "prunery.lab.spec": "from prunery.core.a import x",
                "prunery.core.a": "from prunery.core.b import x",
                "prunery.core.b": "from torch import x",
            },
            {"prunery.report.results.frame": "from prunery.lab.engines.local import run"},
            {"prunery.report.results.frame": "import prunery.core.sparsity"},
            {"prunery.lab.work": "import prunery.report.write"},
            {"prunery.train.loop": "from prunery import fit"},
            {"prunery.newpart.a": "import math"},
        ],
    ),
]
NAMES = [check.__name__ for check, _, _ in RULES]


def told(check, offences: list[str]) -> str:
    return "\n".join([check.__doc__.splitlines()[0], *offences])


@pytest.mark.parametrize(("check", "files", "_bad"), RULES, ids=NAMES)
def test_rule_holds(check, files, _bad):
    offences = check(files)
    assert not offences, told(check, offences)


@pytest.mark.parametrize(("check", "_files", "bad"), RULES, ids=NAMES)
def test_rule_can_fail(check, _files, bad):
    for texts in bad:
        offences = check(sources(texts))
        assert len(offences) == 1, f"{texts} should be one offence, found {offences}"
        assert ":" in offences[0] or "->" in offences[0], offences


def test_rules_let_good_code_pass():
    function = "def f():\n" + "    x = 1\n" * 59
    good = {
        "prunery": "__all__ = ['a', 'b']\ndef __getattr__(name):\n    from prunery.core.masks import a",
        "prunery.core.masks": "import torch\nfrom typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    from prunery.core.sparsity import f",
        "prunery.core.sparsity": "def f():\n    import torch",
        "prunery.train.loop": f"from prunery.core.masks import a\n{function}",
        "prunery.lab.spec": "from prunery.core import sparsity\nimport prunery.lab.plan",
        "prunery.lab.plan": "with torch.random.fork_rng():\n    torch.manual_seed(3)\n    torch.randn(3)",
        "prunery.lab.work": "import prunery.train.loop\ntorch.rand(3, generator=g)\ng.manual_seed(3)",
        "prunery.report.results.frame": "import prunery.lab.plan",
    }
    checks = [c for c, _, _ in RULES if c not in (house_rules.undocumented, house_rules.long_median)]
    assert [offence for check in checks for offence in check(sources(good))] == []
    assert house_rules.long_median(sources({"a": "def f():\n" + "    x = 1\n" * 7})) == []


def test_no_trace_of_a_machine_in_committed_files():
    check = house_rules.machine_traces
    for bad in (
        "cd /" + "work/x",
        "open('/" + "tmp/a')",
        "pip install --index" + "-url x",
        "pypi" + ".org/simple",
    ):
        assert len(check(sources({"a.md": bad}))) == 1, bad
    assert check(sources({"a.md": "src/work/x, tmp/a, ./work/x, https://x.org/work/a, /usr/bin/env"})) == []
    texts = committed()
    assert "tests/test_house.py" in texts
    offences = check(sources(texts))
    assert not offences, told(check, offences)


def torch_free() -> list[str]:
    """The modules that must answer without torch: the planning and reporting sides and the command line."""
    named = {
        "prunery",
        "prunery.train.settings",
        "prunery.train.recovery",
        "prunery.data.names",
        "prunery.models.names",
    }
    return sorted(
        m
        for m in LIBRARY
        if m in named
        or part(m) in ("lab", "report", "audit", "cli", "registry", "errors", "seeds", "atomic", "stats")
        or part(m) == "comparisons"
    )


def test_what_plans_and_reports_does_not_import_torch():
    found = torch_free()
    assert {"prunery", "prunery.registry", "prunery.train.settings", "prunery.lab.spec"} <= set(found)
    code = "import importlib, sys\nfor name in sys.argv[1:]:\n    importlib.import_module(name)\n"
    code += "    assert 'torch' not in sys.modules, f'{name} imports torch'\n"
    done = subprocess.run([sys.executable, "-c", code, *found], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr.splitlines()[-1]
    bad = subprocess.run([sys.executable, "-c", code, "prunery.train.loop"], capture_output=True, text=True)
    assert "prunery.train.loop imports torch" in bad.stderr
    assert [m for m in found if loads_torch(m, LIBRARY)] == []
    assert loads_torch("prunery.train.loop", LIBRARY)
