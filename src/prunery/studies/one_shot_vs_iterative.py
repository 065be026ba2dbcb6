"""Is it better to prune at once, or by 10 % of what remains again and again?

Report A's question, with random pruning (what it ran) and magnitude (what it said). At its own unequal
budget, where a chain of k cuts retrains k times as long, and at equal budgets, where one cut is followed by
as many epochs as the whole chain. Chains land on 50, 75 and 90 % with their last cut; their published levels
(52.17, 77.12, 90.15 %) overshoot, and are measured too: all 22 cuts of the longest chain where the report's
network is trained, as its tables 2 to 4 list them. The best epoch on test, which the report chose by, stands
beside as a diagnostic (`test_curves`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from prunery.lab.spec import Spec, from_plain
from prunery.studies.table import ReportScale, controls, named, study

_CHAINS = {"50%": 7, "75%": 14, "90%": 22}  # cuts by 10 % of what remains until the target is passed
_TENTHS = {"name": "iterative", "fraction": 0.1}
_CRITERIA = ("magnitude", "random")
_TRAINING: dict[str, Any] = {
    "optimizer": "sgd",
    "learning_rate": 0.1,
    "weight_decay": 5e-4,
    "lr_schedule": "cosine",
    "batch": 128,
    "augmentation": "crop_flip",
}


@study.add(name="one-shot-vs-iterative")
def one_shot_vs_iterative(*, scale: ReportScale = "cpu") -> Spec | dict[str, Spec]:
    """ResNet-18 as the report trained it at full: cosine over 200 epochs, stopped at 93 %, 90 epochs a round.

    At gpu in parts, 12 epochs and one a round; at cpu `cnn8` on 5 000 images, one epoch a round; at smoke
    digits.
    """
    if scale == "smoke":
        plain = {**_TRAINING, "epochs": 5, "batch": 64, "augmentation": "none"}
        task: dict[str, Any] = {"model": "cnn8", "data": "digits", "training": plain}
        short = {"epochs": 1, "learning_rate": 0.05}
        return _spec("", scale, task, _methods(short, {"50%": 7}, [7]), {"50%": 7}, seeds=2)
    if scale == "cpu":
        # at 0.1, the reports' rate for ResNet-18, this plain network dies in its first epochs
        training = {**_TRAINING, "epochs": 30, "batch": 64, "learning_rate": 0.01}
        task = {"model": "cnn8", "data": "cifar10", "images": 5000, "training": training}
        short = {"epochs": 1, "learning_rate": 0.005}
        return _spec("", scale, task, _methods(short, _CHAINS, _CHAINS.values()), _CHAINS, seeds=3)
    task = {"model": "resnet18", "data": "cifar10"}
    if scale == "gpu":
        one_cycle = {"lr_schedule": "linear", "warmup": 2, "nesterov": True, "precision": "bfloat16"}
        task["training"] = {**_TRAINING, **one_cycle, "epochs": 12}
        return _parts(task, {"epochs": 1, "learning_rate": 0.05, "warmup": 0})
    task["training"] = {**_TRAINING, "epochs": 200, "stop_at": 93}
    long = {"epochs": 90, "stop_at": None}
    return _spec("", scale, task, _methods(long, _CHAINS, range(1, 23)), _CHAINS, seeds=3)


def _parts(task: dict[str, Any], training: dict[str, Any]) -> dict[str, Spec]:
    """For each criterion, the report's unequal budget up to 75 % and on to 90 %, and an equal one.

    In one store the second part goes on with the chain of the first.
    """
    found: dict[str, Spec] = {}
    for criterion in _CRITERIA:
        methods = {
            f"{criterion}-75": _unequal(criterion, training, ["50%", "75%"], range(1, 15)),
            f"{criterion}-90": _unequal(criterion, training, ["90%"], range(15, 23)),
            f"{criterion}-equal": _equal(criterion, training, _CHAINS),
        }
        found |= {part: _spec(part, "gpu", task, some, _CHAINS, seeds=1) for part, some in methods.items()}
    return found


def _spec(
    part: str,
    scale: ReportScale,
    task: dict[str, Any],
    methods: list[dict[str, Any]],
    chains: dict[str, int],
    *,
    seeds: int,
) -> Spec:
    return from_plain(
        {
            "name": named("one-shot-vs-iterative", part, scale),
            "question": "Is it better to prune at once, or by 10 % of what remains again and again?",
            "task": task,
            "methods": methods,
            "sparsities": list(chains),
            "seeds": seeds,
            "test_curves": True,
            **controls(scale),
        }
    )


def _methods(training: dict[str, Any], chains: dict[str, int], measured: Any) -> list[dict[str, Any]]:
    """Every method of every criterion; `measured`: the cuts of a chain after which it is."""
    found = []
    for criterion in _CRITERIA:
        found += _unequal(criterion, training, list(chains), list(measured))
        found += _equal(criterion, training, chains)
    return found


def _unequal(
    criterion: str, training: dict[str, Any], targets: list[str], cuts: Sequence[int]
) -> list[dict[str, Any]]:
    overshot = [1 - 0.9**cut for cut in cuts]  # what is removed by so many whole cuts
    return [
        _method(f"{criterion} one-shot", criterion, "one_shot", training, targets),
        _method(f"{criterion} iterative", criterion, _TENTHS, training, targets),
        _method(f"{criterion} iterative overshooting", criterion, _TENTHS, training, overshot),
    ]


def _equal(criterion: str, training: dict[str, Any], chains: dict[str, int]) -> list[dict[str, Any]]:
    found = []
    for level, cuts in chains.items():
        longer = training | {"epochs": cuts * training["epochs"]}
        name = f"{criterion} one-shot {cuts}× epochs"
        found.append(_method(name, criterion, "one_shot", longer, [level]))
    return found


def _method(
    name: str, criterion: str, schedule: Any, training: dict[str, Any], at: Sequence[Any]
) -> dict[str, Any]:
    recovery = {"name": "finetune", "training": training}
    return {
        "name": name,
        "criterion": criterion,
        "schedule": schedule,
        "recovery": recovery,
        "sparsities": list(at),
    }
