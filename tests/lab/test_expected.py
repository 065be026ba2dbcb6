"""What a study will take: rates of records and of a trial, bytes, the controls' share, and who is asked."""

import io
import json
import sys

import pytest
import torch
from lab_kit import do, planned, raw, spec
from rich.console import Console

from prunery.cli import expected
from prunery.errors import PruneryError
from prunery.lab.estimate import Estimate, Rates, Trial, control_epochs, estimate
from prunery.lab.plan import plan
from prunery.lab.progress import amount
from prunery.lab.store import Store
from prunery.lab.work.trial import is_short, trial, trial_plain

WEIGHTS = 4 * (64 * 300 + 300 + 300 * 100 + 100 + 100 * 10 + 10)  # bytes of lenet300 on digits


def steps(made, kind):
    return [step for step in made.steps.values() if step.kind == kind]


def test_one_step_of_each_kind_is_tried_and_none_where_trainings_are_known():
    small = {"name": "finetune", "training": {"batch": 32}}
    made = planned(methods=[{"criterion": "magnitude", "recovery": small}, {"criterion": "snip"}])
    rates = Rates()
    found = rates.unknown(made.steps.values())
    assert [step.kind for step in found] == ["train", "recover", "measure"]
    assert [step.args.get("training", {}).get("batch") for step in found] == [128, 32, None]
    rates.learn(found, Trial({step.key: 6.0 for step in found}, {found[0].key: 1000}))
    assert rates.unknown(made.steps.values()) == []
    # 6 seconds for 2 epochs, or for a measurement
    trained = sum(step.epochs for step in made.steps.values())
    assert rates.seconds(made.steps.values()) == pytest.approx(3 * trained + 6 * len(steps(made, "measure")))


def test_bytes_are_those_that_the_store_keeps(tmp_path):
    made = planned(seeds=1, sparsities=[0.9], task={**raw()["task"], "validation": 10})
    rates = Rates()
    tried = rates.unknown(made.steps.values())
    rates.learn(tried, trial(tried, seconds=0.01))
    guessed = estimate(made, (), rates).bytes
    store = Store(tmp_path / "store")
    for step in made.steps.values():
        do(step, store)
    kept = sum(path.stat().st_size for path in tmp_path.rglob("*.safetensors"))
    assert kept == pytest.approx(guessed, rel=0.05)
    told = Rates.of_records(store.record(key) for key in store.finished())
    assert told.bytes(made.steps.values()) == guessed
    assert estimate(made, (), Rates()).bytes is None


def test_a_trial_tells_seconds_and_bytes_and_leaves_threads_alone(tmp_path):
    before = torch.get_num_threads()
    trial(steps(planned(seeds=1, threads=before + 1), "measure")[:1], seconds=0.01)
    assert torch.get_num_threads() == before
    made = planned(seeds=1)
    (train,), measure = steps(made, "train"), steps(made, "measure")[0]
    tried = trial([train, measure], seconds=0.2)
    assert set(tried.bytes.values()) == {WEIGHTS}
    assert 0 < tried.seconds[measure.key] < tried.seconds[train.key] < 60
    longer = planned(seeds=1, task={**raw()["task"], "training": {**train.args["training"], "epochs": 2000}})
    (other,) = steps(longer, "train")
    ratio = trial([other], seconds=0.2).seconds[other.key] / tried.seconds[train.key]
    assert 100 < ratio < 10_000, "a thousand times the epochs"
    trial_plain(**expected.told([train], tmp_path / "t.json", 0.1))
    assert expected.answer(tmp_path / "t.json").bytes == {train.key: WEIGHTS}
    assert expected.answer(tmp_path / "nothing.json") is None


def test_a_trial_needs_no_data_set(monkeypatch, tmp_path):
    monkeypatch.delenv("PRUNERY_DATA", raising=False)
    monkeypatch.setenv("PRUNERY_CACHE", str(tmp_path))
    made = planned(seeds=1, task={**raw()["task"], "model": "resnet8", "data": "cifar100", "classes": 20})
    tried = trial(steps(made, "train"), seconds=0.1)
    assert next(iter(tried.seconds.values())) > 0


def test_the_controls_share_is_what_leaving_them_out_saves():
    asked = spec(methods=[{"criterion": "snip"}], controls=["random", "magnitude"], seeds=1)
    made = plan(asked)
    without = plan(asked.model_copy(update={"controls": ()}))
    # shuffled snip and magnitude at two sparsities, 2 epochs each, and dense with magnitude's epochs
    assert control_epochs(asked, made) == 2 * 2 + (2 * 2 + 2 * 2) + 2
    assert control_epochs(asked, made) == made.epochs() - without.epochs()
    assert control_epochs(spec(), planned()) == 0


@pytest.mark.parametrize(
    ("size", "text"), [(400, "0 kB"), (812_646, "813 kB"), (14e6, "14 MB"), (6.15e9, "6.2 GB")]
)
def test_amounts(size, text):
    assert amount(size) == text


def left(seconds, size):
    return Estimate({}, {}, 0, 0, 0, seconds, size)


@pytest.fixture
def asked(monkeypatch):
    """A function that asks about estimates: on a terminal with that answer, or without one."""

    def ask(estimates, answer=None):
        monkeypatch.setattr(sys, "stdin", io.StringIO("" if answer is None else f"{answer}\n"))
        monkeypatch.setattr(sys.stdin, "isatty", lambda: answer is not None)
        out = io.StringIO()
        console = Console(file=out, force_terminal=answer is not None, width=200)
        return expected.agreed("s.yaml", estimates, 2, console), out.getvalue()

    return ask


def test_short_and_unknown_studies_are_not_asked_about(asked):
    assert asked([left(7200, 5_000_000_000)]) == (True, "")
    assert asked([left(None, None)]) == (True, "")
    assert asked([]) == (True, "")


def test_long_or_large_ones_are(asked):
    with pytest.raises(PruneryError, match=r"about 2\.0 h with 2 workers, and 3 MB.*Add --yes"):
        asked([left(7200, 1e6), left(7200, 2e6)])
    with pytest.raises(PruneryError, match=r"about 6\.0 GB in the store.*Add --yes"):
        asked([left(None, 6e9)])
    done, said = asked([left(9000, None)], "y")
    assert (done, said) == (
        True,
        "s.yaml: it takes about 75 min with 2 workers, and 0 kB in the store. Run it? [y/N] ",
    )
    assert asked([left(9000, None)], "n")[0] is False
    assert asked([left(9000, None)], "")[0] is False


def test_what_is_told_to_a_process_apart_is_plain():
    made = planned(seeds=1)
    told = expected.told(list(made.steps.values()), "x.json", 1.0)
    assert json.loads(json.dumps(told)) == told


def test_a_study_that_is_short_on_any_machine_needs_no_trial():
    training = raw()["task"]["training"]
    assert is_short(planned().steps.values())
    longer = planned(task={**raw()["task"], "training": {**training, "epochs": 100}})
    assert not is_short(longer.steps.values())
    assert not is_short(planned(seeds=1, task={**raw()["task"], "data": "mnist"}).steps.values())
    assert not is_short(planned(seeds=1, task={**raw()["task"], "model": "lab_nets:normed"}).steps.values())
