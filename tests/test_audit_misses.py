"""Slips that stand in one row only: spreads, averages, ratios, totals, units."""

from __future__ import annotations

import pytest

from audit_kit import audited

SLIPS = {
    "a spread of one run": (
        "method,sparsity,n,mean,std\ndense,0,3,93.50,0.12\nGMP,0.9,1,92.10,0.21\nRigL,0.9,3,92.60,0.15",
        ("impossible_spread", 3, "n = 1"),
    ),
    "a spread below zero": (
        "method,sparsity,acc,acc std\nA,0.9,92.1,0.51\nB,0.9,92.6,-0.15",
        ("impossible_spread", 3, "below 0"),
    ),
    "a spread in the cell of the mean": (
        """method,sparsity,acc_seed0,acc_seed1,acc_seed2,avg
        A,0.9,92.1,92.3,92.0,92.13 ± 1.50
        B,0.9,92.6,92.5,92.9,92.67 ± 0.21
        C,0.9,91.6,91.5,91.9,91.67 ± 0.21""",
        ("seeds_against_mean", 2, "have the SD 0.1528"),
    ),
    "an average over data sets": (
        """Method,Sparsity,CIFAR-10,CIFAR-100,SVHN,Average
        SNIP,0.9,92.1,69.9,96.0,86.0
        GraSP,0.9,91.6,69.1,95.7,85.47
        SynFlow,0.9,92.0,69.5,95.9,88.80""",
        ("averages", 4, "85.8"),
    ),
    "a speed-up": (
        """method,sparsity,acc,latency_ms,speedup
        dense,0,93.5,10.0,1.0x
        A,0.5,93.1,8.0,1.25x
        B,0.8,92.9,5.0,4.0x
        C,0.9,92.0,4.0,2.5x""",
        ("ratios", 4, "gives 2"),
    ),
    "a reduction": (
        """method,sparsity,top1,FLOPs (M),FLOPs reduction (%)
        dense,0,93.5,126,0
        A,0.5,93.1,63,50.0
        B,0.8,92.9,40,81.0
        C,0.7,92.0,31.5,75.0""",
        ("ratios", 4, "gives 68.25"),
    ),
    "a total of what is kept": (
        "layer,weights,kept\nconv1,432,300\nconv2,2304,1000\nfc,640,320\ntotal,3376,1720",
        ("total_rows", 5, "is 1620"),
    ),
    "a density": (
        """layer,weights,kept,density
        conv1,432,300,0.694
        conv2,2304,1000,0.434
        fc,640,320,0.900
        total,3376,1620,0.480""",
        ("sparsity_statements", 4, "is 50 %"),
    ),
    "a fraction": (
        "method,sparsity,top1\ndense,0,69.8\nGMP,0.5,69.5\nRigL,0.5,0.6950",
        ("mixed_units", 4, "69.5 as a fraction"),
    ),
}
RIGHT = {  # what stood there, what makes it right
    "a spread of one run": ("0.21", "0"),
    "a spread below zero": ("-0.15", "0.15"),
    "a spread in the cell of the mean": ("1.50", "0.15"),
    "an average over data sets": ("88.80", "85.80"),
    "a speed-up": ("4.0x", "2.0x"),
    "a reduction": ("81.0", "68.3"),
    "a total of what is kept": ("1720", "1620"),
    "a density": ("0.900", "0.500"),
    "a fraction": ("0.6950", "69.50"),
}


@pytest.mark.parametrize("name", SLIPS)
def test_slip_is_found(tmp_path, name):
    table, (check, line, why) = SLIPS[name]
    (found,) = audited(tmp_path, table).findings
    assert (found.check, found.lines) == (check, (line,))
    assert why in found.message


@pytest.mark.parametrize("name", RIGHT)
def test_without_it_nothing_is(tmp_path, name):
    done = audited(tmp_path, SLIPS[name][0].replace(*RIGHT[name]))
    assert [str(f) for f in done.findings] == []
    assert done.sheet.unread == ()
