"""Headers, cells and files as others write them: nothing is found in a table that is right."""

from __future__ import annotations

import pytest
from audit_kit import audited, lines

from prunery.audit.run import audit

QUIET = {
    "one layer after the other": """layer,0%,10%,20%,30%,40%,50%
        conv1,93.42,93.31,92.88,92.02,90.13,85.20
        layer4.1.conv2,93.42,93.42,93.42,93.42,93.42,93.41""",
    "channels make steps": """parameter,sparsity,top1
        features.0.weight,0.35,68.15
        features.0.weight,0.40,68.15
        features.0.weight,0.45,68.15
        features.0.weight,0.50,68.15
        features.0.weight,0.55,35.10""",
    "nothing lost at first": """method,sparsity,acc
        A,0,98.21
        A,0.05,98.21
        A,0.1,98.21
        A,0.15,98.21
        A,0.2,98.21
        A,0.9,96.03""",
    "top-1 and top-5 errors": """Model,Method,Top-1 Error (%),Top-5 Error (%)
        AlexNet,dense,42.78,19.73
        AlexNet,A,42.77,19.67""",
    "acc1 and acc5": """dataset,model,method,sparsity,post_acc1,post_acc5
        CIFAR10,resnet20,dense,0,0.9162,0.9971
        CIFAR10,resnet20,A,0.5,0.9120,0.9968""",
    "dense costs beside kept ones": """dataset,model,strategy,compression,flops,flops_nz,acc
        CIFAR10,resnet20,A,1,40551040,40551040,91.6
        CIFAR10,resnet20,A,8,40551040,12112331,90.2
        CIFAR10,resnet20,A,16,40551040,7112331,88.1""",
    "savings by their dense row": """Dataset,Model,Method,Top-1,Params (%),FLOPs (%),FLOPs PR
        CIFAR-10,ResNet-56,Baseline,93.26,0.0,0.0,0.0
        CIFAR-10,ResNet-56,L1,93.06,14.1,27.6,27.6
        CIFAR-10,ResNet-56,HRank,93.17,42.4,50.0,50.0""",
    "differences by other signs": """method,base acc,pruned acc,△Acc,dTop1,Top-1 gap,Loss
        A,93.0,92.9,-0.1,-0.1,-0.1,-0.1
        B,94.4,94.5,0.1,0.1,0.1,0.1
        C,94.0,93.8,-0.2,-0.2,-0.2,-0.2""",
    "German": """Datensatz;Netz;Verfahren;Sparsität;Genauigkeit
        CIFAR-10;ResNet-20;dicht;0 %;91,7
        CIFAR-10;ResNet-20;Magnitude;10 %;91,8
        CIFAR-10;ResNet-20;Magnitude;90 %;86,0""",
    "French": """jeu de données;réseau;méthode;parcimonie (%);précision (%)
        CIFAR-10;ResNet-20;aucune;0;91,7
        CIFAR-10;ResNet-20;amplitude;10;91,8
        CIFAR-10;ResNet-20;amplitude;90;86,0""",
    "Spanish": """conjunto;modelo;método;dispersión (%);exactitud (%);desviación
        CIFAR-10;ResNet-20;ninguno;0;91,7;0,1
        CIFAR-10;ResNet-20;magnitud;10;91,8;0,1
        CIFAR-10;ResNet-20;magnitud;90;86,0;0,4""",
    "chance of some classes": """model,dataset,method,sparsity,metric,mean,chance
        cnn8,cifar100,dense,0,test_top1,55.2,5
        cnn8,cifar100,A,90,test_top1,50.1,5""",
    "what is counted": """dataset,model,method,rewind epoch,CIFAR-10 rank,sparsity,test acc
        CIFAR-10,ResNet-20,IMP,0,10,0.8,90.4
        CIFAR-10,ResNet-20,IMP,5,5,0.8,91.3
        CIFAR-10,ResNet-20,IMP,10,1,0.8,91.4""",
    "nothing but counts": 'Pair,Number of Papers using Pair\n"CIFAR-10, VGG-16",10\n"MNIST, LeNet-5",12',
    "pretrained elsewhere": """Model,Pretraining,Sparsity (%),CIFAR-100,Flowers,Pets
        ResNet-50,ImageNet,0,85.4,95.9,93.3
        ResNet-50,ImageNet,80,84.9,95.5,92.8""",
    "from one data set to another": """source,target,model,sparsity,acc
        ImageNet,CIFAR-10,ResNet-50,0,97.3
        ImageNet,Pets,ResNet-50,0,93.3
        ImageNet,Pets,ResNet-50,80,92.9""",
    "the epochs of a run": """epoch,train_acc,val_acc,sparsity
        1,11.09,13.09,0.0
        2,45.2,46.0,0.0
        3,65.2,64.0,0.0
        4,75.2,73.0,0.2
        5,79.2,76.0,0.4
        6,82.2,78.0,0.6""",
    "seeds that stopped early": """method,sparsity,seed,epochs_run,acc
        A,0.9,0,41,90.4
        A,0.9,1,38,90.5
        A,0.9,2,52,90.5
        B,0.9,0,44,90.2
        B,0.9,1,57,90.4
        B,0.9,2,47,90.1""",
    "a sweep": """DKL loss coeff,global sparsity,Accuracy
        2.1e-7,0.7236,0.75532
        4.1e-7,0.7260,0.69884
        2.1e-7,0.7386,0.75558
        3.1e-7,0.7405,0.75732
        4.1e-7,0.7475,0.70738
        3.1e-7,0.7535,0.75740""",
    "methods below a pruning ratio": """Dataset,Pruning ratio,90%,95%,98%
        CIFAR-100,VGG19 (Baseline),74.16,-,-
        CIFAR-100,OBD,73.83,71.98,67.79
        CIFAR-100,SNIP,72.83,71.81,58.46
        CIFAR-100,GraSP,71.95,71.23,68.90""",
    "base models": """Base model,Keep ratio,Top-1 acc (%),Δ acc
        DeiT-S,1.0,79.8,0.0
        DeiT-S,0.9,79.7,-0.1
        DeiT-S,0.8,79.6,-0.2
        DeiT-S,0.7,79.3,-0.5
        LV-ViT-S,1.0,83.3,0.0
        LV-ViT-S,0.9,83.2,-0.1""",
    "nearly nothing left": """layer,sparsity,top1
        conv1,0.5,70.1
        conv1,0.6,62.3
        conv1,0.7,45.2
        conv1,0.8,12.8
        conv1,0.9,0.454""",
    "on its side": """CIFAR10-Resnet-164,Baseline,Sparsity (1e-5),Prune(40%),Prune(60%)
        Top1 Accuracy (%),94.75,94.76,94.58,47.73
        Parameters,1.71M,1.73M,1.45M,1.12M""",
    "metrics in rows": """Metric,Dense,Magnitude 50%,SNIP 50%
        Top-1 (%),93.6,93.4,93.3
        Params (M),14.7,7.4,7.4""",
    "merged cells": """Dataset,Architecture,Method,Baseline,Pruned Acc
        CIFAR-10,ResNet-18,OTO,93.02%,92.86%
        ,,ATO,94.41%,94.51%
        ,ResNet-56,FPGM,93.59%,93.49%
        ,,ATO,93.53%,93.45%""",
    "perplexities without a name": """Type,Sparsity,NNZ,Validation,Test
        Small,0%,7135600,101.13,96.29
        Large,0%,85917000,87.49,83.85
        Large,80%,16847550,89.31,83.64
        Large,95%,4295850,98.42,92.79""",
    "error bars": """dataset,model,method,sparsity,top1,err.
        ImageNet,ResNet-50,RigL,80,74.62,0.10
        ImageNet,ResNet-50,RigL,90,72.04,0.10""",
    "barriers": "Network,Dataset,Sparsity,Error barrier (%)\nResNet-20,CIFAR-10,20,1.3\nVGG-16,SVHN,98,12",
    "spreads in brackets": "Method,Sparsity,Accuracy\nA,0%,93.63 (±0.16)\nA,50%,93.41 (±0.12)",
    "pairs in a cell": "Method,Weights left,MNLI acc/MM acc\nA,100%,84.5/84.9\nA,10%,77.8/79.0",
    "links": "Model,Baseline acc,Pruned acc\nvgg,[70.6/89.5](http://a.b/),[67.6/88.0](http://a.b/c)",
    "a declared separator": '"sep=;"\nMethode;Sparsity;Accuracy\nDense;0;93,1\nL1;50;92,9',
    "a title": "Table 3: Accuracy on CIFAR-10 (%)\nMethod,50%,90%\nMagnitude,93.4,91.8\nSNIP,93.3,92.0",
    "epochs as columns": "Dataset,Model,FT epochs=0,FT epochs=40\nCIFAR-10,ResNet-56,10.4,93.1",
}


@pytest.mark.parametrize("name", QUIET)
def test_nothing_is_found(tmp_path, name):
    done = audited(tmp_path, QUIET[name])
    assert [str(f) for f in done.findings] == []
    assert done.sheet.entries


SLIPS = [  # table, what stood there, what stands there now, line, check: the rules above hide no slip
    ("nothing lost at first", "0.15,98.21", "0.15,8.21", 5, "off_the_curve"),
    ("top-1 and top-5 errors", "42.77,19.67", "19.67,42.77", 3, "wrong_metric"),
    ("acc1 and acc5", "0.9120,0.9968", "0.9968,0.9120", 3, "wrong_metric"),
    ("dense costs beside kept ones", "7112331", "47112331", 4, "costs_in_order"),
    ("differences by other signs", "94.4,94.5", "94.4,94.9", 3, "differences"),
    ("German", "90 %;86,0", "90 %;10,0", 4, "chance"),
    ("French", "90;86,0", "90;186,0", 4, "out_of_range"),
    ("Spanish", "0,4", "-0,4", 4, "impossible_spread"),
    ("what is counted", "0.8,91.4", "0.8,10.0", 4, "chance"),
    ("from one data set to another", "0,97.3", "0,10.0", 2, "chance"),
    ("base models", "79.3,-0.5", "79.3,-0.9", 5, "differences"),
    ("methods below a pruning ratio", "71.81,58.46", "71.81,88.46", 4, "off_the_curve"),
    ("on its side", "94.58", "194.58", 2, "out_of_range"),
    ("metrics in rows", "93.4", "193.4", 2, "out_of_range"),
    ("pairs in a cell", "77.8/79.0", "177.8/79.0", 3, "out_of_range"),
    ("a title", "91.8", "191.8", 3, "out_of_range"),
]


@pytest.mark.parametrize(("name", "old", "new", "line", "check"), SLIPS)
def test_a_slip_there_is_found(tmp_path, name, old, new, line, check):
    done = audited(tmp_path, QUIET[name].replace(old, new))
    assert line in lines(done, check), [str(f) for f in done.findings]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "latin-1"])
def test_encodings_of_spreadsheets(tmp_path, encoding):
    path = tmp_path / "table.csv"
    path.write_bytes("Verfahren;Sparsität;Genauigkeit\nA;0,5;93,1\nB;0,9;192,4".encode(encoding))
    done = audit(path)
    assert [(f.check, f.lines) for f in done.findings] == [("out_of_range", (3,))]
    assert done.sheet.columns[1] == "Sparsität"


def test_the_first_table_of_a_markdown_text(tmp_path):
    path = tmp_path / "report.md"
    table = "| method | epochs | 50 % | 90 % |\n|---|--:|--:|--:|\n| dense + 10 epochs | 20 | 97.6 | 97.6 |\n"
    rows = "| snip | 10 | 97.1 ±0.2 | 91.0 ±0.4 |\n| grasp | 10 | 96.9 | 190.2 |\n"
    path.write_text(
        f"# A study\n\nSome words, and more.\n\n{table}{rows}\nOther words.\n\n| a | b | c |\n|---|---|---|\n"
    )
    done = audit(path)
    assert [(f.check, f.lines) for f in done.findings] == [("out_of_range", (9,))]
    assert len(done.sheet.rows) == 3
