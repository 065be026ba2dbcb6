"""Weights or whole filters, at once or step by step, retrained fast or slowly?

Report B's small network on CIFAR-10 (`cnn8_bn`): every layer but the output alike, ten epochs of plain SGD
after each cut at one of three learning rates, measured before and after. The dense network is trained at the
report's 0.8, constant, in batches of 512; at that rate accuracy jumps by some points from one epoch to the
next, so its epoch is chosen on validation. Each of the report's twelve curves (figures 2 to 13: two kinds of
unit, two schedules, three learning rates) is a method here. Eight filters have seven levels between all and
none; more cannot be told apart, so filters are asked for in eighths.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from prunery.lab.spec import Spec, from_plain
from prunery.studies.table import ReportScale, controls, named, study

_WEIGHTS = ["10%", "20%", "30%", "40%", "50%", "60%", "70%", "80%", "90%", "95%", "99%"]
_EIGHTHS = ["12.5%", "25%", "37.5%", "50%", "62.5%", "75%", "87.5%"]
_RATES = (0.8, 0.01, 0.0001)
_FEWER = {  # levels of weights, and of filters
    "cpu": (["50%", "90%", "99%"], ["25%", "50%", "75%"]),
    "smoke": (["50%", "90%"], ["50%", "87.5%"]),
}


@study.add(name="structure-and-learning-rate")
def structure_and_learning_rate(*, scale: ReportScale = "cpu") -> Spec | dict[str, Spec]:
    """Three seeds and all images; ten epochs after each cut, but four, and three levels, at cpu.

    At gpu one seed, every level and a part for each learning rate; at smoke the digits.
    """
    if scale == "gpu":
        return {f"lr{rate:g}": _spec(f"lr{rate:g}", scale, (rate,), seeds=1) for rate in _RATES}
    rates = _RATES[1:2] if scale == "smoke" else _RATES
    return _spec("", scale, rates, seeds=2 if scale == "smoke" else 3)


def _spec(part: str, scale: ReportScale, rates: Sequence[float], *, seeds: int) -> Spec:
    small = scale == "smoke"
    training = {
        "epochs": 5 if small else 30,
        "optimizer": "sgd",
        "learning_rate": 0.8,
        "momentum": 0.0,
        "batch": 64 if small else 512,
        "select": "validation",
    }
    weights, eighths = _FEWER.get(scale, (_WEIGHTS, _EIGHTHS))
    epochs = {"smoke": 2, "cpu": 4}.get(scale, 10)
    methods = []
    for rate in rates:
        methods += _pair("weights", "weight", weights, rate, epochs)
        methods += _pair("filters L2", {"name": "filter", "norm": "l2"}, eighths, rate, epochs)
        if rate == 0.01 and scale in ("full", "gpu"):
            methods += _pair("filters L1", {"name": "filter", "norm": "l1"}, eighths, rate, epochs)
    return from_plain(
        {
            "name": named("structure-and-learning-rate", part, scale),
            "question": "Weights or whole filters, at once or step by step, retrained fast or slowly?",
            "task": {"model": "cnn8_bn", "data": "digits" if small else "cifar10", "training": training},
            "methods": methods,
            "sparsities": weights,
            "seeds": seeds,
            "before_recovery": True,
            **controls(scale),
        }
    )


def _pair(word: str, units: Any, levels: list[str], rate: float, epochs: int) -> list[dict[str, Any]]:
    """The two schedules of one kind of unit at one learning rate; the last epoch counts, as in the report."""
    training = {"epochs": epochs, "learning_rate": rate, "select": "last"}
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
