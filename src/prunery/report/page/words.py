"""The page's own sentences: the question that a study asks, how it was set up, and its spec as text."""

from __future__ import annotations

import re

from prunery.errors import PruneryError
from prunery.lab import spec_source
from prunery.lab.spec import load_all
from prunery.report.results.groups import ABSENT, BROKEN, arms, sparsities
from prunery.report.results.study import Loaded
from prunery.report.text import formats
from prunery.report.text.captions import task


def question(study: Loaded) -> str:
    """Return the study's question: its own, or one that its grid asks."""
    if asked := own_question(study):
        return asked
    levels, methods = sparsities(study.groups), arms(study.groups, "pruned")
    at = formats.percent(levels[0]) if len(levels) == 1 else f"{len(levels)} sparsities"
    if len(levels) > 1:
        at += f" from {formats.percent(levels[0])} to {formats.percent(levels[-1])}"
    if not methods:
        return f"What does pruning leave of the accuracy of {task(study.frame)}?"
    many = methods[0] if len(methods) == 1 else f"{len(methods)} methods"
    return f"What does pruning by {many} leave of the accuracy of {task(study.frame)}, at {at}?"


def own_question(study: Loaded) -> str:
    """Return the question of a study's spec, or of the named study that it is; empty where neither asks."""
    if study.spec.get("question"):
        return str(study.spec["question"])
    methods = {str(method["name"]) for method in study.spec["methods"]}
    for name in (each for each in spec_source.names() if study.name.startswith(f"{each}-")):
        try:
            specs = load_all(f"study:{name}", scale=study.name.rpartition("-")[2])
        except PruneryError:  # it has no such scale
            continue
        for spec in specs:
            same = methods & {method.name for method in spec.methods}
            if spec.name == study.name and 2 * len(same) > len(methods):  # studies grow
                return spec.question or ""
    return ""


def lead(study: Loaded) -> str:
    """Return the task, and how much of the study is done."""
    counts = study.frame["status"].value_counts()
    ran = sum(int(counts.get(status, 0)) for status in ("done", *BROKEN))
    ends = [f"{counts[status]} {status}" for status in (*BROKEN, *ABSENT) if counts.get(status)]
    seeds = study.frame["seed"].nunique()
    text = f"{task(study.frame)}, {seeds} seed{'s' if seeds > 1 else ''}. "
    text += f"{ran} of {len(study.frame)} cells are measured"
    return f"{text} ({', '.join(ends)})." if ends else f"{text}."


def unbroken(text: str) -> str:
    """Return the text with spaces that do not break a line before `%` and `±` and within a number."""
    return re.sub(r"(?<=\d) (?=[%±]|\d{3}\b)", "\u00a0", text)


def spec_text(study: Loaded) -> str:
    """Return the spec as YAML."""
    import yaml

    return str(yaml.safe_dump(dict(study.spec), sort_keys=False, allow_unicode=True, width=100))
