"""The page's own sentences: the question that a study asks, how it was set up, and its spec as text."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from prunery.lab.spec import in_use
from prunery.report.page.contents import Study
from prunery.report.results.groups import ABSENT, BROKEN, arms, sparsities
from prunery.report.text import formats
from prunery.report.text.captions import part, task
from prunery.report.text.texttable import TextTable

AXES = ("criterion", "granularity", "scope", "schedule", "recovery", "at")


def question(study: Study) -> str:
    """Return the study's question as a sentence."""
    levels, methods = sparsities(study.groups), arms(study.groups, "pruned")
    at = formats.percent(levels[0]) if len(levels) == 1 else f"{len(levels)} sparsities"
    if len(levels) > 1:
        at += f" from {formats.percent(levels[0])} to {formats.percent(levels[-1])}"
    if not methods:
        return f"What does pruning leave of the accuracy of {task(study.frame)}?"
    many = methods[0] if len(methods) == 1 else f"{len(methods)} methods"
    return f"What does pruning by {many} leave of the accuracy of {task(study.frame)}, at {at}?"


def lead(study: Study) -> str:
    """Return the task, and how much of the study is done."""
    counts = study.frame["status"].value_counts()
    ran = sum(int(counts.get(status, 0)) for status in ("done", *BROKEN))
    ends = [f"{counts[status]} {status}" for status in (*BROKEN, *ABSENT) if counts.get(status)]
    text = f"{task(study.frame)}. {ran} of {len(study.frame)} cells are measured"
    return f"{text} ({', '.join(ends)})." if ends else f"{text}."


def unbroken(text: str) -> str:
    """Return the text with spaces that do not break a line before `%` and `±` and within a number."""
    return re.sub(r"(?<=\d) (?=[%±]|\d{3}\b)", "\u00a0", text)


def facts(study: Study) -> list[tuple[str, str]]:
    """Return how the study was set up, as pairs of a name and a text."""
    first = study.frame.iloc[0]
    seeds = ", ".join(str(s) for s in sorted({int(s) for s in study.frame["seed"]}))
    pairs = [
        ("model", str(first["model"])),
        ("data", ", ".join(filter(None, (str(first["data"]), part(study.frame), _validation(study.task))))),
        ("training", settings(study.task.get("training"))),
        ("methods", formats.listed(arms(study.groups, "pruned"))),
        ("sparsities", ", ".join(map(formats.percent, sparsities(study.groups)))),
        ("seeds", seeds),
    ]
    return [(name, text) for name, text in pairs if text]


def methods(study: Study) -> TextTable:
    """Return the methods as their choices."""
    rows, compared = [], _compared(study)
    patterns = ("exclude", *(["include"] if any(method.get("include") for method in compared) else []))
    for method in compared:
        name = str(method.get("name", method.get("criterion")))
        choices = [_choice(method.get(axis)) or _of_frame(study, name, axis) for axis in AXES]
        floor = method.get("floor")
        named = (", ".join(method.get(key) or []) or formats.NOTHING for key in patterns)
        rows.append((name, *choices, f"{floor:g}" if floor else formats.NOTHING, *named))
    header = ("method", *AXES, "floor", *patterns)
    caption = ("A method is a choice on each axis; at: which network is pruned.",)
    return TextTable("The methods", header, tuple(rows), caption, (), fixed=len(header))


def _compared(study: Study) -> list[Mapping[str, Any]]:
    """Return the spec's methods as plain data, and the magnitude control if the planner added one."""
    named = list(study.spec.get("methods", []))
    known = {method.get("name", method.get("criterion")) for method in named}
    added = [m for m in arms(study.groups, "pruned") if m not in known]
    return [*named, *({"name": method} for method in added)]


def settings(training: Any) -> str:
    """Return a training in words: `epochs 10, optimizer adam, ...`.

    What is none, zero or false is left out, and what belongs to another optimiser or schedule.
    """
    if not isinstance(training, Mapping):
        return ""
    shown = {k: v for k, v in in_use(training).items() if v not in _UNSAID}
    return ", ".join(f"{k.replace('_', ' ')} {_word(v)}" for k, v in shown.items())


def spec_text(study: Study) -> str:
    """Return the spec as YAML."""
    import yaml

    return str(yaml.safe_dump(dict(study.spec), sort_keys=False, allow_unicode=True, width=100))


_UNSAID: tuple[Any, ...] = (None, 0, False, "none", [])


def _validation(task: Mapping[str, Any]) -> str:
    kept = task.get("validation")
    if not kept:
        return "without validation images"
    share = formats.percent(kept) if isinstance(kept, float) else f"{kept} images"
    return f"{share} of the training images set aside for validation"


def _choice(value: Any) -> str:
    """Return `finetune (epochs 2, learning rate 0.05)`."""
    if not isinstance(value, Mapping):
        return str(value or "")
    options = {k: v for k, v in value.items() if k != "name"}
    inner = options.pop("training", None)
    options_text = ", ".join(
        filter(None, [settings(inner), *(f"{k} {_word(v)}" for k, v in options.items())])
    )
    return f"{value['name']} ({options_text})" if options_text else str(value["name"])


def _of_frame(study: Study, method: str, axis: str) -> str:
    place = study.index(method, "pruned")
    value = None if place is None else study.groups[place].first(axis)
    return str(value) if value else formats.NOTHING


def _word(value: Any) -> str:
    if isinstance(value, list | tuple):
        return "/".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
