"""The table of studies.

A row is a function without required arguments that returns a Spec, or a mapping from the names of its parts
to their Specs. Its option `scale` says how large: `cpu`, the default, answers the question on two cores,
`full` is the reports' own size (for a GPU), `smoke` only shows in a minute that everything runs.
"""

from typing import Any, Literal

from prunery.registry import Registry

Scale = Literal["smoke", "cpu", "full"]

study = Registry("study")


def controls(scale: Scale) -> dict[str, Any]:
    """What a study's spec says of controls: those that double its training are too dear for two cores."""
    return {"controls": []} if scale == "cpu" else {}


def named(study: str, part: str, scale: Scale) -> str:
    """The name of a part of a study at a scale: `five-criteria-fc`, `five-criteria-fc-cpu`."""
    return "-".join(word for word in (study, part, "" if scale == "full" else scale) if word)
