"""Tables as LaTeX for the package booktabs: the same text as in Markdown, escaped.

What is written is ASCII: it compiles with every engine and font encoding.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from prunery.inert import inert
from prunery.report.text.texttable import TextTable

_GREEK = {
    "αβγδεζηθικλμνξπ": "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi pi",
    "ρστυφχψωΔΣΩµ": "rho sigma tau upsilon phi chi psi omega Delta Sigma Omega mu",
}
_SIGNS = {"±": "pm", "−": "-", "×": "times", "·": "cdot", "→": "to", "≤": "leq", "≥": "geq", "∞": "infty"}
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
    "|": r"\textbar{}",
    "\n": " ",
    "\t": " ",
    "…": r"\ldots{}",
    "†": r"\dag{}",
    "ß": r"\ss{}",
    "æ": r"\ae{}",
    "ø": r"\o{}",
    "œ": r"\oe{}",
    "ł": r"\l{}",
    "ı": r"\i{}",
    "–": "--",
    "’": "'",
    "\u2009": r"\,",
    "\u00a0": "~",
    **{c: rf"$\{name}$" for cs, names in _GREEK.items() for c, name in zip(cs, names.split(), strict=True)},
    **{sign: f"${name}$" if name == "-" else rf"$\{name}$" for sign, name in _SIGNS.items()},
}
_ACCENTS = {chr(0x300 + at): command for at, command in enumerate("`'^~= u.\" rHv") if command != " "}
_ACCENTS["\u0327"] = "c"
_PREAMBLE = "% Needs \\usepackage{booktabs} in the preamble. Written from records: change those, not this."


def escaped(text: str) -> str:
    """Return the text with what LaTeX would read as a command written as the character that it is.

    Characters beyond ASCII become commands where every engine has one, others their number: `U+4E2D`.
    """
    return "".join(map(_written, inert(unicodedata.normalize("NFC", text))))


def _written(character: str) -> str:
    if character in _ESCAPED:
        return _ESCAPED[character]
    spelt = unicodedata.normalize("NFD", character)
    letter, mark = spelt[0], spelt[1:]
    if letter.isascii() and mark in _ACCENTS:
        return rf"\{_ACCENTS[mark]}{{{letter}}}"
    return character if character.isascii() else f"U+{ord(character):04X}"


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
