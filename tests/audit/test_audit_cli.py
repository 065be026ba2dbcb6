"""`prunery audit`: exit status, one line a finding, JSON, errors, speed, no torch."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest

from prunery.audit.findings import CHECKS
from prunery.audit.run import audit

CLEAN = "dataset,model,method,sparsity,acc\ncifar10,vgg16,snip,0.5,93.0\ncifar10,vgg16,snip,0.9,92.3\n"


def run(*args: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from prunery.cli import main; main()", "audit", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text(CLEAN)
    return path


def test_nothing_found(table):
    done = run(table)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{table}: 2 rows, values: 2 accuracy. Nothing found\n"


def test_findings_one_a_line(table):
    table.write_text(CLEAN.replace("92.3", "10.0"))
    done = run(table)
    assert done.returncode == 1
    first, last = done.stdout.splitlines()
    assert first.startswith(
        "line 3, acc [cifar10, vgg16, snip, sparsity 90 %]: 10.0 is chance (10 % = 100/10)"
    )
    assert last.endswith("1 finding")


def test_json(table, tmp_path):
    claims = tmp_path / "said.md"
    claims.write_text("SNIP reaches 92.9 % at 90 % sparsity. It is always robust.")
    done = run(table, "--claims", claims, "--json")
    assert done.returncode == 1
    answer = json.loads(done.stdout)
    (finding,) = answer["findings"]
    assert (finding["check"], finding["file"], finding["lines"]) == ("claims", "claims", [1])
    assert answer["not_checked"] == [{"line": 1, "text": "It is always robust."}]
    assert (answer["rows"], answer["read"]) == (2, {"accuracy": 2})


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (None, "there is no such file"),
        (b"", "it is empty"),
        (b"\xff\xfe\x00", "not text in UTF-8"),
        (b"just a sentence\n", "it has 1 lines"),
        (b"no table here.\nonly prose.\n", "its first line is one cell"),
        (b"method,comment\nsnip,good\ngrasp,bad\n", "no column of measured numbers"),
    ],
)
def test_wrong_input_is_status_2(tmp_path, text, problem):
    path = tmp_path / "x.csv"
    if text is not None:
        path.write_bytes(text)
    done = run(path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert problem in done.stderr
    assert done.stderr.count("\n") == 1


def test_missing_claims_are_status_2(table, tmp_path):
    done = run(table, "--claims", tmp_path / "none.md")
    assert done.returncode == 2
    assert "there is no such file" in done.stderr


def test_neither_torch_nor_pandas_is_imported(table):
    code = "import sys; from pathlib import Path; from prunery.audit.run import audit; "
    code += "audit(Path(sys.argv[1])); print(sorted({'torch', 'pandas', 'scipy'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code, str(table)], capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr


def test_thousands_of_rows_in_seconds(tmp_path):
    path = tmp_path / "large.csv"
    rows = [
        f"cifar10,vgg16,m{m},{s},{seed},{93 - 4 * s**6 + 0.1 * ((m + seed) % 3):.2f},{m % 7}.5"
        for m in range(40)
        for s in (0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
        for seed in range(10)
    ]
    path.write_text("\n".join(["dataset,model,method,sparsity,seed,acc,loss", *rows]))
    start = time.perf_counter()
    assert audit(path).findings == ()
    assert time.perf_counter() - start < 10


def test_every_check_says_what_it_finds():
    assert len(list(CHECKS)) >= 20
    assert all(CHECKS[name].facts["says"] for name in CHECKS)
