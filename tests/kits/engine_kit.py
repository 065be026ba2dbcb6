"""Running plans whose work is pretended (see lab_fake), and hearing how it goes."""

import threading

from prunery.lab.engines import local
from prunery.lab.engines.outcome import Silent

WORK = "lab_fake:work"


def run(plan, store, *, workers=1, progress=None):
    return local.run(plan, store, workers=workers, progress=progress, work=WORK)


def log(fake):
    return [line.split() for line in (fake / "log").read_text().splitlines()]


def of_kind(plan, kind):
    return [key for key, step in plan.steps.items() if step.kind == kind]


class Heard(Silent):
    """A progress that remembers failures and epochs, and calls `then` once `after` steps are done."""

    def __init__(self, after=0, then=None):
        self.failures, self.epochs, self.left, self.then = [], [], after, then

    def failed(self, step, reason, *, final):
        self.failures.append((step.key, reason, final))

    def advanced(self, step, epochs):
        self.epochs.append((step.kind, epochs))

    def finished(self, step):
        self.left -= 1
        if self.left == 0 and self.then:
            threading.Thread(target=self.then).start()
