"""Hostile inputs to every reader of the library, each in a process of its own that is watched.

A reader must end by itself or in an error of the library, take at most 5 s and 512 MB, write nothing outside
its scratch folder and run no code that the input brings.
"""

import contextlib
import gzip
import hashlib
import io
import json
import os
import pickle
from pathlib import Path

import data_kit
import fault_kit
import torch
from fault_hostile import CELLS, TOKENS, Runs, deep, hurt, mutated, spliced
from fault_watch import watched
from lab_kit import raw
from safetensors.torch import load, save

from prunery.audit.run import audit
from prunery.core.masks import Masks
from prunery.data import cache, parquet
from prunery.data.sources import below
from prunery.export.container import load as load_model
from prunery.export.container import save as save_model
from prunery.lab import archive
from prunery.lab.archive import plan_of
from prunery.lab.record import sealed, to_json
from prunery.lab.spec import from_plain
from prunery.lab.spec import load as load_spec
from prunery.lab.spec_source import overridden
from prunery.lab.store import Store
from prunery.report import write
from prunery.train.state import TrainState

# -- readers: each makes an input in the folder it works in, and returns what reads it ------------------

SPEC = """name: s
task:
  model: lenet300
  data: digits
  training: {epochs: 1, optimizer: sgd, learning_rate: 0.1}
methods:
  - {criterion: magnitude, schedule: {name: iterative, rounds: 2}, recovery: finetune}
  - criterion: snip
sparsities: [0.5, 90%]
seeds: 2
controls: [random]
"""
TABLE = "method,sparsity,seed,top-1 accuracy,std,MACs\n" + "\n".join(
    f"{name},{sparsity},{seed},{80 - 10 * sparsity:.2f},0.{seed},{1e6 * (1 - sparsity):.0f}"
    for name in ("dense", "magnitude", "random")
    for sparsity in (0, 0.5, 0.9)
    for seed in range(3)
)
CLAIMS = "Magnitude is always best at 90 % sparsity.\n\nRandom loses 2.3 points at 50 %, and beats dense.\n"


def spec_file(draw):
    text = spliced(draw, SPEC, TOKENS)
    Path("s.yaml").write_bytes(text.encode(errors="surrogatepass"))
    return lambda: load_spec("s.yaml")


def spec_bytes(draw):
    Path("s.yaml").write_bytes(hurt(draw, SPEC.encode()))
    return lambda: load_spec("s.yaml")


def spec_data(draw):
    data = mutated(draw, raw(controls=["random"]))
    return lambda: from_plain(data if isinstance(data, dict) else {"methods": data})


def override(draw):
    place = draw.choice(
        ("methods", "seeds", "sparsities", "task", "methods.0.criterion", "task.training", "a.b", "name")
    )
    return lambda: from_plain(overridden(raw(), [f"{place}={draw.choice(TOKENS)}"]))


def _reported(path):
    opened = archive.opened(path)
    for name in opened.studies():
        plan_of(opened, name)
    return write.write(opened, "out")


def archive_bytes(draw):
    Path("a.gz").write_bytes(hurt(draw, fault_kit.written(Path("b.gz"), *ARCHIVED).read_bytes()))
    return lambda: _reported("a.gz")


def archive_text(draw):
    content = hurt(draw, gzip.decompress(fault_kit.written(Path("b.gz"), *ARCHIVED).read_bytes()))
    Path("a.gz").write_bytes(gzip.compress(content))
    return lambda: _reported("a.gz")


def archive_bomb(draw):
    piece = draw.choice(
        (bytes(1 << 20), b"\n" * (1 << 20), b"[" * (1 << 20), b"0" * 16 + b" {}\n" * (1 << 18))
    )
    Path("a.gz").write_bytes(gzip.compress(piece * draw.choice((8, 64)), 1) * draw.choice((1, 3)))
    return lambda: _reported("a.gz")


def archive_about(draw):
    fault_kit.written(Path("a.gz"), mutated(draw, ARCHIVED[0]), ARCHIVED[1])
    return lambda: _reported("a.gz")


def _measured(draw):
    return draw.choice([line for line in ARCHIVED[1] if '"kind":"measure"' in line or draw.random() < 0.3])


def archive_record(draw):
    """A record that says something else under a sha256 that fits."""
    line = _measured(draw)
    data = mutated(draw, json.loads(line[17:])["record"])
    lie = f"{line[:17]}{json.dumps({'sha256': sealed(data), 'record': data})}"
    fault_kit.written(Path("a.gz"), ARCHIVED[0], [lie if each is line else each for each in ARCHIVED[1]])
    return lambda: _reported("a.gz")


def store_record(draw):
    store, _ = fault_kit.finished("store")
    key = draw.choice(list(store.finished()))
    data = mutated(draw, json.loads(to_json(store.record(key)))["record"])
    text = json.dumps({"sha256": sealed(data), "record": data})
    (store.path(key) / "record.json").write_text(draw.choice((text, text[:-3], deep(100_000))))
    return lambda: _reported("store")


def store_files(draw):
    store, steps = fault_kit.finished("store")
    name = draw.choice(("studies/small.json", "store.json", f"failed/{next(iter(steps))}.json"))
    data = mutated(
        draw, {"name": "small", "key": next(iter(steps)), "kind": "init", "reason": "x", "version": 1}
    )
    texts = (json.dumps(data), json.dumps({"sha256": sealed(data), "spec": data}), deep(100_000), "\x00", "")
    (store.root / name).write_text(draw.choice(texts))

    def read():
        opened = Store("store", create=False)
        opened.failures()
        return _reported("store")

    return read


def masks_file(draw):
    Masks({"a": torch.ones(40, 30).bool()}, units={"a": (3, 40)}).save("m")
    content = Path("m").read_bytes()
    if draw.random() < 0.5:
        Path("m").write_bytes(hurt(draw, content))
    else:
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        about = json.loads(header["__metadata__"]["about"])
        about.pop("sha256")
        text = draw.choice((json.dumps(mutated(draw, about)), deep(100_000), "{"))
        Path("m").write_bytes(save(load(content), metadata={"about": text}))
    return lambda: Masks.load("m")


def model_file(draw):
    save_model(torch.nn.Sequential(torch.nn.Linear(40, 30), torch.nn.Linear(30, 5)), "m")
    Path("m").write_bytes(hurt(draw, Path("m").read_bytes()))
    into = torch.nn.Sequential(torch.nn.Linear(40, 30), torch.nn.Linear(30, 5))
    return lambda: (load_model("m"), load_model("m", into=into))


def table_file(draw):
    text = spliced(draw, spliced(draw, TABLE, CELLS), CELLS)
    content = text.encode(errors="surrogatepass")
    Path("t.csv").write_bytes(hurt(draw, content) if draw.random() < 0.4 else content)
    return lambda: audit(Path("t.csv"))


def claims_file(draw):
    Path("t.csv").write_text(TABLE)
    text = spliced(draw, CLAIMS, [*CELLS, "best " * 9000, "90 % " * 5000, "at 1, " * 5000, "9" * 5000 + " %"])
    Path("c.md").write_bytes(text.encode(errors="surrogatepass"))
    return lambda: audit(Path("t.csv"), claims=Path("c.md"))


def cached_set(draw):
    """A decoded set with something else in it, under a sha256 that fits."""
    content = IMAGES.read_bytes()
    content = hurt(draw, content) if draw.random() < 0.5 else save(draw.choice(ODD_TENSORS))
    path = Path("set.safetensors")
    path.write_bytes(content)
    path.with_name("set.safetensors.sha256").write_text(
        f"{hashlib.sha256(content).hexdigest()}  {path.name}\n"
    )
    return lambda: cache.load(path)


def parquet_file(draw):
    data_kit.write(Path("data") / "tiny" / "plain")
    files = sorted(Path("data").rglob("*.parquet"))
    path = draw.choice(files)
    path.write_bytes(hurt(draw, path.read_bytes()))
    facts = data_kit.facts()
    return lambda: parquet.read(facts, below(facts, Path("data")))


def checkpoint(draw):
    """A checkpoint that is a pickle of a command, under a sha256 that fits."""
    out = io.BytesIO()
    torch.save(draw.choice(({"identity": Runs()}, {"identity": "x", "rows": 7}, [], None)), out)
    content = draw.choice((out.getvalue(), pickle.dumps(Runs()), b""))
    Path("t.pt").write_bytes(hashlib.sha256(content).digest() + content)
    return lambda: TrainState.load(Path("t.pt"), identity="x")


READERS = {
    reader.__name__.replace("_", " "): reader
    for reader in (
        spec_file, spec_bytes, spec_data, override, archive_bytes, archive_text, archive_bomb, archive_about,
        archive_record, archive_record, store_record, store_files, masks_file, model_file, table_file,
        claims_file, cached_set, parquet_file, checkpoint,
    )
}  # fmt: skip
ODD_TENSORS = [
    {},
    {"facts": torch.zeros(3)},
    {"facts": torch.frombuffer(bytearray(b"[1]"), dtype=torch.uint8)},
]
ARCHIVED, IMAGES = ({}, []), Path()


# -- giving them ----------------------------------------------------------------------------------------


def given(folder, count, seed):
    """Give so many inputs to the readers in turn; return how each ended. `folder` is empty."""
    global ARCHIVED, IMAGES
    folder = Path(folder).resolve()
    (folder / "base").mkdir()
    with _within(folder / "base"):
        ARCHIVED = fault_kit.archived(Path())
        import altair  # noqa: F401  as late as in a report; a chart is not drawn here, for its engine outlives no fork
    IMAGES = folder / "base" / "images.safetensors"
    _write_images(IMAGES)
    names = list(READERS)
    return [_given(folder / f"input-{n}", names[n % len(names)], seed + n) for n in range(count)]


def _write_images(path):
    source = data_kit.facts()
    folder = path.parent / "data"
    data_kit.write(folder / "tiny" / "plain")
    decoded = parquet.read(source, below(source, folder))
    tensors = {"facts": torch.frombuffer(bytearray(b"{}"), dtype=torch.uint8)}
    for split, (x, y) in decoded.splits.items():
        tensors |= {f"{split}_x": torch.from_numpy(x), f"{split}_y": torch.from_numpy(y)}
    path.write_bytes(save(tensors))


@contextlib.contextmanager
def _within(folder):
    before = os.getcwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def _given(scratch, name, seed):
    return watched(scratch, name, READERS[name], seed)
