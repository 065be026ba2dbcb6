"""Does what holds for ten classes hold for a hundred?

The five criteria on CIFAR-100 (fine labels; its twenty superclasses as a part of their own) beside CIFAR-10,
trained alike; and accuracy against the number of classes, drawn at random.
"""

from __future__ import annotations

from typing import Any

from prunery.lab.spec import Spec, from_plain
from prunery.studies.five_criteria import COMPRESSIONS, FEWER, RATES, compared, short_parts, task
from prunery.studies.table import ReportScale, controls, named, study

QUESTION = "Does what holds for ten classes hold for a hundred?"
_SETS = {"cifar10": "cifar10", "cifar100": "cifar100", "coarse": "cifar100-coarse"}


@study.add(name="cifar100")
def cifar100(*, scale: ReportScale = "cpu") -> dict[str, Spec]:
    """VGG-16 with and without batch norm, ten epochs, as report E (which had none); at smoke digits.

    At cpu `cnn8`, five epochs on 12 000 images and three compressions; with fewer classes, as many images of
    each class as that is of a hundred. At gpu VGG-16 on CIFAR-100 for 3 epochs in bfloat16, three
    compressions a part; five-criteria has the same on CIFAR-10.
    """
    if scale == "smoke":
        digits = task("lenet300", "digits", epochs=3, learning_rate=3e-3)
        few = {
            f"classes{n}": _labels(scale, digits, n, seeds=2, sparsities=COMPRESSIONS[4:5]) for n in (3, 10)
        }
        return {"digits": _spec("digits", scale, digits, seeds=2), **few}
    if scale == "gpu":
        return short_parts("cifar100", "cifar100", question=QUESTION)
    small = scale == "cpu"
    net, epochs, rate, seeds = ("cnn8", 5, 3e-3, 3) if small else ("vgg16", 10, 3e-4, 3)
    tasks = {part: task(net, data, epochs=epochs, learning_rate=rate) for part, data in _SETS.items()}
    if small:
        del tasks["coarse"]
        tasks = {part: of_part | {"images": FEWER} for part, of_part in tasks.items()}
    else:
        tasks |= {f"{p}-bn": _with_norms(tasks[p], epochs) for p in ("cifar10", "cifar100")}
    levels = COMPRESSIONS[3:] if small else COMPRESSIONS
    parts = {p: _spec(p, scale, t, seeds=seeds, sparsities=levels) for p, t in tasks.items()}
    labels = {
        f"classes{n}": _labels(scale, tasks["cifar100"], n, seeds=3, sparsities=COMPRESSIONS[4:5])
        for n in (10, 20, 50, 100)
    }
    return {**parts, **labels}


def _with_norms(of_part: dict[str, Any], epochs: int) -> dict[str, Any]:
    return task("vgg16_bn", of_part["data"], epochs=epochs, learning_rate=RATES["vgg16_bn"])


def _spec(part: str, scale: ReportScale, of_part: dict[str, Any], **rest: Any) -> Spec:
    return compared("cifar100", part, scale, of_part, question=QUESTION, **rest)


def _labels(scale: ReportScale, of_part: dict[str, Any], classes: int, **rest: Any) -> Spec:
    """Magnitude and SynFlow at one compression, on some of the classes."""
    methods = [{"name": c, "criterion": c, "recovery": "finetune"} for c in ("magnitude", "synflow")]
    return from_plain(
        {
            "name": named("cifar100", f"classes{classes}", scale),
            "question": QUESTION,
            "task": of_part | (_some(of_part, classes) if classes < 100 else {}),
            "methods": methods,
            **rest,
            **controls(scale),
        }
    )


def _some(of_part: dict[str, Any], classes: int) -> dict[str, int]:
    """What a task says of fewer classes: how many, and their share of the images where not all are used."""
    images = {"images": of_part["images"] * classes // 100} if "images" in of_part else {}
    return {"classes": classes, **images}
