"""What a sparse callable runs, and how fast: a line a layer, and the whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from prunery.runtime.layers import Layer
from prunery.runtime.parts import density
from prunery.runtime.products import Variant
from prunery.runtime.tune import Timed


@dataclass(frozen=True)
class Row:
    """One layer. Seconds for the batch that it was tried on; None: not tried."""

    name: str
    shape: tuple[int, ...]
    density: float
    runs: str  # what was chosen
    images: int
    sparse: float | None
    dense: float | None


@dataclass(frozen=True)
class Report:
    """The layers, and seconds of the whole on the example: the callable, and torch with folded norms.

    verdict: one sentence.
    """

    rows: tuple[Row, ...]
    batch: int
    threads: int
    isa: str
    seconds: float
    dense_seconds: float
    flushed: int  # weights below 1e-30 that were taken for 0
    megabytes: float  # of packed weights and buffers
    verdict: str

    @property
    def speedup(self) -> float:
        """How many times as fast as torch's dense kernels; 1 where nothing was timed: it is the model."""
        return self.dense_seconds / self.seconds if self.seconds else 1.0

    def __str__(self) -> str:
        lines = [
            f"{'layer':28} {'weight':>20} {'nonzero':>8} {'batch':>5} {'dense ms':>9} {'sparse ms':>9}  runs"
        ]
        for row in self.rows:
            shape = " x ".join(map(str, row.shape))
            times = [f"{'' if s is None else f'{1000 * s:.3f}':>9}" for s in (row.dense, row.sparse)]
            share = f"{100 * row.density:7.1f}%"
            lines.append(
                f"{row.name[:28]:28} {shape:>20} {share:>8} {row.images:>5} {' '.join(times)}  {row.runs}"
            )
        whole = f"{1000 * self.seconds:.3f} ms against {1000 * self.dense_seconds:.3f} ms dense"
        lines.append(
            f"whole, batch {self.batch}, {self.threads} thread(s), {self.isa}: {whole} ({self.speedup:.2f}x)"
        )
        lines.append(
            f"{self.megabytes:.1f} MB of packed weights and buffers; {self.flushed} weights flushed to 0"
        )
        return "\n".join([*lines, self.verdict])


def rows_of(layers: Sequence[Layer], found: Sequence[Timed], sparse: bool) -> tuple[Row, ...]:
    """Return a row for each layer that has weights.

    found: what was tried, of which the first of a layer is shown; sparse: False if all of it runs dense.
    """
    tried = {timed.layer.output: timed for timed in reversed(found)}
    rows = []
    for layer in layers:
        if layer.weight is None:
            continue
        shape, timed = tuple(layer.weight.shape), tried.get(layer.output)
        if timed is None:
            rows.append(Row(layer.name, shape, density(layer), _choice(None), 0, None, None))
        else:
            choice = _choice(timed.variant if sparse else None)
            times = (timed.images, timed.sparse, timed.dense)
            rows.append(Row(layer.name, shape, timed.density, choice, *times))
    return tuple(rows)


def _choice(variant: Variant | str | None) -> str:
    if variant is None or isinstance(variant, str):
        return variant or "dense (torch)"
    return (
        f"sparse, {variant.rows} rows x {variant.lanes} lanes x {variant.unroll}, blocks of {variant.block}"
    )
