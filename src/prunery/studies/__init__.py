"""Studies by name: questions with their grids, as functions that return Specs. Data, no logic."""

from prunery.studies import (
    channels,
    cifar100,
    demo,
    fc_at_init,
    five_criteria,
    ladder,
    lenet300_iterative,
    no_retraining,
    one_shot_vs_iterative,
    structure_and_learning_rate,
)
from prunery.studies.table import study

__all__ = [
    "channels",
    "cifar100",
    "demo",
    "fc_at_init",
    "five_criteria",
    "ladder",
    "lenet300_iterative",
    "no_retraining",
    "one_shot_vs_iterative",
    "structure_and_learning_rate",
    "study",
]
