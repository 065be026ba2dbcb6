"""layers.csv: what is left of each layer, in weights and MACs, over the seeds that were measured."""

from dataclasses import replace

import pytest
import report_case as case

from prunery.report.results.frame import frame
from prunery.report.results.groups import groups_of
from prunery.report.text import layers

LAYERS = (("a.weight", 100, 900), ("b.weight", 50, 50))  # name, weights, MACs


def table(share):
    """The layers of a network that keeps this share of `a` and all of `b`."""
    rows = []
    for name, weights, macs in LAYERS:
        kept = share if name == "a.weight" else 1
        params = {
            "params_dense": weights,
            "params_kept": kept * weights,
            "params_effective": kept * weights / 2,
        }
        costs = {"macs_dense": macs, "macs_kept": kept * macs, "macs_effective": kept * macs / 2}
        rows.append({"name": name, **params, **costs})
    return rows


@pytest.fixture
def rows():
    plan = case.study(["magnitude"], sparsities=[0.9], seeds=2)
    missing = case.cell_of(plan, "magnitude", 0.9, 1).key
    store = case.store(plan, lambda c: 1000, without=[missing])
    pruned = case.cell_of(plan, "magnitude", 0.9, 0).key
    dense = [c.key for c in plan.cells if c.role == "dense"]
    shares = {pruned: 0.1, dense[0]: 1, dense[1]: 1}
    kept = {
        k: replace(r, tables={**r.tables, "layers": table(shares[k])} if k in shares else r.tables)
        for k, r in store.records.items()
    }
    records = case.Kept(kept.values())
    return layers.rows(groups_of(frame(plan, records)), records)


def rows_of(rows, method):
    return {row["layer"]: row for row in rows if row["method"] == method}


def test_counts_and_shares_by_hand(rows):
    of_method = rows_of(rows, "magnitude")
    assert list(of_method) == ["a.weight", "b.weight", layers.TOTAL]
    first, whole = of_method["a.weight"], of_method[layers.TOTAL]
    assert (first["params_kept"], first["macs_kept"], first["density"]) == ("10", "90", "0.1")
    assert (whole["params_dense"], whole["params_kept"], whole["macs_kept"]) == ("150", "60", "140")
    assert (whole["density"], whole["macs_fraction"]) == ("0.4", "0.147368")
    assert whole["params_effective"] == "30"


def test_n_is_of_the_networks_that_were_measured(rows):
    assert {row["n"] for row in rows_of(rows, "magnitude").values()} == {"1"}
    assert {row["n"] for row in rows_of(rows, "dense").values()} == {"2"}
    assert {row["density"] for row in rows_of(rows, "dense").values()} == {"1"}
