"""Modules with rows of a user's own, imported for one test: the registries are afterwards as they were."""

import sys
from contextlib import contextmanager

from prunery.core.criteria import criterion
from prunery.core.granularity import granularity
from prunery.core.schedule import schedule
from prunery.core.scope import scope
from prunery.forms.engines import form
from prunery.train.recovery import recovery

REGISTRIES = (criterion, granularity, scope, schedule, recovery, form)


@contextmanager
def registries_kept(*modules):
    """Within it rows may be entered; `modules` are forgotten on exit, and imported again when next named."""
    kept = [(r, dict(r._rows), {k: list(v) for k, v in r._bare.items()}) for r in REGISTRIES]
    try:
        yield
    finally:
        for registry, rows, bare in kept:
            registry._rows, registry._bare = rows, bare
        for module in modules:
            sys.modules.pop(module, None)
