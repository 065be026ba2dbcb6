"""Five criteria at five sparsities, LeNet-300-100, three seeds: what `prunery demo` runs.

Every arm trains for the same number of epochs in all. Random and magnitude prune the trained network
and fine-tune it; snip, grasp and synflow prune the untrained one and train it for both together.
"""

from __future__ import annotations

from prunery.lab.spec import Spec, from_plain
from prunery.studies.table import study

_SPARSITIES = ["50%", "90%", "95%", "98%", "99%"]


@study.add(name="demo")
def demo() -> Spec:
    """On MNIST."""
    return _spec("demo", data="mnist", dense=2, extra=2, learning_rate=0.1, batch=128)


@study.add(name="demo-digits")
def demo_digits() -> Spec:
    """On the 8×8 digits that come with the package, where MNIST cannot be had."""
    return _spec("demo-digits", data="digits", dense=30, extra=20, learning_rate=0.05, batch=32)


def _spec(name: str, *, data: str, dense: int, extra: int, learning_rate: float, batch: int) -> Spec:
    training = {
        "epochs": dense,
        "optimizer": "sgd",
        "learning_rate": learning_rate,
        "lr_schedule": "cosine",
        "warmup": 0.5,  # without it some networks pruned by grasp never recover from the first steps
        "batch": batch,
    }
    after = {"name": "finetune", "training": {"epochs": extra, "learning_rate": learning_rate / 2}}
    whole = {"name": "finetune", "training": {"epochs": dense + extra}}
    recoveries = {"random": after, "magnitude": after, "snip": whole, "grasp": whole, "synflow": whole}
    return from_plain(
        {
            "name": name,
            "task": {"model": "lenet300", "data": data, "training": training},
            "methods": [{"name": c, "criterion": c, "recovery": r} for c, r in recoveries.items()],
            "sparsities": _SPARSITIES,
            "seeds": 3,
            "controls": [],
        }
    )
