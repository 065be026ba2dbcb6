"""Engines by name, and one of a user's own; the work is pretended."""

import json

import pytest
from cli_kit import prunery
from engine_kit import Heard, of_kind
from lab_kit import planned, raw

from prunery.errors import ChoiceError
from prunery.lab.engines import local
from prunery.lab.engines.attempt import attempt
from prunery.lab.engines.engine import engine_named
from prunery.lab.engines.walk import Walk

OWN = """
import time
from prunery.lab.engines.attempt import attempt
from prunery.lab.engines.walk import Walk

def run(plan, store, *, workers, progress):
    with Walk(plan, store, progress) as walk:
        while walk.active:
            step = walk.take()
            if step is None:
                time.sleep(0.5)
                continue
            walk.hear(step, attempt(step, store, work="lab_fake:work", report=walk.reporter(step)))
    return walk.outcome()

def odd(plan, store):
    ...

def nothing(plan, store, *, workers, progress):
    ...
"""


def test_engines_have_names_and_users_have_their_own(tmp_path, monkeypatch, fake, store):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "own_engine.py").write_text(OWN)
    heard, plan = Heard(), planned(seeds=1)
    bad = of_kind(plan, "prune")[0]
    (fake / f"raise-{bad}").touch()
    outcome = engine_named("own_engine:run")(plan, store, workers=None, progress=heard)
    assert list(outcome.failed) == [bad]
    assert len(outcome.blocked) == 2
    assert len(outcome.done) == len(plan.steps) - 3
    assert ("train", 1.0) in heard.epochs
    assert engine_named("local") is local.run
    for name, found in {
        "locl": "did you mean 'local'",
        "own_engine:rum": "did you mean 'run'",
        "own_engine:odd": "cannot be called as an engine is",
        "nowhere:run": "there is no module 'nowhere'",
    }.items():
        with pytest.raises(ChoiceError, match=found):
            engine_named(name)
    with pytest.raises(ChoiceError, match="or use --engine ray"):
        engine_named("local", address="auto")
    with pytest.raises(ChoiceError, match="it returned NoneType"):
        engine_named("own_engine:nothing")(plan, store, workers=None, progress=None)


def test_the_command_line_takes_an_engine(tmp_path):
    (tmp_path / "own_engine.py").write_text(OWN)
    (tmp_path / "s.yaml").write_text(json.dumps(raw(seeds=1)))
    status, _, errors, torch = prunery("run", "s.yaml", "--engine", "raay", "--store", "other", cwd=tmp_path)
    assert (status, torch) == (2, False)
    assert "did you mean 'ray'" in errors
    assert not (tmp_path / "other").exists()
    status, _, errors, _ = prunery("run", "s.yaml", "--engine", "own_engine:nothing", cwd=tmp_path)
    assert status == 2
    assert "engine 'own_engine:nothing': it returned NoneType" in errors


def test_a_step_that_was_done_as_the_run_was_stopped_counts_as_done(fake, store):
    plan = planned(seeds=1)
    with Walk(plan, store) as walk:
        heard = walk.take()
        walk.hear(heard, attempt(heard, store, work="lab_fake:work", report=walk.reporter(heard)))
        unheard = walk.take(heard.key)
        attempt(unheard, store, work="lab_fake:work", report=walk.reporter(unheard))
        raise KeyboardInterrupt
    outcome = walk.outcome()
    assert outcome.interrupted
    assert outcome.done == (heard.key, unheard.key)
