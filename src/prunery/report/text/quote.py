"""Numbers in a person's own Markdown, taken from records: `{{cell method="snip" sparsity=90%}}`.

    {{cell method=NAME [sparsity=90%] [study=NAME] [metric=test_top1] [show=interval]}}

Values with blanks stand in double quotes. What else is in the text stays as it is. A quote of what is not
there, or not done, is an error, and then nothing is written.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from prunery.errors import SpecError
from prunery.lab.spec_parts import Sparsities
from prunery.registry import nearest
from prunery.report.results.columns import TOP1, Column
from prunery.report.results.groups import REFERENCES, Group
from prunery.report.results.study import Loaded
from prunery.report.text import formats

KEYS = ("study", "method", "sparsity", "metric", "show")
_QUOTE = re.compile(r"\{\{(?P<body>[^{}]*)\}\}")
_OPTION = re.compile(r"""([A-Za-z-]+)\s*=\s*(?:"([^"]*)"|([^\s"]+))""")
_NEAR = 1e-6


def copies(
    texts: Iterable[str | Path], folder: Path, studies: Sequence[Loaded], *, taken: Container[Path] = ()
) -> dict[Path, bytes]:
    """Return the texts with their quotes filled in, by the path in `folder` that each is to be written to.

    SpecError for a file that cannot be read or whose place is taken, and for any quote that cannot be filled.
    """
    made: dict[Path, bytes] = {}
    for given in map(Path, texts):
        target = folder / given.name
        if target in made or target in taken or target.resolve() == given.resolve():
            raise SpecError(f"the text {given}", f"{target} is taken", "give it a name of its own")
        made[target] = filled(_read(given), studies, source=str(given)).encode()
    return made


def filled(content: str, studies: Sequence[Loaded], *, source: str = "text") -> str:
    """Return the text with each quote replaced by its number; SpecError names the line of a wrong one."""

    def replaced(match: re.Match[str]) -> str:
        line = content.count("\n", 0, match.start()) + 1
        where = f"{source}:{line}: {match[0]}"
        options = _options(match["body"], where)
        return match[0] if options is None else _value(options, studies, where)

    return _QUOTE.sub(replaced, content)


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"the text {path}", f"it cannot be read: {error}", "name a Markdown file") from None


def _options(body: str, where: str) -> dict[str, str] | None:
    """Return the options of a quote; None for braces that are none of ours."""
    word, _, rest = body.strip().partition(" ")
    options = {key: quoted or bare for key, quoted, bare in _OPTION.findall(rest)}
    if word != "cell":
        if options and nearest(word, ["cell"]):
            raise SpecError(where, f"there is no {word!r}", "write {{cell ...}}")
        return None
    left = _OPTION.sub("", rest).strip()
    unknown = next((key for key in options if key not in KEYS), None) or left or None
    if unknown is not None:
        raise SpecError(
            where,
            f"{unknown!r} is no option{nearest(unknown, KEYS)}",
            f'write {{{{cell method="..." sparsity=90%}}}} with any of: {", ".join(KEYS)}',
        )
    return options


def _value(options: dict[str, str], studies: Sequence[Loaded], where: str) -> str:
    study = _study(options.get("study"), studies, where)
    metric = _metric(options.get("metric", TOP1.name), study, where)
    group = _group(options, study.groups_by(metric), where)
    left = [f"{run.status}: seed {run.seed}" for run in group.runs if run.status != "done"]
    if left or group.summary is None:
        raise SpecError(
            where, f"not all of its cells are done ({', '.join(left)})", "quote one that is, or run it"
        )
    show = _known("show", options.get("show", "interval"), list(SHOWS), where)
    text = SHOWS[show](group)
    if text is None:
        raise SpecError(
            where, f"it has no {show} (n = {group.summary.n})", "show its mean, or run more seeds"
        )
    return text


def _study(name: str | None, studies: Sequence[Loaded], where: str) -> Loaded:
    known = [study.name for study in studies]
    if name is None and len(studies) > 1:
        raise SpecError(
            where, f"the report holds {len(studies)} studies", f"add study= and one of: {', '.join(known)}"
        )
    return studies[known.index(_known("study", name or known[0], known, where))]


def _metric(name: str, study: Loaded, where: str) -> Column:
    numeric = [c for c in study.columns if c.dtype != "object" and study.frame[c.name].notna().any()]
    known = {c.name: c for c in numeric if c.name not in ("seed", "sparsity_requested")}
    return known[_known("metric", name, list(known), where)]


def _group(options: dict[str, str], groups: Sequence[Group], where: str) -> Group:
    method = _known("method", options.get("method", ""), list(dict.fromkeys(g.method for g in groups)), where)
    levels = sorted((g for g in groups if g.method == method), key=lambda g: g.sparsity)
    known = ", ".join(formats.percent(g.sparsity) for g in levels)
    if "sparsity" not in options:
        if len(levels) > 1:
            raise SpecError(
                where, f"{method!r} has {len(levels)} sparsities", f"add sparsity= and one of: {known}"
            )
        return levels[0]
    asked = _sparsity(options["sparsity"], where)
    same = [g for g in levels if abs(g.sparsity - asked) <= _NEAR]
    alike = [g for g in levels if formats.percent(g.sparsity) == formats.percent(asked)]  # as tables write it
    if not same and len(alike) != 1:
        near = min(levels, key=lambda g: abs(g.sparsity - asked))
        nearest_one = formats.percent(near.sparsity)
        what = f"{method!r} was not measured at {formats.percent(asked)}; the nearest is {nearest_one}"
        raise SpecError(where, what, f"choose one of: {known}")
    return (same or alike)[0]


def _sparsity(value: str, where: str) -> float:
    """Return the sparsity that the value spells, as a spec reads it."""
    try:
        return float(TypeAdapter(Sparsities).validate_python([value])[0])
    except ValidationError:
        problem = f"{value!r} is no sparsity"
        raise SpecError(where, problem, "write 90%, 0.9, 10x or compression=1") from None


def _known(what: str, name: str, known: Sequence[str], where: str) -> str:
    if name not in known:
        raise SpecError(
            where, f"there is no {what} {name!r}{nearest(name, known)}", f"choose one of: {', '.join(known)}"
        )
    return name


def _number(name: str, group: Group) -> str | None:
    value = getattr(group.summary, name, None)
    return None if value is None else f"{value:.{group.metric.decimals}f}"


def _difference(reference: str, group: Group) -> str | None:
    """Return `−0.45 ±0.18`, paired by seed."""
    if reference not in group.against:
        return None
    summary, decimals = group.against[reference].difference.summary, group.metric.decimals
    signed = f"{summary.mean:+.{decimals}f}".replace("-", "−")
    return signed if summary.half is None else f"{signed} ±{summary.half:.{decimals}f}"


def _verdict(group: Group) -> str | None:
    return group.against["dense"].verdict if "dense" in group.against else None


def _achieved(group: Group) -> str | None:
    value = group.first("sparsity_achieved")
    return None if value is None else formats.percent(round(float(value), 6))


SHOWS: Mapping[str, Callable[[Group], str | None]] = {
    "interval": lambda group: (
        formats.interval(group.summary, group.metric.decimals) if group.summary else None
    ),
    **{name: partial(_number, name) for name in ("mean", "half", "low", "high", "sd")},
    "n": lambda group: str(group.summary.n) if group.summary else None,
    **{f"difference-to-{name.replace('_', '-')}": partial(_difference, name) for name in REFERENCES},
    "verdict-to-dense": _verdict,
    "epochs": lambda group: str(sum(group.epochs)) if group.epochs else None,
    "sparsity-achieved": _achieved,
}
"""What `show=` may ask for: a function from a group to its text, or to None where there is no such number."""
