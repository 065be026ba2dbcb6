"""LaTeX: every character that means something there is escaped, and every cell of the table is there."""

import re

import report_case as case

from prunery.report.results.frame import frame
from prunery.report.results.groups import groups_of
from prunery.report.text import latex, tables
from prunery.report.text.texttable import TextTable

NASTY = r"a&b_c%d$e#f{g}~h^i\j[k]<l>"


def table(**more):
    fields = {"title": "T_1", "header": ("method", "90 %"), "rows": ((NASTY, "97.60 ±0.25 [1]"),)}
    return TextTable(**(fields | {"caption": ("In %.",), "footnotes": ("[1] seed 1: x_y",)} | more))


def test_every_special_character_is_escaped_by_hand():
    assert latex.escaped(NASTY) == (
        r"a\&b\_c\%d\$e\#f\{g\}\textasciitilde{}h\textasciicircum{}i\textbackslash{}j{[}k{]}"
        r"\textless{}l\textgreater{}"
    )
    assert latex.escaped("−0.5 ±0.1, 2×") == r"$-$0.5 $\pm$0.1, 2$\times$"


def test_a_table_by_hand():
    assert latex.document([table(rows=(("a_b", "97.60 ±0.25"),), footnotes=())]).splitlines()[1:] == [
        r"\begin{table}",
        r"\centering",
        r"\caption{T\_1. In \%.}",
        r"\begin{tabular}{lr}",
        r"\toprule",
        r"method & 90 \% \\",
        r"\midrule",
        r"a\_b & 97.60 $\pm$0.25 \\",
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]


def test_braces_and_environments_balance_and_nothing_is_left_bare():
    text = latex.document([table(), table()])
    bare = re.sub(r"\\[\\{}%&$#_]", "", text)  # what is escaped, and row ends
    assert bare.count("{") == bare.count("}")
    assert text.count(r"\begin{") == text.count(r"\end{") == 4
    body = bare.split("\n", 1)[1]
    assert "%" not in body
    assert "#" not in body
    assert all(line.count("&") == 1 for line in body.splitlines() if "&" in line)


def test_the_same_cells_as_in_markdown():
    plan = case.study(retrain=5)
    cells = frame(plan, case.store(plan, lambda c: 9800 - round(100 * c.sparsity) + c.seed))
    made = tables.accuracy(cells, groups_of(cells))
    text = latex.document([made])
    for row in made.rows:
        assert " & ".join(map(latex.escaped, row)) in text
    assert all(latex.escaped(sentence) in text for sentence in made.caption)


def test_markdown_escapes_what_would_end_a_cell():
    assert "| a\\|b | 1 |" in tables.markdown(table(rows=(("a|b", "1"),), footnotes=()))
