"""A small finished study without training, and files that lie: for the tests and the benchmark of faults."""

import gzip
import json
from dataclasses import replace

from lab_kit import planned, raw, spec

from prunery.lab import archive
from prunery.lab.record import Number, Record, sealed, to_json
from prunery.lab.spec import plain
from prunery.lab.store import Store

SMALL = {"seeds": 2, "sparsities": [0.5], "methods": [{"criterion": "magnitude"}]}


def told(step, value=90.0):
    """A record of a step as a report needs it, for work that was not done."""
    layers = [{"name": "fc", **{f"{w}_{k}": 10 for w in ("params", "macs") for k in KINDS}}]
    numbers = [Number("top1", value, "%", s, 90, 100, 1, 10.0) for s in ("train", "validation", "test")]
    numbers += [Number("loss", 0.5, "nats", "test", total=100)]
    numbers += [Number(f"{w}_{k}", 10, w) for w in ("params", "macs") for k in KINDS]
    more = {"numbers": tuple(numbers), "tables": {"layers": layers}} if step.kind == "measure" else {}
    return Record(step.key, step.kind, step.args, step.parents, cost={"seconds": 1.0}, **more)


KINDS = ("dense", "kept", "effective")


def finished(folder, **changes):
    """A store in which every step of a small study is done; and the steps."""
    store, asked = Store(folder), {**SMALL, **changes}
    steps = planned(**asked).steps
    for place, step in enumerate(steps.values()):
        store.commit(told(step, 80.0 + place / 4))
    store.save_study("small", plain(spec(**asked)))
    return store, steps


def archived(folder, **changes):
    """The lines of that store's archive, the first one as data without its sha256: for `written`."""
    store, _ = finished(folder / "whole", **changes)
    archive.write(store, folder / "whole.jsonl.gz")
    first, *lines = gzip.decompress((folder / "whole.jsonl.gz").read_bytes()).decode().splitlines()
    about = json.loads(first)
    del about["sha256"]  # as archives of before are; what lies then is seen by each check itself
    return about, lines


def written(path, about, lines):
    """An archive of that first line (data or text) and those lines."""
    first = about if isinstance(about, str) else json.dumps(about)
    path.write_bytes(gzip.compress("\n".join([first, *lines, ""]).encode(errors="surrogatepass")))
    return path


def line_of(record, **changes):
    """An archive's line of a record, some of whose fields say something else, under a sha256 that fits."""
    data = json.loads(to_json(record))["record"] | changes
    return f"{data['key']} {json.dumps({'sha256': sealed(data), 'record': data})}"


def spec_data(**changes):
    """The small study's spec as plain data, some of it changed."""
    return {**plain(spec(**SMALL)), **changes}


__all__ = ["archived", "finished", "line_of", "raw", "replace", "spec_data", "told", "written"]
