"""What a command writes to: names of others do nothing there, and no character ends it."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from prunery.inert import inert

_WIDTH = 100  # off a terminal


class Terminal(Console):
    """A console that prints control characters and direction marks spelt out, and no text as markup."""

    def __init__(self, **about: Any) -> None:
        about = {"width": None if sys.stdout.isatty() else _WIDTH, **about}
        super().__init__(markup=False, emoji=False, highlight=False, **about)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Yield the segments of what is printed; those that rich itself steers the terminal with stay."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(inert(segment.text), segment.style)
