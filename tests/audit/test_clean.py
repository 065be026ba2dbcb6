"""Clean tables in many layouts give no finding; the same tables with one slip in them do."""

from __future__ import annotations

import math

import pytest
from audit_kit import audited, lines, named

WIDE = """method,0%,50%,75%,90%,95%
    random,95.1,94.2,93.3,91.0,88.2
    magnitude,95.1,95.0,94.9,94.2,93.1
    snip,95.1,94.9,94.6,94.0,92.8"""
BY_METHOD = """sparsity,magnitude,snip,ours
    0,93.5,93.5,93.5
    0.5,93.6,93.3,93.7
    0.9,92.8,92.5,93.1
    0.95,91.8,91.5,92.3
    0.98,89.3,89.9,90.7"""
FRACTIONS = """network,dataset,pruner,density,seeds,acc,acc_std,flops_ratio
    ResNet-20,CIFAR-10,magnitude,1.0,5,0.9212,0.0013,1.0
    ResNet-20,CIFAR-10,magnitude,0.5,5,0.9201,0.0012,0.52
    ResNet-20,CIFAR-10,magnitude,0.2,5,0.9090,0.0016,0.22
    ResNet-20,CIFAR-10,magnitude,0.1,5,0.8930,0.0021,0.11
    ResNet-20,CIFAR-10,snip,1.0,5,0.9212,0.0013,1.0
    ResNet-20,CIFAR-10,snip,0.5,5,0.9150,0.0012,0.55
    ResNet-20,CIFAR-10,snip,0.2,5,0.8990,0.0016,0.25
    ResNet-20,CIFAR-10,snip,0.1,5,0.8760,0.0021,0.15"""
RATIOS = """Model,Dataset,Method,Compression Ratio,Top-1 Acc (%),Top-5 Acc (%),FLOPs (G),Params (M)
    ResNet-50,ImageNet,Dense,1,76.13,92.86,4.11,25.56
    ResNet-50,ImageNet,LAMP,2,76.0,92.8,2.2,12.8
    ResNet-50,ImageNet,LAMP,4,75.4,92.5,1.3,6.4
    ResNet-50,ImageNet,LAMP,8,74.0,91.8,0.8,3.2"""
SEEDS = """dataset,network,algorithm,sparsity,acc_seed1,acc_seed2,acc_seed3,acc_mean,acc_std
    svhn,wrn16-8,dense,0,96.81,96.79,96.90,96.83,0.06
    svhn,wrn16-8,snip,0.9,96.10,96.05,96.21,96.12,0.08
    svhn,wrn16-8,snip,0.95,95.31,95.40,95.22,95.31,0.09
    svhn,wrn16-8,snip,0.99,91.10,90.55,91.46,91.04,0.46"""
DECIMAL_COMMAS = """sparsity;magnitude_acc;magnitude_sd;random_acc;random_sd
    0;99,21;0,03;99,21;0,03
    80;99,18;0,04;98,95;0,05
    90;99,10;0,05;98,60;0,08
    95;98,87;0,06;97,91;0,12"""
ERRORS = """net,pruner,weights remaining %,test error,params
    lenet5-caffe,oneshot,100,0.8,431000
    lenet5-caffe,oneshot,20,0.82,86200
    lenet5-caffe,oneshot,10,0.9,43100
    lenet5-caffe,oneshot,2,2.4,8620"""
MARKDOWN = """| Method | 80 % | 90 % | 95 % |
    |---|--:|--:|--:|
    | SET | 72.9 ± 0.39 | 69.6 ± 0.23 | 65.1 ± 0.1 |
    | RigL | **75.1 ± 0.05** | 73.0 ± 0.04 | 70.1 ± 0.2 |"""
LATENCIES = """task,arch,method,sparsity,seed,metric,value
    sst2,bert-base,movement,0.5,0,accuracy,0.921
    sst2,bert-base,movement,0.5,1,accuracy,0.918
    sst2,bert-base,movement,0.9,0,accuracy,0.895
    sst2,bert-base,movement,0.9,1,accuracy,0.899
    sst2,bert-base,movement,0.5,0,latency_ms,12.1
    sst2,bert-base,movement,0.5,1,latency_ms,12.0"""
DROPS = """method,base,pruned,delta acc,speedup
    NISP,93.04,93.01,-0.03,1.76
    Geometric,93.59,93.26,-0.33,1.70
    Polar,93.80,93.83,+0.03,1.88
    HRank,93.26,92.17,-1.09,2.00
    Ours,93.53,93.77,+0.24,2.13"""
LAYERS = """layer,dense macs,kept macs
    conv1,1769472,500000
    conv2,37748736,11867135
    fc,5120,1620
    total,39523328,12368755"""
CLEAN = {
    "WIDE": WIDE,
    "BY_METHOD": BY_METHOD,
    "FRACTIONS": FRACTIONS,
    "RATIOS": RATIOS,
    "SEEDS": SEEDS,
    "DECIMAL_COMMAS": DECIMAL_COMMAS,
    "ERRORS": ERRORS,
    "MARKDOWN": MARKDOWN,
    "LATENCIES": LATENCIES,
    "DROPS": DROPS,
    "LAYERS": LAYERS,
}
SLIPS = [  # table, what stood there, what stands there now, line, check
    ("WIDE", "94.9,94.6", "94.9,74.6", 4, "off_the_curve"),
    ("WIDE", "94.9,94.2", "98.9,94.2", 3, "above_dense"),
    ("WIDE", "magnitude,95.1", "magnitude,35.1", 3, "all_but_one"),
    ("BY_METHOD", "92.5", "82.5", 4, "off_the_curve"),
    ("BY_METHOD", "0.95,", "9.5,", 5, "out_of_range"),
    ("FRACTIONS", "0.5,5,0.9201", "0.5,5,0.9701", 3, "above_dense"),
    ("FRACTIONS", "0.2,5,0.9090,0.0016,0.22", "0.2,5,0.9090,0.0016,0.72", 4, "macs_off_the_curve"),
    ("RATIOS", "76.0,92.8", "92.8,76.0", 3, "wrong_metric"),
    ("RATIOS", "1.3,6.4", "4.3,6.4", 4, "costs_in_order"),
    ("SEEDS", "95.40", "94.40", 4, "seeds_against_mean"),
    ("SEEDS", "91.04,0.46", "91.04,0.16", 5, "seeds_against_mean"),
    ("DECIMAL_COMMAS", "98,60", "93,60", 4, "off_the_curve"),
    ("ERRORS", "10,0.9,43100", "10,9.9,43100", 4, "off_the_curve"),
    ("MARKDOWN", "69.6", "169.6", 3, "out_of_range"),
    ("LATENCIES", "0.918", "-0.918", 3, "out_of_range"),
    ("DROPS", "-1.09", "-0.09", 5, "differences"),
    ("LAYERS", "12368755", "12468755", 5, "total_rows"),
]


@pytest.mark.parametrize("name", CLEAN)
def test_clean_table_is_clean(tmp_path, name):
    done = audited(tmp_path, CLEAN[name])
    assert done.findings == ()
    assert len(done.sheet.entries) >= 6


@pytest.mark.parametrize(("name", "old", "new", "line", "check"), SLIPS)
def test_slip_is_found(tmp_path, name, old, new, line, check):
    assert CLEAN[name].count(old) == 1
    done = audited(tmp_path, CLEAN[name].replace(old, new))
    assert line in lines(done, check), [str(f) for f in done.findings]
    assert all(line in f.lines or f.check.endswith("off_the_curve") for f in done.findings)


def _curve(method: str, change: dict[int, float] | None = None) -> list[str]:
    """A smooth curve of five sparsities with three seeds each."""
    rows = []
    for i, s in enumerate((0.5, 0.8, 0.9, 0.95, 0.98)):
        for seed in range(3):
            value = 93 - 5 * s**8 + 0.1 * math.sin(7 * i + 3 * seed)
            rows.append(
                f"cifar10,resnet20,{method},{s},{seed},{value + (change or {}).get(len(rows), 0):.2f}"
            )
    return rows


def test_runs_of_seeds_and_a_sparsity_beside_the_grid(tmp_path):
    head = "dataset,model,method,sparsity,seed,test_top1"
    every = [row for m in ("snip", "grasp", "magnitude", "random") for row in _curve(m)]
    assert audited(tmp_path, "\n".join([head, *every])).findings == ()
    off = [row.replace("0.9,", "0.6,") if i in (6, 7, 8) else row for i, row in enumerate(every)]
    assert lines(audited(tmp_path, "\n".join([head, *off])), "off_the_grid") == {8, 9, 10}
    low = _curve("snip", {7: -20.0})
    assert lines(audited(tmp_path, "\n".join([head, *low])), "off_the_curve") == {9}
    twice = [*every, every[0][:-5] + "92.00"]
    assert lines(audited(tmp_path, "\n".join([head, *twice])), "twice") == {2, 62}


def test_a_collapse_is_named_once_a_row(tmp_path):
    done = audited(
        tmp_path,
        """dataset_model,method,compression_exponent,sparsity_pct,top1_mean,top1_sd_n3,seed0,seed1,seed2
        cifar10_resnet18,magnitude,0.0,0.0,94.98,0.057,94.93,95.04,94.96
        cifar10_resnet18,magnitude,1.0,90.0,94.4,0.09,94.3,94.42,94.48
        cifar10_resnet18,magnitude,1.25,94.38,10.0,0.0,10.0,10.0,10.0
        cifar10_resnet18,random,3.0,99.9,13.507,6.074,10.0,10.0,20.52""",
    )
    assert [(f.check, f.lines) for f in done.findings] == [("chance", (4,)), ("chance", (5,))]
    assert "top1_mean 10.0, seed0 10.0" in done.findings[0].message
    assert "seed2" not in done.findings[1].message


def test_two_statements_of_one_sparsity(tmp_path):
    rows = ["1.0,90.0,91.1", "1.25,94.38,90.2", "1.5,96.84,89.1", "1.75,98.22,86.0", "2.0,99.0,85.2"]
    head = "compression_exponent,sparsity_pct,top1"
    assert audited(tmp_path, "\n".join([head, *rows])).findings == ()
    rows[3] = "1.75,93.22,86.0"
    assert lines(audited(tmp_path, "\n".join([head, *rows])), "sparsity_statements") == {5}
    asked = "method,sparsity_requested,sparsity_achieved,acc\nsnip,0.85,0.75,92.1\nsnip,0.9,0.9001,91.2"
    assert lines(audited(tmp_path, asked), "sparsity_statements") == {2}


def test_totals_and_intervals_of_a_row(tmp_path):
    head = "method,sparsity,epochs_before,epochs_after,epochs,n,mean,sd,half_width,low,high"
    rows = [
        "a,0.5,20,25,45,5,98.686,0.0513,0.0637,98.6223,98.7497",
        "a,0.8,20,50,70,5,98.714,0.0230,0.0286,98.6854,98.7426",
        "a,0.9,20,75,95,5,98.690,0.0367,0.0456,98.6444,98.7356",
    ]
    assert audited(tmp_path, "\n".join([head, *rows])).findings == ()
    for old, new, check in (
        ("20,75,95", "20,75,96", "total_columns"),
        ("98.6444", "98.5444", "intervals"),
        ("0.0367", "0.0867", "intervals"),
    ):
        done = audited(tmp_path, "\n".join([head, *rows]).replace(old, new))
        assert lines(done, check) == {4}


def test_right_answers_are_whole(tmp_path):
    table = "method,sparsity,test_images,test_top1\na,0.5,355,92.3944\na,0.9,355,91.8310"
    assert audited(tmp_path, table).findings == ()
    assert lines(audited(tmp_path, table.replace("92.3944", "92.4944")), "whole_images") == {2}


def test_lines_that_do_not_fit_are_told(tmp_path):
    (finding,) = audited(tmp_path, "method,sparsity,acc\na,0.5,92.1\nb,0.5,91.0,3\nc,0.5,90.1").findings
    assert (finding.check, finding.lines) == ("ragged", (3,))


def test_unmatched_sparsities_within_a_table(tmp_path):
    table = "method,sparsity,acc\na,0.5,92\na,0.75,91\na,0.9,89\nb,0.5217,93\nb,0.7712,92\nb,0.9015,91"
    (finding,) = named(audited(tmp_path, table), "unmatched_sparsities")
    assert "a at 50 % / 75 % / 90 % is compared with b at 52.17 % / 77.12 % / 90.15 %" in finding.message
    near = table.replace("0.5217", "0.501").replace("0.7712", "0.7496")
    assert audited(tmp_path, near).findings == ()


def test_a_value_that_stays_the_same(tmp_path):
    rows = [
        f"own,{s},{v}" for s, v in ((0.5, 88.11), (0.8, 27.31), (0.9, 27.31), (0.95, 27.31), (0.99, 27.31))
    ]
    done = audited(tmp_path, "method,sparsity,accuracy\n" + "\n".join(rows))
    assert lines(done, "stuck") == {3, 4, 5, 6}
