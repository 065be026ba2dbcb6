"""The page's bytes: one file with its data, style and scripts inside; no date, no random name."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from prunery.report.page import points, records, shown, words
from prunery.report.page.contents import Study, series
from prunery.report.page.strict import embedded
from prunery.report.results.groups import arms
from prunery.report.text import formats, sentences
from prunery.report.text.captions import task, unequal
from prunery.report.text.cautions import cautions_of
from prunery.report.text.published_tables import ACCURACIES, below

if TYPE_CHECKING:
    from jinja2 import Environment

SCRIPTS = (
    "core",
    "scales",
    "chart",
    "accuracy",
    "cost",
    "curves",
    "layers",
    "ridges",
    "tables",
    "why",
    "save",
    "main",
)


def html(study: Study) -> bytes:
    """Return a study's report as one HTML file that asks for nothing else; equal records, equal bytes.

    The frame must have a row for each cell of the plan, done or not.
    """
    from markupsafe import Markup

    layers, histograms = records.layers_and_histograms(study)
    data = {
        "study": study.name,
        "task": task(study.frame),
        "series": series(study),
        "metrics": points.metrics(study),
        "costs": points.costs(study),
        "groups": points.entries(study),
        "published": _published(study),
        "curves": records.curves(study),
        "layers": layers,
        "histograms": histograms,
        "alphabet": records.ALPHABET,
    }
    page = _environment().get_template("page.html.j2")
    scripts = "\n".join(_asset(f"{name}.js") for name in SCRIPTS)
    style = "\n".join(_asset(name) for name in ("page.css", "parts.css"))
    more = {"style": Markup(style), "scripts": Markup(scripts), "data": Markup(embedded(data))}
    return page.render(**_parts(study, data), **more).encode()


def _parts(study: Study, data: dict[str, Any]) -> dict[str, Any]:
    """Return what the template shows, as texts and tables."""
    return {
        "study": study.name,
        "task": task(study.frame),
        "lead": words.lead(study),
        "question": words.question(study),
        "facts": words.facts(study),
        "methods": words.methods(study),
        "spec": words.spec_text(study),
        "answers": [
            _split(s) for s in (*sentences.answers(study.groups, study.effects), *below(study.pairs()))
        ],
        "caveats": _caveats(study),
        "sanity": bool(arms(study.groups, "sanity")),
        "places": study.places(),
        "accuracy": shown.accuracy(study),
        "controls": shown.controls(study),
        "others": shown.others(study),
        "differences": shown.differences(study),
        "costs": shown.costs(study),
        "unequal": unequal(study.groups),
        "sizes": shown.sizes(study),
        "retraining": shown.retraining(study),
        "problems": shown.problems(study),
        "published": shown.published(study),
        "one_seed": _one_seed(study),
        "latency": study.has("seconds_test"),
        "has": _has(data),
        "left_out": data["curves"]["left_out"],
    }


def _caveats(study: Study) -> list[tuple[str, str]]:
    """Return what a reader must know, each said once: cautions, what numbers are, how verdicts were."""
    caveats = [("", sentence) for sentence in cautions_of(study.frame, study.groups)]
    caveats += [("", sentence) for sentence in shown.accuracy(study).table.caption]
    for table in (each.table for each in shown.differences(study)):
        known = {sentence for _, text in caveats for sentence in text.split("\n")}
        new = [sentence for sentence in table.caption[1:] or table.caption if sentence not in known]
        caveats += [(table.title, "\n".join(new))] if new else []
    return caveats + [("", sentence) for sentence in shown.costs(study).table.caption]


def _has(data: dict[str, Any]) -> dict[str, bool]:
    """Return which figures there is something to draw in."""
    done = any(point.get("n") for metric in data["metrics"] for point in metric["points"])
    pruned = any(group["role"] == "pruned" for group in data["groups"])
    return {
        "accuracy": done and pruned,
        "cost": done and bool(data["costs"]),
        "curves": any(step["loss"] for step in data["curves"]["steps"]),
        "layers": bool(data["layers"]["names"]),
        "histograms": bool(data["histograms"]),
    }


def _one_seed(study: Study) -> bool:
    return all(len(group.runs) == 1 for group in study.groups)


def _split(sentence: str) -> tuple[str, str]:
    """Return a sentence as its subject, which is set in bold, and the rest: `At 90 %`, `, snip is ...`."""
    for mark in (", ", ": "):
        head, separator, rest = sentence.partition(mark)
        if separator and len(head) <= 12:
            return head, separator + rest
    return "", sentence


def _published(study: Study) -> list[dict[str, Any]]:
    """Return the published accuracies that the accuracy figure shows, each with our column beside it."""
    rows = []
    for pair in study.pairs():
        value = pair.published
        if value.metric in ACCURACIES and value.sparsity > 0:
            known = {"method": value.method, "sparsity": value.sparsity, "metric": value.metric, "n": value.n}
            more = {"value": value.value, "note": value.note, "report": value.report}
            column = (
                pair.kind.column.name if pair.kind.same else ""
            )  # another metric is not drawn beside ours
            rows.append(known | more | {"column": column, "at": formats.percent(value.sparsity)})
    return rows


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
