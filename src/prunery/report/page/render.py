"""A study's page: one file with its data, style and scripts inside; no date, no random name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from prunery.report.figures import all as figures
from prunery.report.figures.chart import Figure
from prunery.report.page import words
from prunery.report.page.strict import embedded
from prunery.report.results.columns import recorded
from prunery.report.results.groups import REFERENCES
from prunery.report.results.study import Loaded
from prunery.report.text import (
    effects,
    measured_tables,
    published_tables,
    sentences,
    tables,
    winners,
)
from prunery.report.text.captions import task, unequal
from prunery.report.text.cautions import cautions_of
from prunery.report.text.forms import forms
from prunery.report.text.texttable import TextTable

if TYPE_CHECKING:
    from jinja2 import Environment


@dataclass(frozen=True)
class Shown:
    """A table of the page: its name there, and whether it is folded."""

    id: str
    table: TextTable
    folded: bool = True


def html(study: Loaded) -> bytes:
    """Return a study's report as one HTML file that asks for nothing else; equal records, equal bytes."""
    first, others = figures.first(study), figures.others(study)
    best = winners.winners(study.groups)
    parts = {
        "study": study.name,
        "task": task(study.frame),
        "lead": words.lead(study),
        "question": words.question(study),
        "answer": effects.answer(study.effects, best) or "Nothing is done yet that could be compared.",
        "first": first,
        "answers": [*best, *sentences.below_dense(study.groups)],
        "effects": _table("effects", effects.table(study.effects), folded=False),
        "sections": [s for s in _sections(study, others) if s["figures"] or s["tables"]],
        "caveats": _caveats(study),
        "problems": _table("problems", measured_tables.problems(study)),
        "setup": others.get("setup", []),
        "spec": words.spec_text(study),
        "cells": Shown("cells", measured_tables.cells(study)),
    }
    drawn = [f for f in [first, *(f for found in others.values() for f in found)] if f is not None]
    return page("page.html.j2", parts, drawn)


def page(template: str, parts: dict[str, Any], drawn: Sequence[Figure]) -> bytes:
    """Return a template's bytes with the style, the scripts and the figures in it."""
    from markupsafe import Markup

    data = {figure.name: figure.specs() for figure in drawn}
    more = {name: Markup(text) for name, text in _scripts(bool(drawn)).items()}
    return _environment().get_template(template).render(**parts, **more, data=Markup(embedded(data))).encode()


def _scripts(drawn: bool) -> dict[str, str]:
    return {"style": _asset("page.css"), "scripts": _asset("main.js"), "vega": _vega() if drawn else ""}


@cache
def _vega() -> str:
    """Return the libraries that draw Vega-Lite charts, as a script that can stand in a page."""
    import vl_convert

    script = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    return script.replace("</script", "<\\/script")


def _sections(study: Loaded, others: dict[str, list[Figure]]) -> list[dict[str, Any]]:
    """Return the sections between the answer and the cautions: their figures and tables."""
    accuracy = [Shown("accuracy", tables.accuracy(study.frame, study.groups), folded=False)]
    extra = [("controls", tables.dense_controls(study.groups)), ("arms", tables.arm_controls(study.groups))]
    accuracy += [Shown(name, table) for name, table in extra if table]
    for reference in REFERENCES:
        if table := tables.differences(study.groups, reference):
            accuracy.append(Shown(f"to-{reference.replace('_', '-')}", table))
    for metric in recorded(study.frame, study.columns) if study.groups else ():
        table = tables.accuracy(study.frame, study.groups_by(metric), metric=metric)
        accuracy.append(Shown(re.sub(r"[\W_]+", "-", metric.name), table))
    published = published_tables.tables(published_tables.pairs(study.frame, study.published))
    costs = Shown("costs", tables.costs(study.groups, study.columns))
    return [
        _section("tables", "Accuracy in numbers", [], accuracy),
        _section("cost", "Accuracy against cost", others.get("cost", []), [costs]),
        _section(
            "retraining",
            "Before and after retraining",
            others.get("retraining", []),
            _table("retraining", measured_tables.retraining(study)),
        ),
        _section("curves", "Training", others.get("curves", []), []),
        _section(
            "layers",
            "Layers and sizes",
            others.get("layers", []),
            [
                *_table("sizes", measured_tables.sizes(study)),
                *_table("bytes", measured_tables.bytes_of_forms(study)),
            ],
        ),
        _section("forms", "Forms to ship", [], _table("forms", forms(study), folded=False)),
        _section(
            "published", "Published values", [], [Shown(f"published-{i}", t) for i, t in enumerate(published)]
        ),
    ]


def _section(name: str, title: str, drawn: Sequence[Figure], shown: Sequence[Shown]) -> dict[str, Any]:
    return {"id": name, "title": title, "figures": list(drawn), "tables": list(shown)}


def _table(name: str, table: TextTable | None, *, folded: bool = True) -> list[Shown]:
    return [] if table is None else [Shown(name, table, folded)]


def _caveats(study: Loaded) -> list[str]:
    """Return what a reader must know, each said once: budgets, bad ends, cautions."""
    pairs = published_tables.pairs(study.frame, study.published)
    said = [*sentences.ends(study.groups), *cautions_of(study.frame, study.groups)]
    budgets = unequal(study.groups, most=2)
    return [*([budgets] if budgets else []), *said, *published_tables.below(pairs)]


@cache
def _asset(name: str) -> str:
    return (files("prunery.report.page") / "assets" / name).read_text(encoding="utf-8")


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    made = Environment(
        loader=FunctionLoader(_asset),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters["nobreak"] = words.unbroken
    return made
