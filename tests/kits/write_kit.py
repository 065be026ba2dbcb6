"""What a report writes."""

import report_case as case

from prunery.lab import spec as specs
from prunery.lab.plan import plan as plan_of
from prunery.lab.store import Store

FILES = ["table.md", "table.tex", "cells.csv", "summary.csv", "layers.csv"]
FILES += ["accuracy.png", "accuracy.svg", "report.html"]


def kept(root, *, without=0, name="toy"):
    """A store with the records of a small study; the last `without` measure steps have none."""
    spec = case.spec(seeds=2, retrain=5).model_copy(update={"name": name})
    plan, store = plan_of(spec), Store(root)
    store.save_study(name, specs.plain(spec))
    gone = [c.key for c in plan.cells][len(plan.cells) - without :]
    made = case.store(plan, lambda c: 9800 - round(100 * c.sparsity) + 8 * c.seed, without=gone)
    for record in made.records.values():
        if not store.has(record.key):
            store.commit(record)
    return store
