"""Tables that are odd but right give no finding: other metrics, other conventions, other settings."""

from __future__ import annotations

import time

import pytest
from audit_kit import audited, lines

QUIET = {
    "layers of networks": """method,sparsity_requested,layer,params_dense,params_kept,density
        A,0.5,conv,100,50,0.5
        A,0.5,conv2,200,100,0.5
        A,0.5,fc,10,10,1
        A,0.8,conv,100,20,0.2
        A,0.8,conv2,200,40,0.2
        A,0.8,fc,10,10,1""",
    "a share of the channels": """method,granularity,sparsity_requested,sparsity_achieved,acc
        dense,weight,0,0,92.5
        magnitude,channel,0.25,0.3315,92.1
        magnitude,channel,0.5,0.6087,91.2""",
    "milliseconds": "method,seed,acc,seconds\n"
    + "\n".join(f"{m},{i},9{i}.{k},0.011{i}" for k, m in enumerate("AB") for i in range(4))
    + "\nA,4,94.4,0.003",
    "clean and robust": "method,sparsity,clean_acc,robust_acc\ndense,0,94,48\nGMP,0.5,93.9,47.5",
    "acc@1": "Method,Sparsity,acc@1,acc@5\ndense,0,76.13,92.86\nGMP,0.9,74.91,92.10",
    "languages": "method,sparsity,language,acc\ndense,0,en,92\ndense,0,sw,61\nGMP,0.5,en,91.5",
    "augmentation": "augmentation,method,sparsity,acc\nnone,dense,0,86\nfull,dense,0,95\nfull,GMP,0.8,94.5",
    "optimizers": """optimizer,method,sparsity,acc
        sgd,dense,0,91.0
        adam,dense,0,87.0
        sgd,magnitude,0.5,90.8
        sgd,magnitude,0.9,88.9
        adam,magnitude,0.5,86.9
        adam,magnitude,0.9,84.5""",
    "long metrics": """method,sparsity,metric,value
        dense,0,clean_acc,94
        dense,0,robust_acc,48
        GMP,0.5,clean_acc,93.9
        GMP,0.5,robust_acc,47.5""",
    "before": "method,sparsity,acc_before_finetune,acc_after_finetune\nGMP,0.5,88.1,92.2\nGMP,0.8,31.0,91.4",
    "before and after": """model,data,method,sparsity,test_top1,before_test_top1
        cnn8,cifar10,dense,0,43.4,
        cnn8,cifar10,A,0.6,40.4,10.6
        cnn8,cifar10,A,0.7,30.7,10.2""",
    "an output layer left out": """model,dataset,method,sparsity,macs_dense,macs_kept,params_dense,params_kept
        lenet300,mnist,A,0.9,266200,27520,266200,27520
        lenet300,mnist,A,0.99,266200,3652,266200,3652""",
    "macs of equal layers": """model,data,method,sparsity,macs_dense,macs_kept
        cnn8,cifar10,A,0.6,406784,162000
        cnn8,cifar10,A,0.7,406784,123200
        cnn8,cifar10,A,0.8,406784,81300
        cnn8,cifar10,A,0.9,406784,42368""",
    "some of the classes": """dataset,classes,model,method,sparsity,chance,acc
        cifar100,10,cnn,dense,0,10,45.1
        cifar100,10,cnn,A,0.9,10,24.5
        cifar100,20,cnn,dense,0,5,35.2
        cifar100,20,cnn,A,0.9,5,22.3""",
    "no retraining": "method,sparsity,acc\nno retraining,0.5,80.2\nrewinding,0.5,91.8",
    "fid": "Method,Sparsity,FID\ndense,0,4.2\nGMP,0.95,38.8",
    "perplexity": "Method,Sparsity,Perplexity\ndense,0,5.47\nGMP,0.5,16.03\nGMP,0.9,1603.1",
    "wer": "Method,Sparsity,WER clean,WER other\ndense,0,3.4,8.5\nGMP,0.9,12.1,35.5",
    "images": "Method,Sparsity,PSNR,SSIM\ndense,0,32.1,0.912\nGMP,0.5,32.0,0.910\nGMP,0.9,30.2,0.861",
    "accuracy loss": "method,sparsity,acc,accuracy loss\nA,0.5,93.0,-0.2\nA,0.9,92.4,0.4",
    "relative accuracy": "method,sparsity,acc,relative_accuracy\nA,0.5,93.0,100.4\nA,0.9,92.4,99.6",
    "nothing but losses": "method,sparsity,accuracy loss\nA,0.5,-0.2\nB,0.9,1.4",
    "nothing but relative numbers": "method,sparsity,relative_accuracy\nA,0.5,100.4\nB,0.9,98.4",
    "epoch of the best": "method,sparsity,acc,best_acc_epoch\nA,0.5,93.0,143\nA,0.9,92.4,151",
    "flops down": "dataset,model,method,sparsity,acc,FLOPs ↓ (%)\ncifar10,resnet56,GMP,0.95,92.0,91.2",
    "flops compression": """method,acc,FLOPs compression ratio,params compression ratio
        dense,93.2,1,1
        A,92.1,4.5,6.2""",
    "flops of training": """Method,Sparsity,acc,FLOPs (Train),train_flops_ratio
        dense,0,76.8,1x,1.0
        RigL 5x,0.8,77.1,2.09x,2.09""",
    "rate below one": "method,acc,compression_rate\nGAL,90.36,0.66\nHRank,90.7,0.42",
    "counts of what is gone": "method,acc,channels_pruned,params_removed_m\nA,93.0,312,7.2\nB,92.0,711,120.5",
    "dense in each column": """Method,70%,90%,95%
        Dense,76.2,76.2,76.2
        SNIP,74.1,67.2,60.0
        GMP,75.9,73.9,70.6""",
    "epochs in headers": "method,sparsity,acc_20,acc_50\nA,0.9,85,91\nB,0.9,83.2,90.1",
    "their own baselines": """dataset,model,method,sparsity,top1
        imagenet,resnet50,baseline (HRank),0,76.15
        imagenet,resnet50,baseline (GAL),0,76.15
        imagenet,resnet50,baseline (ThiNet),0,72.88""",
    "unknown metrics": """task,metric,sparsity,MaP
        SQuAD,EM,0.9,67.7
        SQuAD,F1,0.9,78.5
        MNLI,acc,0.9,77.8
        MNLI,acc,0.8,79.8""",
    "label noise": "data,label_noise,method,sparsity,acc\nx,0.4,dense,0,61.0\nx,0.4,IMP,0.89,73.5",
    "thousands in tabs": "method\tsparsity\tacc\tparams\ndense\t0\t98.2\t266,610\nGMP\t0.95\t97.9\t800",
    "points as thousands": "method;sparsity;acc;weights\n-;0;98,2;266.610\nG;0,95;97,9;13.330\nA;0,99;93;800",
    "decimals of three digits": 'method,sparsity,acc\ndense,0,"93,521"\nA,50,"93,413"\nA,90,"92,882"',
    "quoted decimal commas": 'method,sparsity,acc\ndense,0,"93,52"\nA,"0,5","93,41"\nA,"0,9","92,88"',
    "a hash like a float": "commit,method,sparsity,acc\n4821e719,SNIP,0.9,92.2",
    "an overflow": "method,sparsity,acc\nSNIP,0.9,1e999\nSNIP,0.5,92.1\nA,0.5,92.1\nB,0.5,92.1\nC,0.5,92.1",
    "nothing and all of what remains": """report,method,sparsity,schedule,recovery,acc
        r,A,0.9,iterative 0% of remaining,90 epochs a round,50
        r,B,0.9,one_shot,90 epochs,60
        r,C,0.9,iterative 100% of remaining,90 epochs a round,50""",
    "settings left of the numbers": """method,sparsity,calib_samples,acc
        Wanda,0.5,16,53.1
        Wanda,0.5,256,54.4
        Wanda,0.6,128,47.0""",
    "a method that costs more": """method,seed,sparsity,acc,train_seconds
        A,0,0.9,92,1001
        A,1,0.9,92,1003
        A,2,0.9,92,1000
        A,3,0.9,92,1002
        B,0,0.9,91,2010
        B,1,0.9,91,2003""",
    "one long method": """method,sparsity,acc,hours
        dense,0,94,1.00
        A,0.8,94,1.01
        A,0.9,93,1.02
        B,0.8,93,1.00
        B,0.9,92,1.01
        C,0.8,93,1.00
        IMP,0.9,94,8.2""",
    "sparsities side by side": """dataset,model,method,sparsity,top1,flops_m
        cifar10,vgg16,dense,0,93.96,313.73
        cifar10,vgg16,HRank,0.821,92.34,108.61
        cifar10,vgg16,HRank,0.829,93.43,145.61
        cifar10,vgg16,HRank,0.92,91.23,73.70""",
    "layers cut alike": "layer,method,layer_sparsity\nq,Wanda,0.5\nk,Wanda,0.5\nq,SparseGPT,0.5",
    "filters": """dataset,model,method,pruning ratio,acc,MACs (M)
        cifar10,resnet56,dense,0,93.5,126.6
        cifar10,resnet56,DepGraph,0.7,92.1,12.1""",
    "larger images": """dataset,model,method,sparsity,acc,MACs (G)
        cifar10,resnet18,GMP,0.5,95.5,1.10
        cifar10,resnet18,GMP,0.9,95.1,0.35""",
    "a mixer": "dataset,model,method,sparsity,acc\ncifar10,MLP-Mixer,dense,0,96.7",
    "a wide network": """dataset,model,width multiplier,method,sparsity,acc
        cifar10,resnet20,1,dense,0,92.3
        cifar10,resnet20,4,dense,0,95.4
        cifar10,resnet20,4,magnitude,0.5,95.5""",
    "pretrained": """model,dataset,sparsity,accuracy
        ResNet-50 (ImageNet pretrained),CIFAR-100,0,85.6
        ResNet-50 (ImageNet pretrained),CIFAR-100,0.8,85.1""",
}


@pytest.mark.parametrize("name", QUIET)
def test_nothing_is_found(tmp_path, name):
    done = audited(tmp_path, QUIET[name])
    assert [str(f) for f in done.findings] == []
    assert done.sheet.entries


SLIPS = [  # table, what stood there, what stands there now, line, check: the rules above hide no slip
    ("clean and robust", "47.5", "77.5", 3, "above_dense"),
    ("acc@1", "74.91", "94.91", 3, "above_dense"),
    ("languages", "91.5", "98.5", 4, "above_dense"),
    ("optimizers", "86.9", "68.9", 6, "off_the_curve"),
    ("before", "92.2", "192.2", 2, "out_of_range"),
    ("dense in each column", "67.2", "6.72", 3, "off_the_curve"),
    ("thousands in tabs", "97.9\t800", "97.9\t366,610", 3, "costs_in_order"),
    ("points as thousands", "13.330", "413.330", 3, "costs_in_order"),
    ("settings left of the numbers", "0.5,256", "0.5,16", 2, "twice"),
    ("one long method", "0.8,94,1.01", "0.8,94,2.02", 3, "times"),
    ("sparsities side by side", "0.829,93.43,145.61", "0.87,93.43,145.61", 4, "macs_off_the_curve"),
    ("a wide network", "4,magnitude,0.5,95.5", "1,magnitude,0.5,95.5", 4, "not_credible"),
    ("quoted decimal commas", "93,41", "934,1", 3, "out_of_range"),
]


@pytest.mark.parametrize(("name", "old", "new", "line", "check"), SLIPS)
def test_a_slip_there_is_found(tmp_path, name, old, new, line, check):
    done = audited(tmp_path, QUIET[name].replace(old, new))
    assert line in lines(done, check), [str(f) for f in done.findings]


@pytest.mark.parametrize("header", ["Test Acc. (%)", "Accelerated acc. (%)", "Top-1 acc. ↑"])
def test_a_header_with_a_dot_or_an_arrow_is_an_accuracy(tmp_path, header):
    done = audited(tmp_path, f"method,sparsity,{header}\ndense,0,93.5\nSNIP,0.9,192.2")
    assert lines(done, "out_of_range") == {3}


def test_an_accuracy_of_the_baseline_is_dense(tmp_path):
    table = "Method,Baseline acc. (%),Accelerated acc. (%),Acc. ↓ (%)\nA,92.2,90.8,1.4\nB,93.2,98.8,-5.6"
    done = audited(tmp_path, table)
    assert [(f.check, f.lines) for f in done.findings] == [("above_dense", (3,))]


def test_columns_that_no_check_reads_are_told(tmp_path):
    done = audited(
        tmp_path, "method,sparsity,acc,FLOPs ↓ (%),channels_pruned,median\nA,0.5,93.0,40.1,312,93.1"
    )
    assert done.sheet.unread == ("FLOPs ↓ (%)", "channels_pruned", "median")


OWN = ("live_density", "sparsity_of_updates", "layer_density", "density(k=2)", "sparsity_sd")


@pytest.mark.parametrize("module", ["my_rows", "lab.measures.rows"])
@pytest.mark.parametrize("row", OWN)
def test_a_column_of_a_row_of_the_author_is_no_sparsity(tmp_path, module, row):
    table = "method,sparsity,acc,{}\ndense,0,93.5,7.5\nA,0.5,93.1,0.9\nA,0.9,92.0,-2"
    done = audited(tmp_path, table.format(f"{module}:{row}"))
    assert not done.findings
    assert done.sheet.unread == (f"{module}:{row}",)
    assert {e.sparsity for e in done.sheet.entries} == {0.0, 0.5, 0.9}
    alone = audited(tmp_path, f"method,{module}:{row},acc\ndense,0.1,93.5\nA,0.5,93.1\nB,0.9,92.0")
    assert {e.sparsity for e in alone.sheet.entries if not e.dense} == {None}


@pytest.mark.parametrize("header", ["density", "live density", "density: live", "CIFAR-10:density"])
def test_a_density_beside_a_sparsity_that_it_does_not_fit_is_found(tmp_path, header):
    done = audited(tmp_path, f"method,sparsity,acc,{header}\nA,0.5,93.1,0.5\nA,0.8,92.5,0.2\nA,0.9,92.0,0.3")
    assert 4 in lines(done, "sparsity_statements")


def test_rows_of_the_author_that_end_in_numbers_are_no_levels(tmp_path):
    rows = ("lab.rows:sparsity_50", "lab.rows:sparsity_90")
    done = audited(tmp_path, f"method,sparsity,acc,{','.join(rows)}\nA,0.5,93.1,12,81\nA,0.9,92.0,14,95")
    assert {(e.column, e.sparsity) for e in done.sheet.entries} == {("acc", 0.5), ("acc", 0.9)}


def test_the_neighbour_of_a_slip_is_not_accused(tmp_path):
    done = audited(tmp_path, "method,sparsity,acc\ndense,0,93.5\nA,0.5,93.1\nA,0.8,9.29\nA,0.9,92.0")
    assert [(f.check, f.lines) for f in done.findings] == [("off_the_curve", (4,))]


def _large(name: str) -> str:
    """Tables with many methods, long curves, or many columns."""
    if name == "methods":
        return "\n".join(
            ["method,sparsity,acc", *(f"M{i},{s},9{i % 3}.1" for i in range(3000) for s in (0.5, 0.9))]
        )
    if name == "rounds":
        rows = [
            f"A{i % 50},{i % 90 / 100 + 0.05},it{i % 7},90 epochs a round,9{i % 3}.1" for i in range(3000)
        ]
        return "\n".join(["method,sparsity,schedule,recovery,acc", *rows])
    if name == "labels":
        rows = [f"A,0.9,{i % 80},{i // 80},{90 + i * 7919 % 1000 / 100}" for i in range(3000)]
        return "\n".join(["method,sparsity,lr,weight_decay,acc", *rows])
    if name == "curve":
        return "\n".join(["method,sparsity,acc", *(f"A,{i / 6000:.5f},90.{i * 7 % 10}" for i in range(6000))])
    columns = [f"{kind}_{i}" for kind in ("drop", "acc") for i in range(60)]
    cells = [[(i * 7 + j * 13) % 17 / 10 + 90 * (j > 59) for j in range(120)] for i in range(60)]
    rows = [[f"A,0.{i + 10}", *(f"{cell:.1f}" for cell in row)] for i, row in enumerate(cells)]
    return "\n".join(map(",".join, [["method", "sparsity", *columns], *rows]))


@pytest.mark.parametrize("name", ["methods", "rounds", "labels", "curve", "columns"])
def test_large_tables_take_seconds(tmp_path, name):
    start = time.perf_counter()
    audited(tmp_path, _large(name))
    assert time.perf_counter() - start < 20


def test_a_wrong_dense_number_is_one_finding(tmp_path):
    rows = ["dense,0,53.5", "A,0.5,93.1", "A,0.8,92.9", "A,0.9,92.0"]
    done = audited(tmp_path, "\n".join(["method,sparsity,acc", *rows]))
    assert [f.lines for f in done.findings if f.check == "above_dense"] == [(2, 3, 4, 5)]


def test_neighbours_within_a_curve_are_not_accused(tmp_path):
    rows = ["dense,0,94.0", "A,0.5,93.8", "A,0.7,53.4", "A,0.8,92.6", "A,0.9,90.9"]
    done = audited(tmp_path, "\n".join(["method,sparsity,acc", *rows]))
    assert [(f.check, f.lines) for f in done.findings] == [("off_the_curve", (4,))]


def test_superclasses_at_their_own_chance_are_no_top_5(tmp_path):
    rows = [("dense", 0, 16.1, 25.2), ("A", 0.5, 15.2, 24.0), ("A", 0.9, 9.7, 18.9), ("A", 0.99, 2.1, 5.0)]
    rows += [("B", 0.5, 14.0, 23.1), ("B", 0.9, 8.1, 16.6), ("B", 0.99, 2.2, 5.0)]
    table = "\n".join(f"cifar100,cnn,{m},{s},{a},{b}" for m, s, a, b in rows)
    done = audited(tmp_path, f"dataset,model,method,sparsity,acc,superclass_acc\n{table}")
    assert {finding.check for finding in done.findings} == {"chance"}
    assert lines(done, "chance") == {5, 8}
