"""Weights or whole filters, at once or step by step, retrained fast or slowly?

Report B's `cnn8` on CIFAR-10: every layer but the output alike, ten epochs of plain SGD after each cut at one
of three learning rates, measured before and after. Eight filters have seven levels between all and none;
more cannot be told apart, so filters are asked for in eighths.
"""

from __future__ import annotations

from typing import Any

from prunery.lab.spec import Spec, from_plain
from prunery.studies.table import Scale, controls, named, study

_WEIGHTS = ["10%", "20%", "30%", "40%", "50%", "60%", "70%", "80%", "90%", "95%", "99%"]
_EIGHTHS = ["12.5%", "25%", "37.5%", "50%", "62.5%", "75%", "87.5%"]
_RATES = (0.8, 0.01, 0.0001)


@study.add(name="structure-and-learning-rate")
def structure_and_learning_rate(*, scale: Scale = "cpu") -> Spec:
    """The report's own size at full (three seeds) and cpu (one); the digits at smoke."""
    small = scale == "smoke"
    training = {
        "epochs": 5 if small else 30,
        "optimizer": "sgd",
        "learning_rate": 0.1,
        "lr_schedule": "cosine",
        "batch": 64 if small else 512,
    }
    weights, eighths = (_WEIGHTS[4::4], _EIGHTHS[3::3]) if small else (_WEIGHTS, _EIGHTHS)
    epochs = 2 if small else 10
    methods = []
    for rate in _RATES[1:2] if small else _RATES:
        methods += _pair("weights", "weight", weights, rate, epochs)
        methods += _pair("filters L2", {"name": "filter", "norm": "l2"}, eighths, rate, epochs)
        if rate == 0.01:
            methods += _pair("filters L1", {"name": "filter", "norm": "l1"}, eighths, rate, epochs)
    return from_plain(
        {
            "name": named("structure-and-learning-rate", "", scale),
            "question": "Weights or whole filters, at once or step by step, retrained fast or slowly?",
            "task": {"model": "cnn8", "data": "digits" if small else "cifar10", "training": training},
            "methods": methods,
            "sparsities": weights,
            "seeds": 3 if scale == "full" else 2 if small else 1,
            "before_recovery": True,
            **controls(scale),
        }
    )


def _pair(word: str, units: Any, levels: list[str], rate: float, epochs: int) -> list[dict[str, Any]]:
    """The two schedules of one kind of unit at one learning rate."""
    training = {"epochs": epochs, "learning_rate": rate, "lr_schedule": "constant", "momentum": 0.0}
    schedules = {"one-shot": "one_shot", "iterative": {"name": "iterative", "levels": levels}}
    return [
        {
            "name": f"{word} {kind} lr {rate:g}",
            "criterion": "magnitude",
            "granularity": units,
            "scope": "layer",
            "schedule": schedule,
            "recovery": {"name": "finetune", "training": training},
            "exclude": ["@output"],
            "sparsities": levels,
        }
        for kind, schedule in schedules.items()
    ]
