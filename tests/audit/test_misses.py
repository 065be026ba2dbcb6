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
    "a delta below a base in percent": (
        """Method,Base (%),Pruned (%),$\\Delta$ Acc (%)
        CP,92.80,91.80,-1.00
        AMC,92.80,91.90,-0.90
        HRank,93.26,92.17,-0.09""",
        ("differences", 4, "92.17 - 93.26 is -1.09"),
    ),
    "a drop from the baseline's row": (
        """Method,Top-1 (%),Drop (%)
        Baseline,93.26,0.00
        L1,93.06,0.20
        HRank,93.17,0.09
        GAL,92.98,0.82""",
        ("differences", 5, "93.26 - 92.98 is +0.28"),
    ),
    "an accuracy and its error": (
        """method,sparsity,accuracy,error
        dense,0,99.21,0.79
        A,0.5,99.19,0.81
        A,0.8,99.02,1.98""",
        ("complements", 4, "101 % together"),
    ),
    "weights kept": (
        """method,sparsity,params kept,acc
        dense,0,431080,99.2
        A,0.5,215540,99.2
        A,0.8,86216,99.1
        A,0.9,49108,99.0""",
        ("sparsity_statements", 5, "is sparsity 88.6081 %"),
    ),
    "a compression": (
        """sparsity,compression,acc
        0,1.0x,99.2
        0.5,2.0x,99.2
        0.8,5.0x,99.1
        0.9,20.0x,99.0""",
        ("sparsity_statements", 5, "compression 20.0x is 95 %"),
    ),
    "a size": (
        """method,bits,compression ratio,size (MB),top1
        dense,32,1x,97.5,76.1
        A,32,4.4x,22.2,75.6
        B,8,61.5x,5.9,75.3
        C,8,3.9x,25.0,75.9""",
        ("sizes", 4, "97.5 over 5.9 is 16.53"),
    ),
    "a mean outside its bounds": (
        """method,sparsity,acc_mean,acc_min,acc_max
        A,0.5,93.1,92.9,93.3
        A,0.8,92.1,91.9,92.3
        A,0.9,91.9,90.9,91.3""",
        ("outside_bounds", 4, "90.9 to 91.3"),
    ),
    "a mean row": (
        """method,sparsity,seed,acc
        A,0.9,0,89.11
        A,0.9,1,89.30
        A,0.9,2,89.07
        A,0.9,mean,89.61
        B,0.9,0,89.41
        B,0.9,1,89.20
        B,0.9,mean,89.31""",
        ("total_rows", 5, "is 89.16"),
    ),
    "what was saved": (
        """method,sparsity,acc,GFLOPs,FLOPs saved
        dense,0,79.8,4.6,0%
        A,0.1,79.6,4.0,13%
        A,0.2,79.5,3.4,36%
        A,0.3,79.3,2.9,37%""",
        ("ratios", 4, "gives 26.09"),
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
    "a delta below a base in percent": ("-0.09", "-1.09"),
    "a drop from the baseline's row": ("0.82", "0.28"),
    "an accuracy and its error": ("1.98", "0.98"),
    "weights kept": ("49108", "43108"),
    "a compression": ("20.0x", "10.0x"),
    "a size": ("61.5x", "16.5x"),
    "a mean outside its bounds": ("91.9,90.9", "91.1,90.9"),
    "a mean row": ("89.61", "89.16"),
    "what was saved": ("36%", "26%"),
    "a fraction": ("0.6950", "69.50"),
}


@pytest.mark.parametrize("name", SLIPS)
def test_slip_is_found(tmp_path, name):
    table, (check, line, why) = SLIPS[name]
    (finding,) = audited(tmp_path, table).findings
    assert (finding.check, finding.lines) == (check, (line,))
    assert why in finding.message


@pytest.mark.parametrize("name", RIGHT)
def test_without_it_nothing_is(tmp_path, name):
    done = audited(tmp_path, SLIPS[name][0].replace(*RIGHT[name]))
    assert [str(f) for f in done.findings] == []
    assert done.sheet.unread == ()


def test_an_average_beside_a_setting(tmp_path):
    rows = ["A,0%,73.2,78.3,67.5,73.0", "B,20%,62.1,74.9,59.4,65.5", "C,20%,66.8,77.6,64.1,70.5"]
    (finding,) = audited(tmp_path, "\n".join(["Method,Ratio,BoolQ,PIQA,ARC,Avg", *rows])).findings
    assert (finding.check, finding.lines) == ("averages", (4,))
    assert "the mean of the 3 columns before is 69.5" in finding.message


def test_an_error_is_called_an_error(tmp_path):
    table = (
        "dataset,model,method,sparsity,test error\ncifar10,resnet20,dense,0,8.3\ncifar10,resnet20,A,90,1.2"
    )
    messages = {f.check: f.message for f in audited(tmp_path, table).findings}
    assert messages["not_credible"].startswith("error 1.2 = accuracy 98.8 is above 95 %")
