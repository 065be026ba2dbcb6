"""A training that is interrupted, killed or handed a damaged checkpoint ends with the same bits."""

import logging
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from train_kit import StopError, digits, half_masks, network, norm_network, same, settings, stop_at, weights

from prunery.train import loop
from prunery.train.loop import fit
from prunery.train.state import TrainState

SPLITS = digits()
STEPS = -(-len(SPLITS.train) // 128)


@pytest.fixture(autouse=True)
def _save_always(monkeypatch):
    monkeypatch.setattr(loop, "BETWEEN_EPOCHS", 0.0)
    monkeypatch.setattr(loop, "WITHIN_EPOCH", 0.0)


CASES = {
    "sgd": (network, settings(weight_decay=0.01), False),
    "masked": (network, settings(weight_decay=0.01, clip_norm=0.5), True),
    "adam": (
        norm_network,
        settings(optimizer="adam", learning_rate=0.01, lr_schedule="linear", warmup=0.5),
        True,
    ),
    "adamw": (network, settings(optimizer="adamw", learning_rate=0.01, augmentation="flip"), False),
    "half": (norm_network, settings(precision="bfloat16", weight_decay=0.01), True),
    "dropout": (lambda: network(dropout=0.3), settings(select="validation", learning_rate=0.5), True),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("step", [0, 1, STEPS - 1, STEPS, 2 * STEPS + 5])
def test_interrupted_at_a_step(case, step, tmp_path):
    build, training, masked = CASES[case]
    masks = half_masks(build()) if masked else None
    whole, broken, again = build(), build(), build()
    history = fit(whole, SPLITS, training, seed=1, masks=masks)
    hook, _ = stop_at(step)
    broken.register_forward_pre_hook(hook)
    with pytest.raises(StopError):
        fit(broken, SPLITS, training, seed=1, masks=masks, checkpoint=tmp_path / "state")
    hook, steps = stop_at(10**9)
    handle = again.register_forward_pre_hook(hook)
    resumed = fit(again, SPLITS, training, seed=1, masks=masks, checkpoint=tmp_path / "state")
    handle.remove()
    assert resumed == history
    assert same(weights(again), weights(whole))
    assert steps[0] == 4 * STEPS - step, "it did not resume where it was stopped"


@pytest.mark.parametrize("epoch", [1, 3, 4])
def test_interrupted_between_epochs(epoch, tmp_path):
    def interrupt(row):
        if row.epoch == epoch:
            raise KeyboardInterrupt

    training, whole, model = settings(select="validation"), network(), network()
    history = fit(whole, SPLITS, training, seed=1)
    with pytest.raises(KeyboardInterrupt):
        fit(model, SPLITS, training, seed=1, checkpoint=tmp_path / "state", on_epoch=interrupt)
    rows = []
    assert (
        fit(model, SPLITS, training, seed=1, checkpoint=tmp_path / "state", on_epoch=rows.append) == history
    )
    assert [row.epoch for row in rows] == list(range(epoch + 1, 5))
    assert same(weights(model), weights(whole))


def test_a_finished_training_is_not_repeated(tmp_path):
    training = settings(epochs=12, lr_schedule="constant", learning_rate=0.5, select="validation")
    model, again, rows = network(), network(seed=8), []
    history = fit(model, SPLITS, training, seed=2, checkpoint=tmp_path / "state")
    assert history.chosen < 12, "the last epoch is the best: change the seed"
    assert [p.name for p in tmp_path.iterdir()] == ["state"]
    resumed = fit(again, SPLITS, training, seed=2, checkpoint=tmp_path / "state", on_epoch=rows.append)
    assert (resumed, rows) == (history, [])
    assert same(weights(again), weights(model))


def test_the_seconds_of_a_training_are_those_of_all_who_worked_on_it(tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(loop.time, "perf_counter", lambda: now[0])

    def interrupt(done):
        now[0] += 1.0  # a second a step
        if done == 3:
            raise KeyboardInterrupt

    def go_on(done):
        now[0] += 1.0

    monkeypatch.setattr(loop, "BETWEEN_EPOCHS", 0.0)
    training, state = settings(), tmp_path / "state"
    with pytest.raises(KeyboardInterrupt):
        fit(network(), SPLITS, training, seed=1, checkpoint=state, on_step=interrupt)
    assert fit(network(), SPLITS, training, seed=1, checkpoint=state, on_step=go_on).seconds == 4 * STEPS
    assert fit(network(), SPLITS, training, seed=1, checkpoint=state).seconds == 4 * STEPS


def test_reading_test_is_no_part_of_the_seconds(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(loop.time, "perf_counter", lambda: now[0])
    evaluate = loop.evaluate

    def slowly(model, part):
        now[0] += 100.0 if part is test else 1.0
        return evaluate(model, part)

    test = SPLITS.test
    monkeypatch.setattr(loop, "evaluate", slowly)
    history = fit(network(), SPLITS, settings(), seed=1, test_curves=True)
    assert history.seconds == 4


def test_divergence_survives_a_resume(tmp_path):
    training = settings(learning_rate=1e18, epochs=6)
    first = fit(network(), SPLITS, training, seed=1, checkpoint=tmp_path / "state")
    rows = []
    again = fit(network(), SPLITS, training, seed=1, checkpoint=tmp_path / "state", on_epoch=rows.append)
    assert rows == []
    assert first.diverged_at is not None
    assert repr(again) == repr(first)


def flipped(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


@pytest.mark.parametrize(
    "damage",
    [lambda d: d[: len(d) // 2], lambda d: b"", flipped, lambda d: d + b"x", lambda d: b"text" * 99],
    ids=["cut", "empty", "flipped", "longer", "other"],
)
def test_a_damaged_checkpoint_is_ignored(damage, tmp_path, caplog):
    training, whole, model = settings(), network(), network()
    path = tmp_path / "state"
    history = fit(whole, SPLITS, training, seed=1, checkpoint=path)
    path.write_bytes(damage(path.read_bytes()))
    with caplog.at_level(logging.WARNING):
        assert fit(model, SPLITS, training, seed=1, checkpoint=path) == history
    assert same(weights(model), weights(whole))
    assert "training starts over" in caplog.text
    assert str(path) in caplog.text


@pytest.mark.parametrize("other", ["seed", "settings", "masks", "model", "data"])
def test_a_checkpoint_of_another_training_is_ignored(other, tmp_path, caplog):
    path = tmp_path / "state"
    fit(network(), SPLITS, settings(), seed=1, checkpoint=path, masks=half_masks(network()))
    build = norm_network if other == "model" else network
    training = settings(learning_rate=0.2) if other == "settings" else settings()
    splits = digits_with_less_validation() if other == "data" else SPLITS
    seed, masks = 2 if other == "seed" else 1, half_masks(build(), seed=6 if other == "masks" else 5)
    plain, model = build(), build()
    expected = fit(plain, splits, training, seed=seed, masks=masks)
    with caplog.at_level(logging.WARNING):
        assert fit(model, splits, training, seed=seed, masks=masks, checkpoint=path) == expected
    assert same(weights(model), weights(plain))
    assert "belongs to another training" in caplog.text


def digits_with_less_validation():
    from prunery.data.sets import load
    from prunery.data.splits import split

    return split(load("digits"), validation=0.05, seed=0)


def test_a_checkpoint_holds_plain_data_only(tmp_path):
    path = tmp_path / "state"
    fit(network(), SPLITS, settings(select="validation"), seed=1, checkpoint=path)
    (tmp_path / "payload").write_bytes(path.read_bytes()[32:])
    content = torch.load(tmp_path / "payload", weights_only=True)
    assert {"weights", "optimizer", "rows", "tally", "epoch", "best", "identity"} <= content.keys()
    assert content["epoch"] == 4
    assert TrainState.load(path, identity=content["identity"]).rows[-1].epoch == 4
    assert TrainState.load(tmp_path / "nothing", identity="") is None
    assert TrainState.load(tmp_path, identity="") is None


def test_a_save_that_fails_leaves_the_old_state(monkeypatch, tmp_path):
    path = tmp_path / "state"
    TrainState("mine", epoch=1).save(path)
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError("killed here")))
    with pytest.raises(OSError, match="killed here"):
        TrainState("mine", epoch=2).save(path)
    assert TrainState.load(path, identity="mine").epoch == 1


def test_short_epochs_do_not_mostly_save(monkeypatch, tmp_path):
    monkeypatch.setattr(loop, "BETWEEN_EPOCHS", 1000.0)
    monkeypatch.setattr(loop, "WITHIN_EPOCH", 1000.0)
    saved = []
    save = TrainState.save
    monkeypatch.setattr(
        TrainState, "save", lambda state, path: (saved.append(state.epoch), save(state, path))
    )
    fit(network(), SPLITS, settings(), seed=1, checkpoint=tmp_path / "state")
    assert saved == [4]


KILLED = """
import os, random, signal, sys, time, torch
from dataclasses import replace
from pathlib import Path
from train_kit import digits, half_masks, network, settings, weights
from prunery.train import loop
loop.BETWEEN_EPOCHS = loop.WITHIN_EPOCH = 0.0
folder, splits, dice, kills = Path(sys.argv[1]), digits(), random.Random(), 0

def child(name):
    model = network(dropout=0.2)
    training = settings(epochs=12, weight_decay=0.01, select="validation", augmentation="flip")
    masks = half_masks(model)
    history = loop.fit(model, splits, training, seed=4, masks=masks, checkpoint=folder / f"{name}.state")
    torch.save({"weights": weights(model), "history": repr(replace(history, seconds=0.0))}, folder / name)

def run(name, life):
    if not (pid := os.fork()):
        child(name)
        os._exit(0)
    if life is not None:
        time.sleep(life)
        os.kill(pid, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

loop.fit(network(), splits, settings(epochs=1), seed=0)  # what torch imports at its first step, once for all
start = time.monotonic()
assert run("whole", None) == 0
longest = (time.monotonic() - start) / 4  # so that it takes four lives at least
while (status := run("killed", dice.uniform(0, longest))) != 0:
    assert status == -signal.SIGKILL, status
    kills += 1
print(kills)
"""


def test_killed_at_random_times(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path)],
        cwd=Path(__file__).parents[1] / "kits",
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 3, "killed too rarely to show anything"
    whole, killed = (torch.load(tmp_path / name, weights_only=True) for name in ("whole", "killed"))
    assert same(whole["weights"], killed["weights"])
    assert whole["history"] == killed["history"]
