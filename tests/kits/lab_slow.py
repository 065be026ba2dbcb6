"""Real work that first waits as long as the file `slow` in LAB_FAKE says (see lab_fake)."""

import time

from lab_fake import told

from prunery.lab.work import work as real


def work(step, store, scratch, **others):
    time.sleep(float(told("slow") or 0))
    return real(step, store, scratch, **others)
