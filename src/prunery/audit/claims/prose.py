"""A text's sentences, and what each says of methods, sparsities and numbers of a table."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

from prunery.audit.table import facts
from prunery.audit.table.sheet import DENSE, Entry, Sheet
from prunery.audit.table.words import plain

_END = re.compile(r"(?<=[.!?])(?<!e\.g\.)(?<!i\.e\.)(?<!vs\.)(?<!al\.)(?<!ig\.)(?<!ab\.)\s+(?=[A-Z0-9*`(\"])")
_LONGEST = 1000  # characters of a sentence that is read: patterns take the square of its length
_ENDLESS = re.compile(r"\d{40}")
_NUMBER = r"\d+(?:\.\d+)?"
_CHAIN = rf"{_NUMBER}\s*%?(?:\s*(?:,|/|and|or|, and)\s*{_NUMBER}\s*%?)*"
_SPARSITY = re.compile(
    rf"(?P<a>{_CHAIN})\s*(?:of (?:the |all |its )?(?:weights|parameters)|(?:of )?sparsit\w+"
    r"|sparse|pruned|removed)"
    rf"|sparsit\w+(?: levels?)?\s*(?:of|=|:|above|below|under|over|beyond|up to|until)?\s*(?P<b>{_CHAIN})"
    rf"|\bfrom\s+(?P<e>{_NUMBER}\s*%)(?:\s*sparsity)?\s+(?:on(?:wards?)?|upwards?|and (?:above|up|beyond))\b"
    rf"|\bfrom\s+(?P<d>{_NUMBER}\s*%?\s+to\s+{_NUMBER}\s*%)(?P<both>\s*sparsit\w+)?"
    rf"|\b(?:at|for|beyond|until|up to)\s+(?P<c>{_CHAIN})"
    r"(?P<sure>\s*(?:sparsit\w+|sparse|pruned|of the weights))?",
    re.IGNORECASE,
)
_DENSE_WORDS = re.compile(
    r"\b(dense|unpruned|without pruning|no pruning|baseline|(?:original|full) (?:network|model))\b",
    re.IGNORECASE,
)
_WORDS = {"two": 2, "five": 5, "ten": 10, "twenty": 20, "fifty": 50, "hundred": 100}
_HOW = "(?:only|just|about|at most|at least|less than|more than|under|over|up to|nearly|no more than)"
_NOT_VALUES = re.compile(
    rf"{_NUMBER}\s*(?:x\b|×|-?fold|epochs?|rounds?|seeds?|runs?|seconds?|s\b|ms\b|minutes?|hours?|images?|classes"
    rf"|layers?|MACs|FLOPs|[MGk]\b|million|parameters|weights)|\b(?:n\s*=\s*|top-?)\d+|±\s*{_NUMBER}\s*%?"
    rf"|(?:by|within|los\w+|gain\w*|drops?|(?:drop|reduction|increase) of)\s+(?:{_HOW}\s+)?{_NUMBER}\s*%"
    rf"|{_NUMBER}\s*%\s*(?:t-|confidence|interval|level|of the (?:time|data|images|errors|training|test)"
    r"|reduction|drop|loss|gain|improvement|fewer|less|more|smaller|faster|lower|higher|worse|better)"
    rf"|{_NUMBER}\s*%\s*(?:of\s+)?(?:(?:the|its|all|dense)\s+)*(?:M?FLOPs|MACs|operations|compute|memory|energy|size)"
    rf"|{_NUMBER}\s*%\s*of\s+(?:the |its )?(?:dense|original|baseline|full)"
    rf"|(?:tests?|level|chance|error bars?)\s+(?:at|of|is|level)\s+{_NUMBER}\s*%"
    rf"|(?:table|figure|section|seed)\s+[\dIVX]+[\w.]*",
    re.IGNORECASE,
)
_SIDE = re.compile(
    r"\b(?:(?P<beyond>above|over|beyond|higher than|more than)|(?P<under>below|under|lower than|less than)"
    r"|(?P<to>up to|until))\s*$",
    re.IGNORECASE,
)
_KEPT = re.compile(  # what is left of the weights
    rf"(?P<a>{_NUMBER})\s*%\s*(?:of )?(?:(?:the|its|all|their) )*(?:weights|parameters|connections)"
    r"\s*(?:(?:is|are|were|being) )?(?:remain\w*|left|kept|retained|surviv\w+)"
    rf"|(?:with|keep\w*|kept|leav\w+|retain\w*)\s+(?:{_HOW}\s+)?(?P<b>{_NUMBER})\s*%\s*of "
    r"(?:(?:the|its|all) )*(?:weights|parameters)(?! (?:(?:is|are|were) )?(?:removed|pruned|zero|gone))"
    rf"|(?P<c>{_NUMBER})\s*%\s*density|density (?:of )?(?P<d>{_NUMBER})\s*%",
    re.IGNORECASE,
)
_FOLD = re.compile(
    rf"(?P<n>{_NUMBER}|{'|'.join(_WORDS)})[\s-]?(?:x|×|times|fold)(?![a-z]) (?:compress\w*|pruned)"
    rf"|compression (?:ratio |rate |factor )?(?:of )?(?P<m>{_NUMBER})",
    re.IGNORECASE,
)
_GAP = re.compile(rf"({_NUMBER})\s*(?:percentage points?|points?|pp\b|percent points?)", re.IGNORECASE)
_VALUE = re.compile(rf"(?<![\w.])({_NUMBER})(\s*%)?(?![\w.]*\w)")
_TABLE = re.compile(r"\btable\s+([\w.]*\w)", re.IGNORECASE)


@dataclass(frozen=True)
class Sentence:
    """A sentence, where it begins, and what it names."""

    line: int
    text: str
    methods: tuple[tuple[int, str], ...] = ()  # (position, name), `dense` for the dense network
    sparsities: tuple[float, ...] = ()
    values: tuple[str, ...] = ()  # accuracies as printed
    gaps: tuple[str, ...] = ()  # differences in points
    data: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    table: str = ""
    reach: str = ""  # of the sparsities: up `to`, `under`, `beyond`, from them `on`, `between`
    unsure: bool = False  # it speaks of a sparsity in a way that the table does not have

    def names(self) -> list[str]:
        """Return the methods named, each once, in order."""
        return list(dict.fromkeys(name for _, name in self.methods))


@dataclass(frozen=True)
class Vocabulary:
    """The names that a table's sentences may use."""

    methods: dict[str, re.Pattern[str]] = field(default_factory=dict)
    data: dict[str, str] = field(default_factory=dict)  # known name -> pattern
    networks: tuple[str, ...] = ()
    sparsities: tuple[float, ...] = ()
    tables: tuple[str, ...] = ()


def vocabulary(sheet: Sheet) -> Vocabulary:
    """Return the names that a sentence about this table can use."""
    entries = sheet.entries_of("accuracy")
    named = dict.fromkeys(name for e in entries for name in names_of(e))
    data = {e.data.name: e.data.pattern for e in entries if e.data}
    networks = dict.fromkeys(e.network for e in entries if e.network)
    sparsities = tuple(sorted({e.sparsity for e in entries if e.sparsity is not None}))
    tables = dict.fromkeys(e.row.table for e in entries if e.row.table)
    return Vocabulary({n: _pattern(n) for n in named}, data, tuple(networks), sparsities, tuple(tables))


def names_of(entry: Entry) -> list[str]:
    """Return the names of an entry's method: the method, and its schedule without numbers."""
    schedules = [t for c, t in entry.labels.items() if plain(c) in ("schedule", "scope")]
    words = [re.split(r"\s+\d", text)[0] for text in schedules]
    names = [entry.method, *words]
    kept = [n for n in names if len(n) > 2 and re.search(r"[^\W\d_]", n)]  # 100 is no name in a sentence
    return [n for n in kept if n.lower() not in (*DENSE, "global", "layer", "local")]


def _pattern(name: str) -> re.Pattern[str]:
    words = [re.escape(w) for w in re.split(r"[\s_\-,+]+", name) if w]
    text = r"[\s_,+\-]*".join(words)
    text = re.sub(r"(?<=[^\W\d])(\d+)$", r"(?:[\\s_-]*\1)?", text)
    return re.compile(rf"(?<![A-Za-z]){text}(?![A-Za-z])", re.IGNORECASE)


def sentences(text: str, words: Vocabulary) -> Iterator[Sentence]:
    """Yield the sentences of a Markdown text, without headings, tables, code and comments."""
    for line, paragraph, starts in _paragraphs(text):
        position = 0
        for piece in _END.split(paragraph):
            position = paragraph.index(piece, position)
            begins = bisect_right(starts, position) - 1
            yield _read(line + begins, " ".join(piece.split()), words)
            position += len(piece)


def _paragraphs(text: str) -> Iterator[tuple[int, str, list[int]]]:
    """(first line, its lines as one, where each line begins)."""
    held: list[str] = []
    first, code = 1, False
    for number, line in enumerate([*text.splitlines(), ""], 1):
        bare = line.strip()
        code = code != bare.startswith("```")
        breaks = code or not bare or re.match(r"#|\||```|<!--|[-=]{3,}$", bare) is not None
        item = re.match(r"([-*+]|\d+[.)])\s+", bare)
        if held and (breaks or item):
            yield first, " ".join(held), _starts(held)
            held = []
        if not breaks:
            first = first if held else number
            held.append(re.sub(r"^([-*+]|\d+[.)])\s+|[*`]", "", bare))


def _starts(lines: Sequence[str]) -> list[int]:
    return [0, *accumulate(len(line) + 1 for line in lines[:-1])]


def _read(line: int, text: str, words: Vocabulary) -> Sentence:
    """Return what a sentence says; of one that nobody would write, nothing is sure."""
    if len(text) > _LONGEST or _ENDLESS.search(text):
        return Sentence(line, text[:_LONGEST], unsure=True)
    return _understood(line, text, words)


def _understood(line: int, text: str, words: Vocabulary) -> Sentence:
    methods = _methods(text, words)
    data, networks, rest = _places(text, words)
    for name in dict.fromkeys(name for _, name in methods):
        rest = words.methods[name].sub(" ", rest) if name in words.methods else rest
    gaps = tuple(_GAP.findall(rest))
    other, rest = _other_levels(rest)
    rest = _NOT_VALUES.sub(" ", _GAP.sub(" ", rest))
    sparsities, rest, reach = _sparsities(rest, words)
    unsure = any(nearest(s, words) is None for s in other)
    sparsities = tuple(dict.fromkeys([*sparsities, *(s for s in other if nearest(s, words) is not None)]))
    values = tuple(n for n, sign in _VALUE.findall(rest) if (sign or "." in n) and 0 <= float(n) <= 100)
    table = next((t for t in _TABLE.findall(text) if t in words.tables), "")
    return Sentence(line, text, methods, sparsities, values, gaps, data, networks, table, reach, unsure)


def _other_levels(text: str) -> tuple[list[float], str]:
    """Return the sparsities said as what is left, or as compression, and the text without them."""
    levels = []
    for match in _KEPT.finditer(text):
        number = next(n for n in match.groups() if n)
        levels.append(round(1 - float(number) / 100, 6))
    text = _KEPT.sub(" ", text)
    for match in _FOLD.finditer(text):
        factor = match["n"] or match["m"]
        times = float(_WORDS.get(factor.lower(), 0) or factor)
        levels.append(1 - 1 / times if times >= 1 else -1.0)
    return levels, _FOLD.sub(" ", text)


def _methods(text: str, words: Vocabulary) -> tuple[tuple[int, str], ...]:
    """(position, method), the longest name first where several fit."""
    named = [(m.start(), "dense") for m in _DENSE_WORDS.finditer(text)]
    taken: list[tuple[int, int]] = []
    for name in sorted(words.methods, key=len, reverse=True):
        for match in words.methods[name].finditer(text):
            if not any(a < match.end() and match.start() < b for a, b in taken):
                taken.append(match.span())
                named.append((match.start(), name))
    return tuple(sorted(named))


def _places(text: str, words: Vocabulary) -> tuple[tuple[str, ...], tuple[str, ...], str]:
    """(data sets, networks, the text without their names)."""
    names = re.findall(
        r"[A-Za-z]+[-\s]?[A-Za-z]*[-\s]?\d+(?:[-\s]\d+)*(?:[-\s]BN)?|\bF?MNIST\b|[A-Za-z]+", text
    )
    data, networks, rest = [], [], text
    for name in names:
        known, network = (
            facts.data_in(name),
            facts.network_in(name) if re.search(r"\d|fc|mlp", name.lower()) else None,
        )
        data += [known.name] if known and known.name in words.data else []
        networks += [network] if network and network in words.networks else []
        if (known or network) and re.search(r"\d", name):
            rest = rest.replace(name, " ")
    return tuple(dict.fromkeys(data)), tuple(dict.fromkeys(networks)), rest


def _reach(match: re.Match[str]) -> str:
    text = match[0].lower()
    if match["a"] or match["b"]:
        before = match.string[: match.start()] if match["a"] else match[0][: match.start("b") - match.start()]
        side = _SIDE.search(before)
        return "" if side is None else side.lastgroup or ""
    if match["d"]:
        return "between"
    if match["e"]:
        return "on"
    return "to" if text.startswith(("up to", "until")) else "beyond" if text.startswith("beyond") else ""


def _sparsities(text: str, words: Vocabulary) -> tuple[tuple[float, ...], str, str]:
    """Return the sparsities that a text states, the text without them, and how far they reach.

    `at 90 %` is a sparsity only if the table has it; `90 % sparsity` is one in any case.
    """
    sparsities: list[float] = []
    rest, reach = text, ""
    for match in _SPARSITY.finditer(text):
        chain = match["a"] or match["b"] or match["c"] or match["d"] or match["e"]
        numbers = list(re.finditer(_NUMBER, chain))
        levels = [_level(n[0], "%" in chain) for n in numbers]
        if match["d"]:
            sure = match["both"] is not None or all(s in words.sparsities for s in levels)
            kept = len(levels) if sure else 0
        else:
            sure = match["c"] is None or match["sure"] is not None
            known = [0 <= s < 1 and (sure or nearest(s, words) is not None) for s in levels]
            kept = len(levels) if all(known) else known.index(False) if match["c"] else 0
        if kept:
            sparsities += levels[:kept]
            reach = reach or _reach(match)
            phrase = match[0] if kept == len(levels) else match[0][: _end_of(match, numbers[kept - 1])]
            rest = rest.replace(phrase, " ", 1)
    return tuple(dict.fromkeys(sparsities)), rest, reach


def _end_of(match: re.Match[str], number: re.Match[str]) -> int:
    """Where a number of the third kind of chain ends within the whole match."""
    return match.start("c") - match.start() + number.end()


def _level(number: str, percent: bool) -> float:
    value = float(number)
    return value / 100 if percent or value >= 1 else value


def nearest(sparsity: float, words: Vocabulary) -> float | None:
    """Return the table's sparsity that a text means, if one is near enough."""
    close = min(words.sparsities, key=lambda s: abs(s - sparsity), default=None)
    return (
        close
        if close is not None and abs(close - sparsity) <= 0.006 * (1 if sparsity < 0.98 else 0.2)
        else None
    )
