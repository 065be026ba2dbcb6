"""The examples run as they stand, in a process of their own."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
SCRIPTS = sorted(EXAMPLES.glob("*.py"))


def run(name, folder):
    """What an example prints."""
    asked = [sys.executable, str(EXAMPLES / name), str(folder)]
    done = subprocess.run(asked, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_they_are_notebooks_whose_every_code_cell_is_told_what_it_is_for(path):
    cells = re.split(r"^# %%(.*)\n", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert cells[0] == ""
    kinds = [kind.strip() for kind in cells[1::2]]
    assert kinds == ["[markdown]", ""] * (len(kinds) // 2)
    for kind, text in zip(kinds, cells[2::2], strict=True):
        if kind:
            assert all(line.startswith("#") for line in text.splitlines() if line), text
        else:
            assert ast.parse(text).body


@pytest.mark.slow
def test_a_model_is_shipped(tmp_path):
    out = run("ship.py", tmp_path)
    dense, pruned, tuned, loaded = map(float, re.findall(r"^[a-z-]+: top-1 ([\d.]+) %", out, re.MULTILINE))
    assert pruned < tuned
    assert tuned > dense - 3
    assert loaded == tuned
    assert re.search(r"sparse (is [\d.]+ times as fast as|and) torch", out)
    assert float(re.search(r"differ by at most (\S+)", out)[1]) < 1e-3
    assert (tmp_path / "model.prunery").stat().st_size < 40_000
    shipped = (tmp_path / "model.onnx").is_file()
    assert shipped != ("pip install 'prunery[export]'" in out)


@pytest.mark.slow
@pytest.mark.mnist
def test_two_ways_are_compared(tmp_path):
    out = run("compare.py", tmp_path)
    rows = {
        line.split("|")[1].strip(): line.split("|")[3:]
        for line in out.splitlines()
        if "%" not in line[:3] and line.startswith("|")
    }
    magnitude, random = (float(rows[name][1].split()[0]) for name in ("magnitude", "random"))
    assert magnitude > random + 2
    assert "The criterion magnitude rather than random keeps" in out
    assert (tmp_path / "accuracy.png").stat().st_size > 10_000
    assert (tmp_path / "report" / "report.html").is_file()
