"""What becomes of a deep narrow network that is pruned before training?

`fc` (784-100x5-10) on MNIST, 90 % removed at initialisation. The first layer, whose weights are drawn
smallest, loses most of them by magnitude, and all of them by SynFlow in one round; a floor on every layer
prevents it, and so do SynFlow's hundred rounds.
"""

from __future__ import annotations

from prunery.lab.spec import Spec, from_plain
from prunery.studies.table import study


@study.add(name="fc-at-init")
def fc_at_init() -> Spec:
    """Six ways of pruning `fc` at initialisation, the same ten epochs each; three seeds."""
    training = {
        "epochs": 10,
        "optimizer": "adam",
        "learning_rate": 2e-3,
        "lr_schedule": "cosine",
        "batch": 64,
    }
    methods = [
        {"name": "random", "criterion": "random", "at": "init"},
        {"name": "magnitude", "criterion": "magnitude", "at": "init"},
        {"name": "magnitude, floor 5 %", "criterion": "magnitude", "at": "init", "floor": 0.05},
        {"name": "snip", "criterion": "snip"},
        {"name": "synflow", "criterion": "synflow"},
        {"name": "synflow, one round", "criterion": "synflow", "schedule": "one_shot"},
    ]
    return from_plain(
        {
            "name": "fc-at-init",
            "task": {"model": "fc", "data": "mnist", "training": training},
            "methods": methods,
            "sparsities": ["90%"],
            "seeds": 3,
            "controls": [],
        }
    )
