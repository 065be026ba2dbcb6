"""Studies by name: questions with their grids, as functions that return a Spec. Data, no logic."""

from prunery.studies import demo, fc_at_init, lenet300_iterative
from prunery.studies.table import study

__all__ = ["demo", "fc_at_init", "lenet300_iterative", "study"]
