"""How far can LeNet-300-100 be pruned on MNIST by iterative magnitude pruning with fine-tuning?"""

from __future__ import annotations

from prunery.lab.spec import Spec, from_plain
from prunery.studies.table import study

_LEVELS = ["50%", "80%", "90%", "95%", "97%", "98%", "98.5%", "98.7%", "98.85%", "98.93%", "98.97%", "99%"]


@study.add(name="lenet300-iterative")
def lenet300_iterative() -> Spec:
    """Cuts to each level in turn, fine-tuned after each; no augmentation; five seeds."""
    training = {
        "epochs": 20,
        "optimizer": "sgd",
        "learning_rate": 0.1,
        "weight_decay": 5e-4,
        "label_smoothing": 0.1,
        "lr_schedule": "cosine",
        "batch": 128,
    }
    method = {
        "name": "magnitude, iterative",
        "criterion": "magnitude",
        "schedule": {"name": "iterative", "levels": _LEVELS},
        "recovery": {"name": "finetune", "training": {"epochs": 25}},
    }
    return from_plain(
        {
            "name": "lenet300-iterative",
            "task": {"model": "lenet300", "data": "mnist", "training": training, "validation": 3000},
            "methods": [method],
            "sparsities": _LEVELS,
            "seeds": 5,
            "controls": [],
        }
    )
