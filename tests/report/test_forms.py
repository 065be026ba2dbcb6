"""The table of the forms that a study timed."""

from dataclasses import replace

import report_case as case

from prunery.report.results.frame import frame
from prunery.report.results.study import Loaded
from prunery.report.text.forms import forms


def form(name, ms, times, low, high, size):
    about = {"clock": "wall", "file": "prunery", "difference": 0.0, "cpu_ms": ms}
    return {"form": name, "ms": ms, "times": times, "low": low, "high": high, "bytes": size, **about}


def loaded(tables, seeds=2):
    plan = case.study(["magnitude"], sparsities=[0.9], seeds=seeds)
    store = case.store(plan, lambda c: 1000)
    keys = [case.cell_of(plan, "magnitude", 0.9, seed).key for seed in range(len(tables))]
    more = dict(zip(keys, tables, strict=True))
    records = [replace(r, tables={**r.tables, **more.get(k, {})}) for k, r in store.records.items()]
    kept = case.Kept(records)
    return Loaded("s", {}, plan, kept, frame(plan, kept))


def timed(scale):
    rows = [form("dense", 4.0, 1.0, 1.0, 1.0, 4000), form("sparse callable", 2.0, scale, 1.9, 2.2, 500)]
    return {"forms": [*rows, {"form": "OpenVINO", "missing": "it is not installed"}]}


def test_means_and_ranges_over_seeds():
    table = forms(loaded([timed(2.0), timed(3.0)]))
    dense, sparse = table.rows
    assert dense == (
        "magnitude",
        "90 %",
        "dense",
        "4",
        "1.00",
        "4\u202f000".replace("\u202f", dense[5][1]),
        "prunery",
    )
    assert sparse[:5] == ("magnitude", "90 %", "sparse callable", "2", "2.50 (2.00-3.00)")
    assert table.footnotes == ("Not there: OpenVINO: it is not installed",)


def test_one_network_has_its_own_interval_and_its_sentence():
    only = {**timed(2.0), "forms_said": [{"said": "The sparse callable is the fastest."}]}
    table = forms(loaded([only]))
    assert table.rows[1][4] == "2.00 (1.90-2.20)"
    assert table.footnotes[0].endswith("The sparse callable is the fastest.")


def test_a_study_that_timed_none_has_no_such_table():
    assert forms(loaded([])) is None
