"""LaTeX: every character that means something there is escaped, and every cell of the table is there."""

import re
import shutil
import subprocess

import page_kit as kit
import pytest
import report_case as case
from pylatexenc.latex2text import LatexNodes2Text, MacroTextSpec, get_default_latex_context_db
from pylatexenc.latexwalker import LatexEnvironmentNode, LatexWalker

from prunery.report.results.frame import frame
from prunery.report.results.groups import groups_of
from prunery.report.text import latex, paper_tables, tables
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


HOSTILE = (
    NASTY,
    "\\end{table}\\input{x}%",
    'a\\\\[3pt] & $x^2_{i}$ ~ "q" `b` | 50 % #1',
    "Gr\u00f6\u00dfe \u00e9 \u00f1 \u0161 \u00d72 \u03b1\u2264\u03b2 \u00b5",
    "\u4e2d\u6587 \U0001f600 \u202eabc\x1b[31m",
    "two\nlines\tand a tab",
)
NAMED = {
    "\u00b5": "\u03bc",
    "\u2212": "-",
    "\u4e2d": "U+4E2D",
    "\u6587": "U+6587",
    "\U0001f600": "U+1F600",
    "\u202e": "\\u202e",
    "\x1b": "\\u001b",
}


def read(text):
    """The tables of a LaTeX document as a strict parser reads them: rows of cells as plain text."""
    nodes, _, _ = LatexWalker(text, tolerant_parsing=False).get_latex_nodes()
    return [rows(node) for node in found(nodes, "tabular")]


def found(nodes, name):
    for node in nodes:
        if isinstance(node, LatexEnvironmentNode):
            if node.environmentname == name:
                yield node
            yield from found(node.nodelist, name)


def rows(tabular):
    """The rows between the rules of a tabular."""
    made = [[[]]]
    for node in tabular.nodelist:
        macro = getattr(node, "macroname", None)
        if macro == "\\":
            made.append([[]])
        elif getattr(node, "specials_chars", None) == "&":
            made[-1].append([])
        elif macro not in ("toprule", "midrule", "bottomrule"):
            made[-1][-1].append(node)
    signs = {"textasciicircum": "^", "textless": "<", "textgreater": ">", "textbar": "|"}
    known = get_default_latex_context_db()
    known.add_context_category("signs", [MacroTextSpec(*sign) for sign in signs.items()], prepend=True)
    plain = LatexNodes2Text(known, strict_latex_spaces=True)
    return [[" ".join(plain.nodelist_to_text(cell).split()) for cell in row] for row in made[:-1]]


def as_shown(text):
    """A text as it must be read: blanks are one, what no engine has is named."""
    return " ".join("".join(NAMED.get(character, character) for character in text).split())


def test_a_parser_reads_hostile_names_as_they_are():
    given = table(header=HOSTILE, rows=(HOSTILE, HOSTILE[::-1]), caption=HOSTILE, footnotes=HOSTILE)
    text = latex.document([given])
    assert text.isascii()
    assert read(text) == [[list(map(as_shown, row)) for row in (HOSTILE, HOSTILE, HOSTILE[::-1])]]


@pytest.fixture(scope="module")
def paper():
    """The files for a paper of a study whose methods have hostile names."""
    methods = [{"criterion": "magnitude", "name": name[:80]} for name in HOSTILE]
    study = kit.study(methods, seeds=2, broken=False)
    return paper_tables.files(study), paper_tables.paper_tables(study)


def test_a_parser_reads_every_table_of_a_paper(paper):
    files, made = paper
    parsed = read(files["paper.tex"].decode())
    assert len(parsed) == len(made) >= 5
    for cells, of_table in zip(parsed, made.values(), strict=True):
        assert cells == [list(map(as_shown, row)) for row in (of_table.header, *of_table.rows)]


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="pdflatex is not installed")
def test_pdflatex_typesets_every_table_of_a_paper(paper, tmp_path):
    (tmp_path / "paper.tex").write_bytes(paper[0]["paper.tex"])
    whole = r"\documentclass{article}\usepackage{booktabs}\begin{document}\input{paper.tex}\end{document}"
    asked = ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", "-jobname=whole", whole]
    done = subprocess.run(asked, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:]
