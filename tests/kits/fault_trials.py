"""Faults done to runs and to stores; each trial returns what is wrong afterwards, "" for nothing.

The work is pretended (lab_fake). After each fault the run is made again without one: every record must then
equal the undisturbed one, and nothing may be left over.
"""

import contextlib
import gzip
import json
import os
import random
import shutil
import signal
import time
from pathlib import Path

import torch
from lab_kit import alive, children, differences, planned, raw, runner, spec, wait_until

from prunery.core.masks import Masks
from prunery.errors import PruneryError
from prunery.export.container import load as load_model
from prunery.export.container import save as save_model
from prunery.lab import archive
from prunery.lab.engines.attempt import attempt
from prunery.lab.spec import plain
from prunery.lab.store import Failure, Store

ASKED = {"seeds": 2, "sparsities": [0.5], "methods": [{"criterion": "magnitude"}]}
WORK = "fault_hooks:work"
_LEFT = ("scratch", "partial", "locks", "failed")


class Trials:
    """A folder with an undisturbed store, and everything that trials need of it."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.plan = planned(**ASKED)
        self.spec = self.folder / "spec.json"
        self.spec.write_text(json.dumps(raw(**ASKED)))
        self.fake = self.folder / "fake"
        self.fake.mkdir()
        self.records = {}
        assert not self.completed(self.folder / "whole")
        self.whole = Store(self.folder / "whole", create=False)
        self.records = {key: self.whole.record(key) for key in self.plan.steps}
        self.whole.save_study("small", plain(spec(**ASKED)))
        archive.write(self.whole, self.folder / "whole.gz")
        draw = torch.Generator().manual_seed(0)
        masks = Masks({"a": torch.rand(40, 30, generator=draw) < 0.5}, units={"a": (3, 40)})
        masks.save(self.folder / "masks")
        save_model(torch.nn.Linear(40, 30), self.folder / "model")

    def run(self, kind, seed):
        """Return what is wrong after one trial of that kind."""
        draw, store = random.Random(seed), self.folder / f"{kind}-{seed}".replace(" ", "-")
        try:
            return KINDS[kind](self, draw, store)
        finally:
            shutil.rmtree(store, ignore_errors=True)

    def started(self, store, *, workers=2, **env):
        """Return a run of the study in a process group of its own."""
        more = {"LAB_FAKE": str(self.fake), "LAB_STORE": str(store), "PYTHONPATH": _paths(), **env}
        return runner(self.spec, store, workers=workers, work=WORK, env=more)

    def wrong(self, root):
        """Return in which record a store differs from the undisturbed one, or what is left over in it."""
        store = Store(root, create=False)
        for key, record in self.records.items():
            if not store.has(key):
                return f"{key} is not there"
            if found := differences(record, store.record(key)):
                return f"{key} differs in {found}"
            if store.file(key, "out").read_bytes() != self.whole.file(key, "out").read_bytes():
                return f"{key} has another file"
        left = [str(path) for name in _LEFT for path in (store.root / name).iterdir()]
        left += [str(path) for path in store.root.rglob(".*")]
        return f"left over: {left}" if left else ""

    def completed(self, root):
        """Do what a store lacks, without a fault; return what is wrong then."""
        os.environ["LAB_FAKE"] = str(self.fake)
        store = Store(root)
        for step in self.plan.steps.values():
            with contextlib.redirect_stdout(None):
                answer = attempt(step, store, work="lab_fake:work")
            if answer["is"] not in ("done", "there"):
                return f"{step.key} is {answer}"
        return self.wrong(root)


def _paths():
    kits = str(Path(__file__).parent)
    return os.pathsep.join([kits, *filter(None, [os.environ.get("PYTHONPATH")])])


def _count(store):
    with contextlib.suppress(OSError):
        return sum(1 for path in (store / "steps").iterdir() if (path / "record.json").exists())
    return 0


def kill_run(trials, draw, store):
    """Kill a run, workers and all, after a random number of commits."""
    run, commits = trials.started(store), draw.randrange(len(trials.plan.steps))
    wait_until(lambda: _count(store) >= commits or run.poll() is not None, 60)
    time.sleep(draw.random() * 0.02)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(run.pid, signal.SIGKILL)
    run.communicate()
    again = trials.started(store)
    told = json.loads(again.communicate(timeout=120)[0] or "{}")
    return trials.wrong(store) if told.get("complete") else f"the second run said {told}"


def kill_worker(trials, draw, store):
    """Kill one worker after a random number of commits; the run itself must see to it."""
    run, commits = trials.started(store), draw.randrange(len(trials.plan.steps))
    wait_until(lambda: _count(store) >= commits or run.poll() is not None, 60)
    for pid in draw.sample(found, 1) if (found := children(run.pid)) else []:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    told = json.loads(run.communicate(timeout=120)[0] or "{}")
    return trials.wrong(store) if told.get("complete") else f"the run said {told}"


def side_by_side(trials, draw, store):
    """Two or three runs at once: together they do each step once, and each says what it did."""
    log = trials.fake / "log"
    before = len(log.read_text().splitlines())
    runs = [trials.started(store, workers=1) for _ in range(draw.choice((2, 2, 3)))]
    told = [json.loads(run.communicate(timeout=180)[0] or "{}") for run in runs]
    if not all(each.get("complete") for each in told):
        return f"the runs said {told}"
    did = len(log.read_text().splitlines()) - before
    steps = len(trials.plan.steps)
    if did != steps or sum(each["done"] for each in told) != steps:
        return f"{steps} steps were done {did} times, and the runs say {told}"
    return trials.wrong(store)


def no_disk(number):
    """Return a trial of a disk that takes no more after a random number of writes."""

    def trial(trials, draw, store):
        Store(store)
        run = trials.started(store, workers=1, LAB_FAULT=f"{number}:{draw.randrange(40)}")
        group = children(run.pid)
        run.communicate(timeout=120)
        if any(map(alive, group)):
            return "a worker outlived its run"
        return trials.completed(store)

    return trial


def _files(trials, draw):
    """Return a random file of a store, and whether it belongs to a step."""
    key = draw.choice(list(trials.plan.steps))
    choices = [f"steps/{key}/record.json", f"steps/{key}/out", "studies/small.json", "store.json"]
    return draw.choices(choices, weights=(4, 3, 2, 1))[0], key


def _hurt(draw, content, torn):
    if torn:
        return content[: draw.randrange(len(content))]
    place = draw.randrange(8 * len(content))
    return content[: place // 8] + bytes([content[place // 8] ^ 1 << place % 8]) + content[place // 8 + 1 :]


def hurt_store(torn):
    """Return a trial that tears, or flips a bit of, a file of a finished store."""

    def trial(trials, draw, store):
        shutil.copytree(trials.whole.root, store)
        name, key = _files(trials, draw)
        path = store / name
        content = path.read_bytes()
        path.write_bytes(_hurt(draw, content, torn))
        if name == "store.json":
            return _hurt_mark(trials, store, content)
        if name.startswith("studies"):
            return _hurt_study(trials, store)
        return _hurt_step(trials, store, key)

    return trial


def _hurt_mark(trials, store, content):
    with contextlib.suppress(PruneryError):
        if problem := trials.wrong(store):  # another mark that says the same
            return problem
    (store / "store.json").write_bytes(content)
    return trials.wrong(store)


def _hurt_study(trials, store):
    opened, expected = Store(store), trials.whole.study("small")
    with contextlib.suppress(PruneryError):
        if opened.study("small") != expected:
            return "an altered study was used"
    opened.save_study("small", expected)
    return trials.wrong(store) or ("" if opened.study("small") == expected else "the study is not as it was")


def _hurt_step(trials, store, key):
    opened = Store(store)
    try:
        noticed = not opened.has(key)
        if not noticed:
            opened.file(key, "out").read_bytes()
            noticed = (
                bool(differences(opened.record(key), trials.records[key])) and "an altered record was used"
            )
    except PruneryError:
        noticed = True
    if isinstance(noticed, str):
        return noticed
    if noticed:
        shutil.rmtree(store / "steps" / key)  # what the error says
    return trials.completed(store)


def _same_archive(trials, path):
    opened = archive.opened(path)
    same = {key: opened.record(key) for key in opened.finished()}
    known = {key: record for key, record in trials.records.items() if key in same}
    same_study = opened.study("small") == trials.whole.study("small")
    return same_study and not any(differences(record, known[key]) for key, record in same.items())


def _same_masks(trials, path):
    found, known = Masks.load(path), Masks.load(trials.folder / "masks")
    return found == known and found.units == known.units


def _same_model(trials, path):
    found, known = load_model(path), load_model(trials.folder / "model")
    return found.keys() == known.keys()


def hurt_file(name, same, unpack=False):
    """Return a trial that tears, or flips a bit of, a file that is read by itself."""

    def trial(trials, draw, store):
        store.mkdir()
        content = (trials.folder / name).read_bytes()
        if unpack:
            content = gzip.compress(_hurt(draw, gzip.decompress(content), draw.random() < 0.5))
        else:
            content = _hurt(draw, content, draw.random() < 0.5)
        (store / "file").write_bytes(content)
        try:
            return "" if same(trials, store / "file") else "an altered file was used"
        except PruneryError:
            return ""

    return trial


def failed_note(trials, draw, store):
    """Tear or flip the note of a failure: it is that failure, another text of it, or none."""
    shutil.copytree(trials.whole.root, store)
    opened, key = Store(store), draw.choice(list(trials.plan.steps))
    opened.fail(Failure(key, "train", "no luck", "trace"))
    path = store / "failed" / f"{key}.json"
    path.write_bytes(_hurt(draw, path.read_bytes(), draw.random() < 0.5))
    found = opened.failures()
    if any(failure.key != key for failure in found):
        return "it is the failure of another step"
    path.unlink()
    return trials.wrong(store)


KINDS = {
    "kill run": kill_run,
    "kill worker": kill_worker,
    "side by side": side_by_side,
    "full disk": no_disk("ENOSPC"),
    "read-only disk": no_disk("EROFS"),
    "torn file": hurt_store(True),
    "flipped bit": hurt_store(False),
    "archive": hurt_file("whole.gz", _same_archive),
    "archive's text": hurt_file("whole.gz", _same_archive, unpack=True),
    "masks": hurt_file("masks", _same_masks),
    "model": hurt_file("model", _same_model),
    "failure": failed_note,
}
"""By name: what is done to a run, a store or a file."""
