"""One row per cell of a plan: what was asked, what came out, what it cost, and what became of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from prunery.report.results.cell_records import Records, cell_records
from prunery.report.results.columns import COLUMNS, Column

if TYPE_CHECKING:
    import pandas as pd

    from prunery.lab.plan import Plan


def frame(plan: Plan, store: Records, columns: Sequence[Column] = COLUMNS) -> pd.DataFrame:
    """Return one row per cell, in the plan's order; cells without a record are rows too.

    Accuracies in %, losses in nats, MACs per example; `before_test_top1` and its like are those between the
    last cut and what follows it, where they were measured. `of`, `arm`: the method of a sanity arm, and which
    arm it is. Epochs, samples, training MACs, scoring MACs and seconds are sums over the trainings, cuts and
    recoveries of the cell's path from init. `status` is done, collapsed, diverged, failed (a step of its own
    failed), blocked (a step it shares with dense failed) or missing (no record, no failure).
    cuts: prune steps on the path. at: where the first one is made, "init" or "trained". floor: the least
    density of any layer at the last cut. optimizer, learning_rate (its highest), batch: of the last training.
    images, classes: how many of the training images and classes were used, where not all. threads, device: of
    all steps with a cost. train_rise (points of train top-1 per epoch) and train_fall (nats of train loss per
    epoch): over the last tenth of the last training's epochs.
    """
    import pandas as pd

    rows = [{c.name: c.read(cell) for c in columns} for cell in cell_records(plan, store)]
    table = pd.DataFrame(rows, columns=[c.name for c in columns])
    return table.astype({c.name: c.dtype for c in columns})
