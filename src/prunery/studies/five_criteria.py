"""Which of five criteria keeps a network's accuracy best, and what do the networks look like that they leave?

Random, magnitude (of the trained network), SNIP, GraSP and SynFlow at six compressions, the same training
after pruning for all; GraSP for twice as long too, and SynFlow in a single round, which empties layers.
"""

from __future__ import annotations

from typing import Any

from prunery.lab.spec import Spec, from_plain
from prunery.studies.table import ReportScale, controls, named, study

FEWER = 12_000  # training images of CIFAR-10 and CIFAR-100, at cpu
QUESTION = "Which of five criteria keeps a network's accuracy best?"
COMPRESSIONS = [f"compression={c}" for c in (0.05, 0.1, 0.2, 0.5, 1, 2)]
HALVES = {"mild": COMPRESSIONS[:3], "harsh": COMPRESSIONS[3:]}
RATES = {"vgg16": 3e-4, "vgg16_bn": 1e-3}  # a plain VGG-16 does not learn at Adam's usual 0.001


@study.add(name="five-criteria")
def five_criteria(*, scale: ReportScale = "cpu") -> dict[str, Spec]:
    """`fc` on MNIST at every scale but smoke, and VGG-16 on CIFAR-10 (with and without batch norm) at full.

    At cpu `cnn8`, a plain network of three convolutions, stands for VGG-16, on 12 000 images; VGG-16 itself
    is trained for four epochs on 6 000 images, at one compression: enough for magnitude to mean something, so
    that the MACs and densities that each criterion leaves can be compared, not for its accuracy to.
    """
    if scale == "smoke":
        digits = task("lenet300", "digits", epochs=3, learning_rate=3e-3)
        return {"lenet300": compared("five-criteria", "lenet300", scale, digits, seeds=2)}
    if scale == "gpu":
        return short_parts("five-criteria", "cifar10")
    found = {"fc": _named("fc", scale, task("fc", "mnist", epochs=10), seeds=3)}
    if scale == "cpu":
        cnn = task("cnn8", "cifar10", epochs=5, learning_rate=3e-3) | {"images": FEWER}
        macs = task("vgg16", "cifar10", epochs=4, learning_rate=3e-4) | {"images": 6000, "validation": 1000}
        return {
            **found,
            "cnn8": _named("cnn8", scale, cnn, seeds=3, sparsities=COMPRESSIONS[3:]),
            "vgg16": _named("vgg16", scale, macs, seeds=1, sparsities=COMPRESSIONS[3:4]),
        }
    nets = {net: task(net, "cifar10", epochs=100, learning_rate=rate) for net, rate in RATES.items()}
    return {**found, **{net: _named(net, scale, of_net, seeds=3) for net, of_net in nets.items()}}


def _named(part: str, scale: ReportScale, of_part: dict[str, Any], **options: Any) -> Spec:
    return compared("five-criteria", part, scale, of_part, **options)


def task(model: str, data: str, *, epochs: int, learning_rate: float = 1e-3) -> dict[str, Any]:
    """The reports' training: Adam at a constant rate, batches of 64, no augmentation."""
    training = {"epochs": epochs, "optimizer": "adam", "learning_rate": learning_rate, "batch": 64}
    return {"model": model, "data": data, "training": training}


def short_parts(study: str, data: str, **options: Any) -> dict[str, Spec]:
    """VGG-16 with and without batch norm at gpu: 3 epochs in bfloat16, three compressions a part."""
    found = {}
    for net, rate in RATES.items():
        of_net = task(net, data, epochs=3, learning_rate=rate)
        of_net["training"]["precision"] = "bfloat16"
        for half, levels in HALVES.items():
            part = f"{net}-{half}"
            found[part] = compared(study, part, "gpu", of_net, seeds=1, sparsities=levels, **options)
    return found


def compared(
    study: str,
    part: str,
    scale: ReportScale,
    of_part: dict[str, Any],
    *,
    seeds: int,
    sparsities: list[str] | None = None,
    question: str = QUESTION,
) -> Spec:
    """The five criteria and two variations on one task."""
    once = {"recovery": "finetune"}  # the task's epochs, half of what magnitude has before and after
    longer = {"name": "finetune", "training": {"epochs": 2 * of_part["training"]["epochs"]}}
    methods: list[dict[str, Any]] = [
        {"name": "random", "criterion": "random", "at": "init", **once},
        {"name": "magnitude", "criterion": "magnitude"},
        {"name": "snip", "criterion": "snip", **once},
        {"name": "grasp", "criterion": "grasp", **once},
        {"name": "grasp 2× epochs", "criterion": "grasp", "recovery": longer},
        {"name": "synflow", "criterion": "synflow", **once},
        {"name": "synflow 1 round", "criterion": "synflow", "schedule": "one_shot", **once},
    ]
    return from_plain(
        {
            "name": named(study, part, scale),
            "question": question,
            "task": of_part,
            "methods": methods,
            "sparsities": sparsities or (COMPRESSIONS if scale != "smoke" else COMPRESSIONS[3:]),
            "seeds": seeds,
            **controls(scale),
        }
    )
