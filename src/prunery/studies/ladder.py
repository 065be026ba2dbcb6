"""What does each rung of repair give back of what a cut took, without retraining?

From nothing through batch norm, biases, channels, least squares, blocks and outputs to a short fine-tuning,
each rung on top of the one cut: magnitude or second order. Who competes with whom, whose outputs a loss is
of, and on how many images least squares look, are factors. All but the last rung see no labels.
"""

from __future__ import annotations

from typing import Any

from prunery.lab.spec import Spec, from_plain
from prunery.studies.table import Scale, controls, named, study

_LEVELS = ["50%", "60%", "70%", "80%", "90%", "95%", "98%", "99%"]
_SCOPES = ("global", "layer", "repairable")
_SIZES = (256, 1024, 4096)
_OBS = "obs(outputs='model')"
_MNIST = {"epochs": 20, "optimizer": "adam", "learning_rate": 1e-3, "batch": 128}
_CIFAR = {
    "epochs": 160,
    "optimizer": "sgd",
    "learning_rate": 0.1,
    "weight_decay": 5e-4,
    "lr_schedule": "cosine",
    "batch": 128,
    "augmentation": "crop_flip",
}


@study.add(name="ladder")
def ladder(*, scale: Scale = "cpu") -> dict[str, Spec]:
    """LeNets on MNIST, ResNets on CIFAR-10; at cpu ResNet-8 on 10 000 images, three scopes for one rung."""
    if scale == "smoke":
        training = {"epochs": 4, "optimizer": "adam", "learning_rate": 3e-3, "batch": 64}
        return {
            net: _spec(net, scale, {"model": net, "data": "digits", "training": training})
            for net in ("lenet300", "resnet8")
        }
    mnist = {net: _spec(net, scale, _task(net, "mnist", _MNIST)) for net in ("lenet300", "lenet5")}
    if scale == "cpu":
        task = {**_task("resnet8", "cifar10", {**_CIFAR, "epochs": 15}), "images": 10_000}
        return {**mnist, "resnet8": _spec("resnet8", scale, task)}
    cifar = {net: _spec(net, scale, _task(net, "cifar10", _CIFAR)) for net in ("resnet8", "resnet20")}
    return {**mnist, **cifar}


def _task(model: str, data: str, training: dict[str, Any]) -> dict[str, Any]:
    return {"model": model, "data": data, "training": training}


def _rungs(net: str, scale: Scale) -> dict[str, tuple[str, Any]]:
    """Return by name what cuts and what repairs, from the lowest rung."""
    images, steps = (256, 20) if scale == "smoke" else (4096, 300)
    norms = net.startswith("resnet")
    solved = {"name": "reconstruct", "images": images}
    aligned = {"name": "align", "images": images, "steps": steps, "learning_rate": 0.002}
    if norms and scale != "smoke":
        aligned["augmentation"] = "crop_flip"
    blocks = {"name": "distill_blocks", "images": images, "steps": steps // 2}
    tuned = {"name": "finetune", "training": {"epochs": 2, "learning_rate": 0.01 if norms else 0.001}}
    return {
        "magnitude": ("magnitude", "none"),
        **({"magnitude + bn": ("magnitude", "bn")} if norms else {}),
        "magnitude + bias": ("magnitude", {"name": "bias", "images": images}),
        "magnitude + repair": ("magnitude", {"name": "repair", "images": images}),
        "magnitude + reconstruct": ("magnitude", solved),
        "obs": (_OBS, "none"),
        "obs + reconstruct": (_OBS, solved),
        "obs by layer + reconstruct": ("obs", solved),
        "obs + reconstruct + distill_blocks": (_OBS, [solved, blocks]),
        "obs + reconstruct + align": (_OBS, [solved, aligned]),
        "obs + reconstruct + finetune": (_OBS, [solved, tuned]),
    }


def _methods(net: str, scale: Scale) -> list[dict[str, Any]]:
    methods = []
    for rung, (criterion, recovery) in _rungs(net, scale).items():
        every = scale == "full" or rung == "obs + reconstruct"
        for scope in _SCOPES if every and scale != "smoke" else _SCOPES[:1]:
            method = {"criterion": criterion, "scope": scope, "exclude": ["@output"], "recovery": recovery}
            methods.append({"name": rung if scope == "global" else f"{rung} ({scope})", **method})
    for images in _SIZES[:-1] if scale != "smoke" else ():
        recovery = {"name": "reconstruct", "images": images}
        method = {"criterion": _OBS, "scope": "global", "exclude": ["@output"], "recovery": recovery}
        methods.append({"name": f"obs + reconstruct ({images} images)", **method})
    return methods


def _spec(net: str, scale: Scale, task: dict[str, Any]) -> Spec:
    levels = {"smoke": ["80%"], "cpu": ["50%", "80%", "90%", "95%", "98%"], "full": _LEVELS}[scale]
    return from_plain(
        {
            "name": named("ladder", net, scale),
            "task": task,
            "methods": _methods(net, scale),
            "sparsities": levels,
            "seeds": {"smoke": 1, "cpu": 3, "full": 5}[scale],
            **controls(scale),
        }
    )
