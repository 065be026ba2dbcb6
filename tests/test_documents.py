"""Every code block of the tutorials and how-tos runs, and the documentation is built without a warning."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from cli_kit import prunery as command

DOCS = Path(__file__).parents[1] / "docs"


def blocks(page, language):
    found = re.findall(r"^```(\w*)\n(.*?)^```$", (DOCS / page).read_text(encoding="utf-8"), re.M | re.S)
    return [block for name, block in found if name == language]


def commands(page):
    """The commands of a page's blocks without a language, each as a list of words."""
    lines = "".join(blocks(page, "")).splitlines()
    return [line.split("#")[0].split()[1:] for line in lines if line.startswith("prunery ")]


def files_of(page, folder):
    """Write the blocks that begin with a file's name as that file."""
    for language in ("python", "yaml"):
        for block in blocks(page, language):
            if named := re.match(r"# (\S+\.(?:py|yaml))\n", block):
                (folder / named[1]).write_text(block, encoding="utf-8")


def test_the_tutorial_of_reports_runs_as_written(tmp_path):
    files_of("tutorial_report.md", tmp_path)
    asked = commands("tutorial_report.md")
    assert [words[0] for words in asked] == ["plan", "run", "report", "audit"]
    for words in asked:
        status, said, errors, _ = command(*words, cwd=tmp_path)
        assert status == 0 or (words[0], status) == ("audit", 1), (words, said, errors)
    assert "values: " in said  # of the audit: it has read the table
    assert (tmp_path / "report" / "report.html").is_file()


def test_the_tutorial_of_shipping_runs_as_written(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PRUNERY_CACHE", str(tmp_path / "cache"))
    parts = blocks("tutorial_ship.md", "python")
    assert len(parts) == 5
    names = {}
    with torch.random.fork_rng():
        for part in parts:
            exec(part, names)
    before, after = re.search(r"([\d.]+) % before, ([\d.]+) % after", capsys.readouterr().out).groups()
    assert float(before) > 85
    assert float(after) > float(before) - 5


def test_what_a_how_to_shows_runs(tmp_path):
    files_of("howto.md", tmp_path)
    for model in ("lenet300", "my_network:build"):
        changed = (tmp_path / "mine.yaml").read_text(encoding="utf-8").replace("lenet300", model)
        (tmp_path / "mine.yaml").write_text(changed, encoding="utf-8")
        status, said, errors, _ = command("run", "mine.yaml", "--store", model[:3], cwd=tmp_path)
        assert status == 0, said + errors
    for words in (["archive", "len", "-o", "m.jsonl.gz"], ["report", "m.jsonl.gz", "-o", "r"]):
        status, said, errors, _ = command(*words, cwd=tmp_path)
        assert status == 0, said + errors


def test_the_documentation_is_built_without_a_warning(tmp_path):
    pytest.importorskip("furo")
    source = shutil.copytree(DOCS, tmp_path / "docs", ignore=shutil.ignore_patterns("_build", "methods.md"))
    told = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", str(source), str(tmp_path / "html")]
    done = subprocess.run(told, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    methods = (tmp_path / "html" / "methods.html").read_text(encoding="utf-8")
    assert all(name in methods for name in ("obs", "repairable", "reconstruct", "LAMP"))
