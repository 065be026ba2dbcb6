"""Learning-rate schedules as one pure function of the step, so that resuming needs no scheduler state.

Linear warm-up: Goyal et al. 2017, section 2.2. Cosine: Loshchilov and Hutter 2017, eq. 5, without restarts.
"""

from __future__ import annotations

import math

from prunery.train.settings import Training


def learning_rate(step: int, *, total: int, training: Training) -> float:
    """The learning rate of step `step` (from 0) out of `total` steps over all epochs.

    Warm-up of W steps: `lr (step + 1) / W`. After it, with t = (step - W) / (total - W) in [0, 1):
    cosine `lr (1 + cos(pi t)) / 2`, linear `lr (1 - t)`, step `lr gamma^(milestones passed)`.
    """
    warm = round(training.warmup * total / training.epochs)
    if step < warm:
        return training.learning_rate * (step + 1) / warm
    t = (step - warm) / max(1, total - warm)
    return training.learning_rate * _factor(t, step * training.epochs // total, training)


def _factor(t: float, epochs_done: int, training: Training) -> float:
    if training.lr_schedule == "cosine":
        return (1 + math.cos(math.pi * t)) / 2
    if training.lr_schedule == "linear":
        return 1 - t
    # without milestones (constant) no power is taken: the factor is 1
    return float(training.gamma ** sum(epochs_done >= m for m in training.milestones))
