"""Worker processes: what they read, what outlives them, how their death is seen. The work is pretended."""

import os
import subprocess
import sys
import time

from engine_kit import WORK, Heard, of_kind, run
from lab_kit import linux, planned, wait_until

from prunery.lab.engines import pool


def test_work_finds_its_standard_input_empty(fake, store):
    (fake / "input").touch()
    read, write = os.pipe()
    os.write(write, b"typed by somebody")
    os.close(write)
    kept = os.dup(0)
    os.dup2(read, 0)
    try:
        assert run(planned(seeds=1), store).complete
    finally:
        os.dup2(kept, 0)
    assert {*(fake / "input").read_text().split()} == {"''"}


@linux
def test_what_a_step_forks_off_keeps_neither_pipe_nor_lock(fake, store):
    """A worker dies while a process of its lives on: that is seen at once, and its step is free again."""
    plan, heard = planned(seeds=1), Heard()
    (fake / "fork").write_text("20")
    (fake / f"kill-{of_kind(plan, 'init')[0]}").write_text("1")
    began = time.monotonic()
    outcome = run(plan, store, progress=heard)
    assert time.monotonic() - began < 15
    assert outcome.complete
    assert len(heard.failures) == 1
    assert store.running() == []
    assert (fake / "open").read_text() == ""


def test_a_worker_is_seen_dead_though_another_process_holds_its_pipe(tmp_path, monkeypatch):
    read, held = os.pipe()
    os.set_blocking(read, False)

    def spawned():
        process = subprocess.Popen([sys.executable, "-c", "raise SystemExit(3)"])
        return pool.Worker(process, os.open(os.devnull, os.O_WRONLY), read)

    monkeypatch.setattr(pool, "_spawned", spawned)
    answers = []
    with pool.Pool(1, work=WORK, store=tmp_path) as few:
        assert wait_until(lambda: answers.extend(few.answers(0.1)) or answers, 10)
        ((_, answer),) = answers
    assert answer == {"is": "dead", "reason": "it ended with status 3"}
    os.close(held)
