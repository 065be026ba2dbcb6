"""Weights, filters or channels: what is kept where, and is what is cut out better than a small network?

ResNet-8 on CIFAR-10, equal epochs for all. Channels are cut out of the network before it is measured; beside
each stands the small dense network of its shape, trained from scratch for as long. A share s of the channels
leaves about (1 - s)² of the weights, so weights are asked for at those sparsities.
"""

from __future__ import annotations

from typing import Any

from prunery.lab.spec import Spec, from_plain
from prunery.studies.table import Scale, controls, named, study

QUESTION = "Weights, filters or channels: what is kept where?"
_SHARES = ("25%", "50%", "75%")
_WEIGHTS = ("43.75%", "75%", "93.75%")


@study.add(name="channels")
def channels(*, scale: Scale = "cpu") -> Spec:
    """All images and 30 epochs at full; 6 000 images and 12 epochs at cpu; the digits at smoke."""
    small = scale == "smoke"
    epochs = {"full": 30, "cpu": 12, "smoke": 3}[scale]
    training = {
        "epochs": epochs,
        "optimizer": "sgd",
        "learning_rate": 0.05 if small else 0.1,
        "momentum": 0.9,
        "weight_decay": 0.0005,
        "lr_schedule": "cosine",
        "batch": 64 if small else 128,
    }
    task: dict[str, Any] = {
        "model": "resnet8",
        "data": "digits" if small else "cifar10",
        "training": training,
        **({"images": 6000} if scale == "cpu" else {}),
    }
    recovery = {"name": "finetune", "training": {"epochs": max(1, epochs // 2), "learning_rate": 0.02}}
    kinds = {
        "weights": ("weight", _WEIGHTS),
        "filters": ("filter", _SHARES),
        "channels": ("channel", _SHARES),
    }
    methods = [
        {
            "name": name,
            "criterion": "magnitude",
            "granularity": units,
            "scope": "layer",
            "exclude": ["@output"],
            "recovery": recovery,
            "sparsities": list(levels[1:2] if small else levels),
        }
        for name, (units, levels) in kinds.items()
    ]
    return from_plain(
        {
            "name": named("channels", "", scale),
            "question": QUESTION,
            "task": task,
            "methods": methods,
            "sparsities": list(_SHARES),
            "seeds": 2 if small else 3,
            **({"controls": ["magnitude"]} if scale == "cpu" else controls(scale)),
        }
    )
