"""A training whose masks change, interrupted or killed at any moment, ends with the same bits."""

import logging
import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from train_kit import (
    Random,
    Seen,
    StopError,
    digits,
    half_masks,
    network,
    norm_network,
    same,
    settings,
    stop_at,
    weights,
)

from prunery.train import loop
from prunery.train.loop import fit
from prunery.train.updates import in_training

SPLITS = digits()
STEPS = -(-len(SPLITS.train) // 128)
TOTAL = 4 * STEPS

AT = (0, 1, STEPS - 1, STEPS, 2 * STEPS + 5, TOTAL)
"""Where updates are due: at the start, around an epoch's end, within one, and after the last step."""


@pytest.fixture(autouse=True)
def _save_always(monkeypatch):
    monkeypatch.setattr(loop, "BETWEEN_EPOCHS", 0.0)
    monkeypatch.setattr(loop, "WITHIN_EPOCH", 0.0)


CASES = {
    "own": (network, settings(weight_decay=0.01), lambda: Random(AT)),
    "gradual": (
        lambda: network(dropout=0.3),
        settings(select="validation", learning_rate=0.5),
        lambda: in_training(0.9, schedule="gradual(cuts=9, end=1.0)"),
    ),
    "set": (
        norm_network,
        settings(optimizer="adam", learning_rate=0.01, warmup=0.5),
        lambda: in_training(0.8, schedule="drop_grow(every=0.05, end=0.95)"),
    ),
}


def ends(case, folder, stop):
    """Interrupt a training by `stop`, go on, and compare; what the updates saw after that."""
    build, training, make = CASES[case]
    whole, broken, again = build(), build(), build()
    history = fit(whole, SPLITS, training, seed=1, updates=[make()])
    stop(broken, training, make())
    seen = Seen(make())
    resumed = fit(again, SPLITS, training, seed=1, updates=[seen], checkpoint=folder / "state")
    assert same(dict(resumed.masks), dict(history.masks))
    assert resumed == history
    assert same(weights(again), weights(whole))
    return seen


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("step", [0, 1, STEPS - 1, STEPS, 2 * STEPS + 5, 2 * STEPS + 6, TOTAL - 1])
def test_interrupted_at_a_step(case, step, tmp_path):
    """The step's update is made, then the step fails: the update is made again, on the masks before it."""

    def stop(model, training, update):
        hook, _ = stop_at(step)
        model.register_forward_pre_hook(hook)
        with pytest.raises(StopError):
            fit(model, SPLITS, training, seed=1, updates=[Seen(update)], checkpoint=tmp_path / "state")

    seen = ends(case, tmp_path, stop)
    due = [at for at in range(step, TOTAL + 1) if seen.update.due(at, TOTAL)]
    assert [context.step for context in seen.contexts] == due, "an update was left out, or made twice"


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("number", range(6))
def test_interrupted_within_an_update(case, number, tmp_path):
    def stop(model, training, update):
        with pytest.raises(StopError):
            fit(
                model, SPLITS, training, seed=1, updates=[Seen(update, number)], checkpoint=tmp_path / "state"
            )

    ends(case, tmp_path, stop)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("epoch", [1, 3, 4])
def test_interrupted_between_epochs(case, epoch, tmp_path):
    def interrupt(row):
        if row.epoch == epoch:
            raise KeyboardInterrupt

    def stop(model, training, update):
        with pytest.raises(KeyboardInterrupt):
            fit(
                model,
                SPLITS,
                training,
                seed=1,
                updates=[Seen(update)],
                checkpoint=tmp_path / "state",
                on_epoch=interrupt,
            )

    seen = ends(case, tmp_path, stop)
    left = range(epoch * STEPS, TOTAL + 1) if epoch < 4 else ()
    assert [context.step for context in seen.contexts] == [at for at in left if seen.update.due(at, TOTAL)]


def test_saved_after_the_last_step_and_before_the_last_update(tmp_path, monkeypatch):
    """The last update comes after the last step: a state from between the two must not miss it."""
    validations = []

    def fails(*_):
        validations.append(None)
        if len(validations) == 4:
            raise StopError
        return evaluate(*_)

    evaluate = loop.evaluate

    def stop(model, training, update):
        with monkeypatch.context() as patch:
            patch.setattr(loop, "evaluate", fails)
            with pytest.raises(StopError):
                fit(model, SPLITS, training, seed=1, updates=[Seen(update)], checkpoint=tmp_path / "state")

    seen = ends("own", tmp_path, stop)
    assert [context.step for context in seen.contexts] == [TOTAL]


@pytest.mark.parametrize("criterion", ["random", "magnitude"])
def test_divergence_survives_a_resume(criterion, tmp_path):
    training = settings(learning_rate=1e18, epochs=6)
    update = in_training(0.9, criterion=criterion, schedule="gradual(cuts=50)")
    path, seen = tmp_path / "state", Seen(update)
    first = fit(network(), SPLITS, training, seed=1, updates=[Seen(update)], checkpoint=path)
    again = fit(network(), SPLITS, training, seed=1, updates=[seen], checkpoint=path)
    assert seen.contexts == []
    assert first.diverged_at is not None
    assert repr(again) == repr(first)
    assert same(dict(again.masks), dict(first.masks))
    assert (first.unfinished is None) == (criterion == "random")


@pytest.mark.parametrize("other", ["cuts", "none", "two", "masks", "criterion"])
def test_a_checkpoint_of_other_updates_is_ignored(other, tmp_path, caplog):
    path, update = tmp_path / "state", in_training(0.9, schedule="gradual(cuts=9)")
    fit(network(), SPLITS, settings(), seed=1, updates=[update], checkpoint=path)
    updates = {
        "cuts": [in_training(0.9, schedule="gradual(cuts=8)")],
        "none": [],
        "two": [update, update],
        "masks": [update],
        "criterion": [in_training(0.9, criterion="random", schedule="gradual(cuts=9)")],
    }[other]
    masks = half_masks(network()) if other == "masks" else None
    plain, model = network(), network()
    expected = fit(plain, SPLITS, settings(), seed=1, masks=masks, updates=updates)
    with caplog.at_level(logging.WARNING):
        found = fit(model, SPLITS, settings(), seed=1, masks=masks, updates=updates, checkpoint=path)
    assert found == expected
    assert same(weights(model), weights(plain))
    assert "belongs to another training" in caplog.text


def test_masks_are_one_bit_a_weight_in_a_checkpoint(tmp_path):
    path = tmp_path / "state"
    training = settings(select="validation")
    history = fit(network(), SPLITS, training, seed=1, updates=[in_training(0.9)], checkpoint=path)
    content = torch.load(_payload(path), weights_only=True)
    for kind in ("masks", "best_masks"):
        bits = content[kind]["bits"]
        assert {n: (list(shape), len(b)) for n, (shape, b) in bits.items()} == {
            n: (list(mask.shape), math.ceil(mask.numel() / 8)) for n, mask in history.masks.items()
        }
        assert all(b.dtype is torch.uint8 for _, b in bits.values())
    masks = half_masks(network())
    fit(network(), SPLITS, settings(), seed=1, masks=masks, checkpoint=path)
    assert torch.load(_payload(path), weights_only=True)["masks"] is None, "masks that never change are known"


def _payload(path):
    copy = path.with_suffix(".payload")
    copy.write_bytes(path.read_bytes()[32:])
    return copy


KILLED = """
import os, random, signal, sys, time, torch
from dataclasses import replace
from pathlib import Path
from train_kit import digits, network, settings, weights
from prunery.models.build import build
from prunery.train import loop
from prunery.train.updates import in_training
loop.BETWEEN_EPOCHS = loop.WITHIN_EPOCH = 0.0
folder, schedule, splits, dice = Path(sys.argv[1]), sys.argv[2], digits(), random.Random()

def child(name):
    model = build("lenet300", shape=(1, 8, 8), classes=10, seed=0)
    training = settings(epochs=8, weight_decay=0.01, select="validation", augmentation="flip")
    updates = [in_training(0.9, schedule=schedule)]
    history = loop.fit(model, splits, training, seed=4, updates=updates, checkpoint=folder / f"{name}.state")
    plain = repr(replace(history, seconds=0.0))
    torch.save({"weights": weights(model), "masks": dict(history.masks), "history": plain}, folder / name)

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
longest = (time.monotonic() - start) / 6
kills = 0
while kills < 10 and (status := run("killed", dice.uniform(0, longest))) != 0:
    assert status == -signal.SIGKILL, status
    kills += 1
run("killed", None)
print(kills)
"""


@pytest.mark.parametrize("schedule", ["gradual", "drop_grow(end=0.95)"])
def test_killed_at_random_times(schedule, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path), schedule],
        cwd=Path(__file__).parents[1] / "kits",
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 5, "killed too rarely to show anything"
    whole, killed = (torch.load(tmp_path / name, weights_only=True) for name in ("whole", "killed"))
    assert same(whole["weights"], killed["weights"])
    assert same(whole["masks"], killed["masks"])
    assert whole["history"] == killed["history"]
    assert sum(int(mask.sum()) for mask in whole["masks"].values()) == 50_200 - round(0.9 * 50_200)
