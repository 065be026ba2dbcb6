"""Mask updates of a user's own, good and bad, named as `own_updates:...`; see `own_rows`."""

from dataclasses import dataclass

from prunery import prune
from prunery.core.schedule import schedule


@dataclass(frozen=True)
class Once:
    """Prunes to a sparsity before one step."""

    sparsity: float
    step: int

    def due(self, step, total):
        return step == self.step

    def __call__(self, context):
        return prune(context.model, self.sparsity, masks=context.masks)


@schedule.add(during=True, at="init", source="a test")
def early(sparsity, start=0.0):
    """Cut before the third step."""
    return Once(sparsity, 2)


@schedule.add(during=True, at="init", source="a test")
def never(sparsity, start=0.0):
    """Never cut."""
    return Once(sparsity, 10**9)


@schedule.add(during=True, at="init", source="a test")
def late(sparsity, start=0.0):
    """Cut a little too much."""
    return Once(sparsity + 0.001, 2)
