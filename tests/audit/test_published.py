"""What five published reports got wrong is found in excerpts of their tables, by line and reason."""

from __future__ import annotations

import pytest
from audit_kit import HEADER, audited, lines, named

ITERATIVE = "iterative 10% of remaining,finetune 90 epochs a round"
ONE_SHOT_AND_ITERATIVE = f"""{HEADER}
    a,text,cifar10,resnet18,none,-,-,0,test_top1,93.06
    a,1,cifar10,resnet18,magnitude,one_shot,finetune 90 epochs,0.5,test_top1,92.78
    a,1,cifar10,resnet18,magnitude,one_shot,finetune 90 epochs,0.75,test_top1,92.16
    a,1,cifar10,resnet18,magnitude,one_shot,finetune 90 epochs,0.9,test_top1,89.99
    a,2,cifar10,resnet18,magnitude,{ITERATIVE},0.4686,test_top1,93.4
    a,2,cifar10,resnet18,magnitude,{ITERATIVE},0.5217,test_top1,93.3
    a,3,cifar10,resnet18,magnitude,{ITERATIVE},0.5217,test_top1,93.5
    a,3,cifar10,resnet18,magnitude,{ITERATIVE},0.7712,test_top1,93.22
    a,4,cifar10,resnet18,magnitude,{ITERATIVE},0.8906,test_top1,92.19
    a,4,cifar10,resnet18,magnitude,{ITERATIVE},0.9015,test_top1,91.99
    a,5,cifar10,resnet18,magnitude,one_shot,finetune 90 epochs,0.5,test_top1,92.78
    a,5,cifar10,resnet18,magnitude,iterative,finetune 90 epochs a round,0.5,test_top1,93.3
    a,5,cifar10,resnet18,magnitude,one_shot,finetune 90 epochs,0.75,test_top1,92.16
    a,5,cifar10,resnet18,magnitude,iterative,finetune 90 epochs a round,0.75,test_top1,93.22
    a,5,cifar10,resnet18,magnitude,one_shot,finetune 90 epochs,0.9,test_top1,98.99
    a,5,cifar10,resnet18,magnitude,iterative,finetune 90 epochs a round,0.9,test_top1,91.99
"""


@pytest.fixture
def one_shot(tmp_path):
    return audited(tmp_path, ONE_SHOT_AND_ITERATIVE)


def test_exchanged_digits_are_found_against_the_other_table(one_shot):
    (finding,) = [f for f in named(one_shot, "twice") if 5 in f.lines]
    assert finding.lines == (5, 16)
    assert "98.99 (line 16) is probably a misprint of the 89.99 of table 1" in finding.message
    assert finding.column == "value"
    assert lines(one_shot, "above_dense") == lines(one_shot, "not_credible") == {16}


def test_repeats_between_tables_are_pooled(one_shot):
    (finding,) = [f for f in named(one_shot, "twice") if f.lines == (7, 8)]
    assert "n = 2, mean 93.4 ± 0.14 (SD)" in finding.message


def test_unmatched_sparsities_of_a_summary_table(one_shot):
    messages = {f.lines[0]: f.message for f in named(one_shot, "unmatched_sparsities")}
    assert set(messages) == {13, 15, 17}
    assert "stated at 50 %, but table 2 has it at 52.17 % (line 7)" in messages[13]
    assert "77.12 %" in messages[15]
    assert "90.15 %" in messages[17]


def test_unequal_training(one_shot):
    (finding,) = named(one_shot, "unequal_budgets")
    assert "magnitude one_shot 90 epochs, magnitude iterative 22 x 90 = 1980 epochs" in finding.message
    assert set(finding.lines) == {12, 13, 14, 15, 16, 17}


def test_misprint_between_text_and_table(tmp_path):
    done = audited(
        tmp_path,
        f"""{HEADER}
        c,1,mnist,lenet5,none,-,-,0,test_top1,97.94
        c,1,mnist,lenet5,magnitude,one_shot,none,0.25,test_top1,97.96
        c,1,mnist,lenet5,magnitude,one_shot,none,0.5,test_top1,97.26
        c,text,mnist,lenet5,none,-,-,0,test_top1,97.24""",
    )
    (finding,) = done.findings
    assert finding.lines == (2, 5)
    assert "97.24 (line 5) is probably a misprint of the 97.94" in finding.message


def test_constant_predictions_by_class_shares(tmp_path):
    values = {2: "10.28", 3: "9.59", 4: "9.75", 5: "11.35", 6: "10.55", 7: "97.4"}
    rows = "\n".join(f"mnist,fc,m{line},{v}" for line, v in values.items())
    done = audited(tmp_path, f"dataset,model,method,test_top1\n{rows}")
    messages = {f.lines[0]: f.message for f in named(done, "chance")}
    assert set(messages) == {2, 3, 4, 5}
    for line, label in ((2, 7), (3, 6), (4, 8), (5, 1)):
        assert f"share of class {label} in MNIST" in messages[line]
    other = audited(tmp_path, f"dataset,model,method,test_top1\n{rows}".replace("mnist", "cifar10"))
    assert not named(other, "chance")


def test_top5_printed_as_top1(tmp_path):
    table = """dataset,model,method,sparsity,test_top1
        cifar100,vgg16,synflow,0.9,72.61
        cifar100,vgg16,grasp,0.9,5.0
        cifar100,vgg16,random,0.9,5.0
        cifar100,vgg16,snip,0.9,63.63"""
    (finding,) = audited(tmp_path, table).findings
    assert finding.check == "wrong_metric"
    assert finding.lines == (2, 3, 4, 5)
    assert finding.column == "test_top1"
    assert "these are top-5" in finding.message
    honest = audited(tmp_path, table.replace("top1", "top5"))
    assert lines(honest, "chance") == {3, 4}
    assert not named(honest, "wrong_metric")
    assert lines(audited(tmp_path, table.replace("5.0", "1.0")), "chance") == {3, 4}


def test_fully_connected_network_beyond_belief(tmp_path):
    done = audited(
        tmp_path, "dataset,model,method,sparsity,acc\nmnist,fc,random,0.9,99.87\nmnist,fc,snip,0.9,77.99"
    )
    (finding,) = done.findings
    assert (finding.check, finding.lines) == ("not_credible", (2,))


@pytest.mark.parametrize(("value", "bad"), [("9.3", True), ("257.6", False), ("305", True), ("63.4", False)])
def test_macs_within_bounds(tmp_path, value, bad):
    done = audited(
        tmp_path, f"dataset,model,method,sparsity,macs_millions\ncifar100,vgg16,synflow,0.369043,{value}"
    )
    assert [f.check for f in done.findings] == ["macs_bounds"] * bad
    assert ("number of weights kept (9.314 M): wrong column" in str(done.findings)) == (value == "9.3")


def test_layers_against_the_stated_fraction(tmp_path):
    layers = {"conv1": (1769472, 1501183), "conv2": (37748736, 27796479), "conv3": (18874368, 8000000)}
    rows = [f"d,2,cifar10,net:{n},none,-,-,0,macs,{a}" for n, (a, _) in layers.items()]
    rows += [f"d,2,cifar10,net:{n},magnitude,-,-,0.6,macs,{b}" for n, (_, b) in layers.items()]
    table = f"{HEADER}\nd,1,cifar10,net,magnitude,-,-,0.6,macs_fraction,FRACTION\n" + "\n".join(rows)
    (finding,) = audited(tmp_path, table.replace("FRACTION", "0.6089")).findings
    assert (finding.check, finding.lines) == ("layers_against_totals", (2,))
    assert "0.6389 is one digit away" in finding.message
    assert not audited(tmp_path, table.replace("FRACTION", "0.6388")).findings


def test_one_number_for_each_layer(tmp_path):
    table = f"{HEADER}\n" + "\n".join(
        f"e,V,cifar10,vgg16,{m},one_shot,-,0.683772,compression_of_each_layer_percent,{v}"
        for m, v in (("snip", "31.64"), ("grasp", "31.64"), ("random", "31.64"))
    )
    (finding,) = audited(tmp_path, table).findings
    assert finding.lines == (2, 3, 4)
    assert "share of the whole network (31.62 %)" in finding.message
    assert not audited(
        tmp_path, table.replace("grasp,one_shot,-,0.683772,", "grasp,layer,-,0.683772,")
    ).findings


def test_times_of_crashes_and_shared_machines(tmp_path):
    usual = ["290.8", "290.1", "287.5", "289.8", "291.4", "283.5", "286.2", "289.4", "292.0"]
    rows = [f"m{i},0.5,{v}" for i, v in enumerate([*usual, "15.0", "633.7", "635.7"])]
    done = audited(tmp_path, "method,sparsity,seconds\n" + "\n".join(rows))
    by_lines = {f.lines: f.message for f in named(done, "times")}
    assert set(by_lines) == {(11,), (12, 13)}
    assert "crashed" in by_lines[11,]
    assert "two runs shared the machine" in by_lines[12, 13]
    loose = [f"m{i},0.5,{v}" for i, v in enumerate([53, 189, 110, 240, 75, 330, 90, 160])]
    assert not audited(tmp_path, "method,sparsity,seconds\n" + "\n".join(loose)).findings
