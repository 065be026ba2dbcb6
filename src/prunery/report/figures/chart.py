"""What all figures share: colours, a figure of one or more charts, and its files.

A figure is a list of charts of equal size. The page shows them side by side, each as wide as its container;
the files hold the same charts, concatenated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from prunery.inert import inert

if TYPE_CHECKING:
    import altair as alt

# readable on white and on a dark page, and kept apart by the common kinds of colour blindness
COLOURS = ("#2f7fc1", "#e0712c", "#1a9c74", "#c76aa5", "#b57e0e", "#7d63c9", "#4aa3c7", "#8c7a4d")
GREY, FAINT = "#8a8a8a", "rgba(128,128,128,0.25)"
INK = {"page": "currentColor", "file": "#222222"}
KINDS = ("png", "svg")
ALL = (*KINDS, "pdf")
_FONTS = {  # by name, for the room that texts take is measured; the page's are those of its style
    "file": "Liberation Sans, DejaVu Sans, Arial, sans-serif",
    "page": 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "Liberation Sans", Arial, '
    "sans-serif",
}
_TEXTS, _WHOLE = ("data", "datasets", "title", "domain"), ("expr", "labelExpr", "jpeg")
_LONGEST = 1000  # characters of a text that is drawn: laying out more takes minutes
_WIDTHS = {1: 560, 2: 330, 3: 250}  # of a chart in a file, by the number of columns
Rows = Sequence[Mapping[str, Any]]
Draw = Callable[[bool], "alt.LayerChart | alt.Chart"]


@dataclass(frozen=True)
class Figure:
    """A figure: its charts, each made when it is asked for, with a legend or without one.

    name: of its files. legend: label to colour. logarithmic: whether its axes can be switched to logarithmic
    ones. columns: of charts in a file. about: what it shows, as one caption.
    """

    name: str
    title: str
    about: str
    charts: tuple[Draw, ...]
    legend: Mapping[str, str]
    logarithmic: bool = False
    height: int = 320

    @property
    def columns(self) -> int:
        """Return how many charts stand side by side in a file."""
        return min(3, len(self.charts))

    def specs(self) -> list[dict[str, Any]]:
        """Return the charts as Vega-Lite for the page: as wide as their container, transparent."""
        made = [draw(False).properties(width="container", height=self.height) for draw in self.charts]
        return [chart.configure(**_config("page")).to_dict(validate=False) for chart in made]

    def whole(self) -> alt.ConcatChart:
        """Return all charts as one, as the files and notebooks show them."""
        import altair as alt

        width = _WIDTHS[self.columns]
        shown = [i == 0 and bool(self.legend) for i in range(len(self.charts))]
        made = [
            draw(show).properties(width=width, height=self.height)
            for draw, show in zip(self.charts, shown, strict=True)
        ]
        whole = alt.concat(
            *made, columns=self.columns, title=alt.Title(self.title, anchor="start", fontSize=15)
        )
        configured: alt.ConcatChart = whole.configure(**_config("file"))
        return configured

    def files(self, kinds: Iterable[str] = KINDS) -> dict[str, bytes]:
        """Return the figure's files by name.

        A PNG or SVG has the same bytes for the same records; "pdf" orders its fonts anew each time.
        """
        spec = self.whole().to_dict(validate=False)
        return {f"{self.name}.{kind}": rendered(spec, kind) for kind in kinds}


def rendered(spec: Mapping[str, Any], kind: str) -> bytes:
    """Return a chart as a PNG, SVG or PDF; control characters are spelt out, for no SVG may hold them."""
    import vl_convert

    drawn: dict[str, Any] = _inert(spec)
    if kind == "png":
        return bytes(vl_convert.vegalite_to_png(drawn, scale=2))
    if kind == "pdf":
        return bytes(vl_convert.vegalite_to_pdf(drawn))
    return str(vl_convert.vegalite_to_svg(drawn)).encode()


def _inert(value: Any, *, drawn: bool = False) -> Any:
    """Return a chart without control characters, which would end the process, and without endless texts.

    drawn: whether the texts are drawn, and neither expressions nor images, which must stay whole.
    """
    if isinstance(value, str):
        return inert(f"{value[:_LONGEST]}..." if drawn and len(value) > _LONGEST else value)
    if isinstance(value, Mapping):
        return {
            inert(str(key)): _inert(part, drawn=key not in _WHOLE and (drawn or key in _TEXTS))
            for key, part in value.items()
        }
    return [_inert(part, drawn=drawn) for part in value] if isinstance(value, list | tuple) else value


def data(rows: Rows) -> Any:
    """Return rows as the data of a chart."""
    import altair as alt

    return alt.Data(values=[dict(row) for row in rows])  # type: ignore[no-untyped-call]


def colours(labels: Iterable[str]) -> dict[str, str]:
    """Return a colour for each label, the same one for the same place; grey for random pruning."""
    plain = [label for label in labels if label != "random"]
    known = {label: COLOURS[i % len(COLOURS)] for i, label in enumerate(plain)}
    return {**known, "random": GREY} if plain != list(labels) else known


def coloured(legend: Mapping[str, str], show: bool, field: str = "series") -> Any:
    """Return the encoding of a series by its colour, with a legend above where `show`."""
    import altair as alt

    scale = alt.Scale(domain=list(legend), range=list(legend.values()))
    shown = alt.Legend(
        orient="top", title=None, columns=4, labelLimit=260, symbolType="stroke", symbolOpacity=1
    )
    return alt.Color(f"{field}:N", scale=scale, legend=shown if show else None)


def choice(name: str, label: str, options: Sequence[str], value: str) -> Any:
    """Return a parameter that a page shows as a list to choose from; a file shows its value."""
    import altair as alt

    return alt.param(name=name, value=value, bind=alt.binding_select(options=list(options), name=f"{label} "))


def _config(where: str) -> dict[str, Any]:
    ink = INK[where]
    text = {"labelColor": ink, "titleColor": ink, "labelFontSize": 11, "titleFontSize": 12}
    return {
        "background": "transparent" if where == "page" else "white",
        "font": _FONTS[where],
        "view": {"stroke": None},
        "axis": {
            **text,
            "titleFontWeight": "normal",
            "gridColor": FAINT,
            "domain": False,
            "tickColor": FAINT,
        },
        "legend": {**text, "labelFontSize": 12},
        "title": {"color": ink, "subtitleColor": ink, "anchor": "start", "fontSize": 13},
        "text": {"color": ink},
    }
