"""How much can be removed from a trained network that is not trained again?

Magnitude in every layer alike, all but the output layer, as report C did it; and with one threshold for the
whole network, and with batch norm's statistics estimated anew. Beside these, what unlabelled images can do
without any epoch: second order and least squares, then a few hundred gradient steps towards the dense
network's outputs. Study `ladder` has the rungs between.
"""

from __future__ import annotations

from typing import Any

from prunery.lab.spec import Spec, from_plain
from prunery.studies.table import ReportScale, controls, named, study

_LEVELS = ["25%", "50%", "60%", "70%", "80%", "90%", "95%", "97%", "99%"]
_SCOPES = {"per layer": "layer", "global": "global"}
_MNIST = {"epochs": 20, "optimizer": "adam", "learning_rate": 1e-3, "batch": 128}
_SMOKE = {"epochs": 3, "optimizer": "adam", "learning_rate": 3e-3, "batch": 64}
_CIFAR = {
    "epochs": 200,
    "optimizer": "sgd",
    "learning_rate": 0.1,
    "weight_decay": 5e-4,
    "lr_schedule": "cosine",
    "batch": 128,
    "augmentation": "crop_flip",
}
_SHORT = {  # one-cycle: enough for the accuracy of the report's dense networks
    **_CIFAR,
    "epochs": 8,
    "nesterov": True,
    "lr_schedule": "linear",
    "warmup": 2,
    "precision": "bfloat16",
}


@study.add(name="no-retraining")
def no_retraining(*, scale: ReportScale = "cpu") -> dict[str, Spec]:
    """MNIST at the report's own size at cpu and full; its CIFAR-10 half as there at full.

    That half alone at gpu, by magnitude alone, per layer and global in parts of their own, the dense networks
    trained for 8 epochs; at cpu a smaller network stands for it.
    """
    if scale == "smoke":
        plain = {"data": "digits", "training": _SMOKE}
        return {
            "lenet300": _spec("lenet300", scale, {"model": "lenet300", **plain}, seeds=2),
            "resnet20": _spec("resnet20", scale, {"model": "resnet20", **plain}, seeds=1, norms=True),
        }
    if scale == "gpu":
        found = {}
        for net in ("resnet18", "resnet50"):
            task: dict[str, Any] = {"model": net, "data": "cifar10", "training": _SHORT}
            for word, scope in _SCOPES.items():
                part = net if scope == "layer" else f"{net}-{word}"
                found[part] = _spec(part, scale, task, seeds=1, norms=True, scopes={word: scope})
        return found
    mnist = {
        net: _spec(net, scale, {"model": net, "data": "mnist", "training": _MNIST}, seeds=5)
        for net in ("lenet300", "lenet5")
    }
    if scale == "cpu":  # a smaller network of the family, 15 epochs on 20 000 images
        training = {**_CIFAR, "epochs": 15}
        task = {"model": "resnet8", "data": "cifar10", "images": 20_000, "training": training}
        return {**mnist, "resnet8": _spec("resnet8", scale, task, seeds=3, norms=True)}
    cifar = {
        net: _spec(net, scale, {"model": net, "data": "cifar10", "training": _CIFAR}, seeds=3, norms=True)
        for net in ("resnet18", "resnet50")
    }
    return {**mnist, **cifar}


def _spec(
    part: str,
    scale: ReportScale,
    task: dict[str, Any],
    *,
    seeds: int,
    norms: bool = False,
    scopes: dict[str, str] = _SCOPES,
) -> Spec:
    recoveries = {"": "none", " + BN estimated": "bn"} if norms else {"": "none"}
    methods = [
        {
            "name": word + more,
            "criterion": "magnitude",
            "scope": scope,
            "exclude": ["@output"],
            "recovery": recovery,
        }
        for more, recovery in recoveries.items()
        for word, scope in scopes.items()
    ]
    if scale in ("cpu", "full") or not norms:
        methods += _repaired(scale)
    return from_plain(
        {
            "name": named("no-retraining", part, scale),
            "question": "How much can be removed from a trained network that is not trained again?",
            "task": task,
            "methods": methods,
            "sparsities": _LEVELS if scale != "smoke" else _LEVELS[1::3],
            "seeds": seeds,
            **controls(scale),
        }
    )


def _repaired(scale: ReportScale) -> list[dict[str, Any]]:
    images, steps = (256, 20) if scale == "smoke" else (4096, 300)
    solved = {"name": "reconstruct", "images": images}
    aligned = {"name": "align", "images": images, "steps": steps, "learning_rate": 0.002}
    rungs = {"obs + reconstruct": [solved], "obs + reconstruct + align": [solved, aligned]}
    choices = {"criterion": "obs", "scope": "global", "exclude": ["@output"]}
    return [{"name": name, **choices, "recovery": recovery} for name, recovery in rungs.items()]
