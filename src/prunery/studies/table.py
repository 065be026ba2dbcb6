"""The table of studies.

A row is a function without required arguments that returns a Spec, or a mapping from the names of its parts
to their Specs. Its option `scale` says how large: `cpu`, the default, answers the question on two cores,
`full` is the reports' own size (for a GPU), `smoke` only shows in a minute that everything runs. The studies
of the five reports have a fourth, `gpu`: one seed in parts that stand alone, each meant for eight minutes of
an H100, with as few epochs as that takes.
"""

from typing import Any, Literal

from prunery.registry import Registry

Scale = Literal["smoke", "cpu", "full"]
ReportScale = Literal["smoke", "cpu", "full", "gpu"]

study = Registry("study")


def controls(scale: ReportScale) -> dict[str, Any]:
    """What a study's spec says of controls: those that double its training are too dear for a small scale."""
    return {"controls": []} if scale in ("cpu", "gpu") else {}


def named(study: str, part: str, scale: ReportScale) -> str:
    """The name of a part of a study at a scale: `five-criteria-fc`, `five-criteria-fc-cpu`."""
    return "-".join(word for word in (study, part, "" if scale == "full" else scale) if word)
