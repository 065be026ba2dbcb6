"""The page's figures as files for papers: `files(page.Study(...))`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from prunery.report.figures import cost, curves, density, macs, weights
from prunery.report.figures.data import Data
from prunery.report.figures.style import png_and_svg
from prunery.report.page.contents import Study

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Draw = Callable[[], "Figure"]

KINDS: dict[str, Callable[[Data], Iterator[Draw]]] = {
    "cost": cost.figures,
    "curves": curves.figures,
    "density": density.figures,
    "macs": macs.figures,
    "weights": weights.figures,
}


def files(study: Study) -> dict[str, bytes]:
    """Return each figure for which there are data as PNG and SVG, the same bytes for the same records.

    `cost.png`, `cost.svg`; a study of more methods than one figure can hold has `cost-2.png` and more.
    """
    data = Data(study)
    made: dict[str, bytes] = {}
    for kind, figures in KINDS.items():
        for number, draw in enumerate(figures(data), 1):
            name = kind if number == 1 else f"{kind}-{number}"
            made |= {f"{name}.{suffix}": content for suffix, content in png_and_svg(_plainly(draw)).items()}
    return made


def _plainly(draw: Draw) -> Draw:
    """Return the drawing with names as they are: a `$` in one begins no formula."""

    def drawn() -> Figure:
        import matplotlib as mpl

        with mpl.rc_context({"text.parse_math": False}):
            return draw()

    return drawn
