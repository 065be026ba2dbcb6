"""What all figures share: colours, style, and files that are the same bytes for the same figure."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

GREY, INK, FAINT = "#6B6B6B", "#222222", "#E3E3E3"
_STYLE = {
    "svg.hashsalt": "prunery",
    "svg.fonttype": "path",
    "font.family": "DejaVu Sans",
    "font.size": 10.5,
    "text.color": INK,
    "axes.labelcolor": INK,
}


def png_and_svg(make: Callable[[], Figure]) -> dict[str, bytes]:
    """Return what `make` draws as `{"png": bytes, "svg": bytes}`; no global state is touched."""
    import matplotlib as mpl
    import matplotlib.style

    with mpl.style.context(["default", _STYLE]):
        figure = make()
        return {kind: _bytes(figure, kind) for kind in ("png", "svg")}


def _bytes(figure: Figure, kind: str) -> bytes:
    """Return the file's bytes, without dates or the version of what wrote it."""
    metadata: dict[str, dict[str, str | None]] = {
        "png": {"Software": None},
        "svg": {"Date": None, "Creator": None},
    }
    out = io.BytesIO()
    figure.savefig(out, format=kind, dpi=160, metadata=metadata[kind])
    return out.getvalue()
