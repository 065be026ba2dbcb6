"""Is it better to prune at once, or by 10 % of what remains again and again?

Report A's question, with random pruning (what it ran) and magnitude (what it said). At its own unequal
budget, where a chain of k cuts retrains k times as long, and at equal budgets, where one cut is followed by
as many epochs as the whole chain. Chains land on 50, 75 and 90 % with their last cut; their published levels
(52.17, 77.12, 90.15 %) overshoot, and are measured too.
"""

from __future__ import annotations

from typing import Any

from prunery.lab.spec import Spec, from_plain
from prunery.studies.table import Scale, controls, named, study

_CHAINS = {"50%": 7, "75%": 14, "90%": 22}  # cuts by 10 % of what remains until the target is passed
_TRAINING: dict[str, Any] = {
    "optimizer": "sgd",
    "learning_rate": 0.1,
    "weight_decay": 5e-4,
    "lr_schedule": "cosine",
    "batch": 128,
    "augmentation": "crop_flip",
}


@study.add(name="one-shot-vs-iterative")
def one_shot_vs_iterative(*, scale: Scale = "cpu") -> Spec:
    """ResNet-18, 90 epochs a round; at cpu `cnn8` on 5 000 images, one epoch a round; at smoke digits."""
    if scale == "smoke":
        plain = {**_TRAINING, "epochs": 5, "batch": 64, "augmentation": "none"}
        task: dict[str, Any] = {"model": "cnn8", "data": "digits", "training": plain}
        return _spec(scale, task, {"epochs": 1, "learning_rate": 0.05}, {"50%": 7}, seeds=2)
    if scale == "cpu":
        # at 0.1, the reports' rate for ResNet-18, this plain network dies in its first epochs
        training = {**_TRAINING, "epochs": 30, "batch": 64, "learning_rate": 0.01}
        task = {"model": "cnn8", "data": "cifar10", "images": 5000, "training": training}
        return _spec(scale, task, {"epochs": 1, "learning_rate": 0.005}, _CHAINS, seeds=3)
    task = {"model": "resnet18", "data": "cifar10", "training": {**_TRAINING, "epochs": 90}}
    return _spec(scale, task, {"epochs": 90}, _CHAINS, seeds=3)


def _spec(
    scale: Scale, task: dict[str, Any], training: dict[str, Any], chains: dict[str, int], *, seeds: int
) -> Spec:
    methods = []
    for criterion in ("magnitude", "random"):
        methods += [
            _method(f"{criterion} one-shot", criterion, "one_shot", training, list(chains)),
            _method(f"{criterion} iterative", criterion, _TENTHS, training, list(chains)),
            _method(f"{criterion} iterative overshooting", criterion, _TENTHS, training, _overshot(chains)),
        ]
        for level, cuts in chains.items():
            longer = training | {"epochs": cuts * training["epochs"]}
            name = f"{criterion} one-shot {cuts}× epochs"
            methods.append(_method(name, criterion, "one_shot", longer, [level]))
    return from_plain(
        {
            "name": named("one-shot-vs-iterative", "", scale),
            "question": "Is it better to prune at once, or by 10 % of what remains again and again?",
            "task": task,
            "methods": methods,
            "sparsities": list(chains),
            "seeds": seeds,
            "test_curves": True,
            **controls(scale),
        }
    )


_TENTHS = {"name": "iterative", "fraction": 0.1}


def _method(
    name: str, criterion: str, schedule: Any, training: dict[str, Any], at: list[Any]
) -> dict[str, Any]:
    recovery = {"name": "finetune", "training": training}
    return {
        "name": name,
        "criterion": criterion,
        "schedule": schedule,
        "recovery": recovery,
        "sparsities": at,
    }


def _overshot(chains: dict[str, int]) -> list[float]:
    """What is removed by as many whole cuts of a tenth of what remains."""
    return [1 - 0.9**cuts for cuts in chains.values()]
