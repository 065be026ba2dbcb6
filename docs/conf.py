"""How the documentation is built: `make docs`. The table of methods is made from the registries."""

from __future__ import annotations

import inspect
from pathlib import Path

import prunery
from prunery.core.criteria import criterion
from prunery.core.granularity import granularity
from prunery.core.schedule import schedule
from prunery.core.scope import scope
from prunery.registry import Registry
from prunery.train.recovery import recovery

project = "Prunery"
author = "the Prunery developers"
release = prunery.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc"]
html_theme = "furo"
html_title = f"Prunery {release}"
exclude_patterns = ["_build", "report"]
myst_heading_anchors = 3
autodoc_typehints = "description"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True}
nitpicky = False

CHOICES: dict[str, tuple[Registry, str]] = {
    "Criteria": (criterion, "How much does one weight matter?"),
    "Granularities": (granularity, "Which weights live or die together?"),
    "Scopes": (scope, "Who competes with whom, and how many stay?"),
    "Schedules": (schedule, "When, and how far, is each cut?"),
    "Recoveries": (recovery, "What happens to the survivors?"),
}


def methods() -> str:
    """Return the page of methods: each row of each registry with its source, options and first sentence."""
    lines = [
        "# Methods and their sources",
        "",
        "Made from the registries; a method is one row of each table.",
        "",
    ]
    for title, (registry, question) in CHOICES.items():
        lines += [
            f"## {title}",
            "",
            question,
            "",
            "| name | options | what it does | source |",
            "|---|---|---|---|",
        ]
        for name in registry:
            entry = registry[name]
            options = {
                p.name: p.default
                for p in inspect.signature(entry.function).parameters.values()
                if p.kind is p.KEYWORD_ONLY
            }
            told = ", ".join(f"`{key}={value!r}`" for key, value in options.items())
            first = (inspect.getdoc(entry.function) or "").partition("\n\n")[0].replace("\n", " ")
            lines.append(
                f"| `{name}` | {told} | {_cell(first)} | {_cell(str(entry.facts.get('source', '')))} |"
            )
        lines.append("")
    return "\n".join(lines)


def _cell(text: str) -> str:
    for mark in "|<*_":
        text = text.replace(mark, "\\" + mark)
    return text


def setup(app: object) -> None:
    """Write the page of methods where the sources lie; it is not kept."""
    path = Path(__file__).parent / "methods.md"
    text = methods()
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")
