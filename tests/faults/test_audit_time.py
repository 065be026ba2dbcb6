"""A table or a text of any size is audited in time in proportion to it; no one line takes long."""

import time

import pytest

from prunery.audit.run import audit
from prunery.errors import DataError


def rows(count):
    lines = ["method,sparsity,seed,accuracy"]
    for i in range(count):
        sparsity = i // 5 % 20 * 0.05
        lines.append(f"m{i // 100},{sparsity:.2f},{i % 5},{90 - 10 * sparsity - i * 7919 % 100 / 100:.2f}")
    return "\n".join(lines)


def columns(count):
    body = (",".join(f"{80 + (i * 7 + k) % 17:.1f}" for i in range(count)) for k in range(3))
    header = ",".join(f"acc_{i}" for i in range(count))
    return "\n".join([f"method,{header}", *(f"m{k},{line}" for k, line in enumerate(body))])


def seconds(tmp_path, table, claims=None):
    (tmp_path / "t.csv").write_text(table)
    if claims is not None:
        (tmp_path / "c.md").write_text(claims)
    began = time.process_time()
    found = audit(tmp_path / "t.csv", claims=None if claims is None else tmp_path / "c.md")
    return time.process_time() - began, found


def test_many_rows(tmp_path):
    assert seconds(tmp_path, rows(6000))[0] < 4


def test_many_columns(tmp_path):
    assert seconds(tmp_path, columns(2000))[0] < 4
    steady = (
        "method,"
        + ",".join(f"params_{i}" for i in range(800))
        + "".join(f"\nm{k}" + ",7" * 800 for k in range(3))
    )
    assert seconds(tmp_path, steady)[0] < 4
    with pytest.raises(DataError, match="more than 10000"):
        seconds(tmp_path, "a" + ",b" * 20_000 + "\n1" + ",1" * 20_000)


CELLS = {
    "digits": "9" * 5000,
    "thousands": "1" + ",111" * 3000,
    "digits and a letter": "9" * 50_000 + "z",
    "points": "1." * 20_000,
    "brackets": "[" * 50_000 + "](",
    "links": "[x](" * 20_000,
    "blanks": "1" + " " * 50_000 + "x",
    "letters": "aA" * 30_000,
    "plus minus": "1 ± " * 20_000,
}


@pytest.mark.parametrize("cell", CELLS)
def test_one_cell_takes_no_time(tmp_path, cell):
    more = "\n".join(f"m{n},0.5,{80 + n}" for n in range(9))
    table = f'method,sparsity,accuracy\n{more}\n"{CELLS[cell]}",0.5,80\nb,0.5,"{CELLS[cell]}"'
    assert seconds(tmp_path, table)[0] < 1
    assert seconds(tmp_path, f'method,"{CELLS[cell]}",accuracy\na,1,90\nb,2,80')[0] < 1


CLAIMS = {
    "digits": "9" * 5000,
    "digits and per cent": "9" * 5000 + " %",
    "a chain": "at " + "90 %, " * 1500 + "x",
    "a chain without signs": "at " + "1 and " * 1500,
    "blanks": "Magnitude is best at 90 %" + " " * 20_000 + "sparsity.",
    "no end": "best " * 20_000,
    "points": "best is 1." * 5000,
    "sentences": "Magnitude is best. " * 3000,
    "lines": "best\n" * 5000,
}


@pytest.mark.parametrize("claim", CLAIMS)
def test_one_claim_takes_no_time(tmp_path, claim):
    table = "method,sparsity,accuracy\ndense,0,90\nmagnitude,0.9,80\nrandom,0.9,70"
    assert seconds(tmp_path, table, CLAIMS[claim])[0] < 1.5


def test_a_claim_that_nobody_would_write_is_named_as_unchecked(tmp_path):
    table = "method,sparsity,accuracy\ndense,0,90\nmagnitude,0.9,80\nrandom,0.9,70"
    _, found = seconds(tmp_path, table, "Magnitude is always best, " + "9" * 5000 + ". Random is the best.")
    assert found.unchecked[0].text.startswith("Magnitude is always best")
    assert any("Random" in finding.where for finding in found.findings)
