"""Tables as LaTeX for the package booktabs: the same text as in Markdown, escaped."""

from __future__ import annotations

from collections.abc import Sequence

from prunery.report.text.texttable import TextTable

_ESCAPED = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "[": "{[}",  # a bracket after a row's end would be its option
    "]": "{]}",
    "±": r"$\pm$",
    "−": r"$-$",
    "×": r"$\times$",
    "…": r"\ldots{}",
    "\u2009": r"\,",
    "\u00a0": "~",
}
_PREAMBLE = "% Needs \\usepackage{booktabs} in the preamble. Written from records: change those, not this."


def escaped(text: str) -> str:
    """Return the text with what LaTeX would read as a command written as the character that it is."""
    return "".join(_ESCAPED.get(character, character) for character in text)


def document(tables: Sequence[TextTable]) -> str:
    """Return all tables, to be included in a LaTeX document with `\\input`."""
    return "\n".join([_PREAMBLE, *(_table(table) for table in tables)])


def _table(table: TextTable) -> str:
    columns = "l" + "r" * (len(table.header) - 1)
    caption = " ".join([f"{table.title}.", *table.caption])
    lines = [r"\begin{table}", r"\centering", rf"\caption{{{escaped(caption)}}}"]
    lines += [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", _row(table.header), r"\midrule"]
    lines += [*map(_row, table.rows), r"\bottomrule", r"\end{tabular}"]
    if table.footnotes:
        lines += [r"\par\footnotesize", *(rf"{escaped(note)}\\" for note in table.footnotes)]
    return "\n".join([*lines, r"\end{table}"]) + "\n"


def _row(cells: Sequence[str]) -> str:
    return " & ".join(map(escaped, cells)) + r" \\"
