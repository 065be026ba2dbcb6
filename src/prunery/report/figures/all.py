"""All figures of a study, in the order in which its page shows them."""

from __future__ import annotations

from prunery.report.figures import accuracy, curves, layers, samples
from prunery.report.figures.chart import Figure
from prunery.report.results.study import Loaded


def first(study: Loaded) -> Figure | None:
    """Return the figure that a page opens with: accuracy against sparsity."""
    return accuracy.sparsity_figure(study)


def others(study: Loaded) -> dict[str, list[Figure]]:
    """Return the other figures by the section that they stand in; sections without one are left out."""
    made: dict[str, list[Figure | None]] = {
        "cost": list(accuracy.trade_offs(study)),
        "retraining": [accuracy.before_and_after(study)],
        "curves": [curves.figure(study)],
        "layers": [*layers.figures(study)],
        "setup": [samples.figure(study)],
    }
    kept = {name: [figure for figure in found if figure is not None] for name, found in made.items()}
    return {name: found for name, found in kept.items() if found}
