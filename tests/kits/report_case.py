"""A synthetic study for the report's tests: a real plan, and records with known numbers."""

from prunery.lab.plan import plan
from prunery.lab.record import Number, Record
from prunery.lab.spec import from_plain
from prunery.lab.store import Failure

IMAGES, CHANCE = 10_000, 10.0


def study(
    methods=("random", "magnitude", "snip"), *, sparsities=(0.5, 0.9, 0.98), seeds=3, epochs=10, **more
):
    """The plan of a small study; a method may be a mapping."""
    return plan(spec(methods, sparsities=sparsities, seeds=seeds, epochs=epochs, **more))


def spec(
    methods=("random", "magnitude", "snip"),
    *,
    sparsities=(0.5, 0.9, 0.98),
    seeds=3,
    epochs=10,
    retrain=None,
    controls=(),
):
    def method(m):
        m = {"criterion": m} if isinstance(m, str) else dict(m)
        m.setdefault("name", m["criterion"])
        if retrain is not None or "schedule" not in m:  # a schedule may train by itself
            training = {} if retrain is None else {"training": {"epochs": retrain}}
            m.setdefault("recovery", {"name": "finetune", **training})
        return m

    training = {"epochs": epochs, "optimizer": "sgd", "learning_rate": 0.1}
    return from_plain(
        {
            "name": "toy",
            "task": {"model": "lenet300", "data": "mnist", "training": training},
            "methods": [method(m) for m in methods],
            "sparsities": list(sparsities),
            "seeds": seeds,
            "controls": list(controls),
        }
    )


class Kept:
    """What a report needs of a store, in memory."""

    def __init__(self, records=(), failures=()):
        self.records = {r.key: r for r in records}
        self.failures = {f.key: f for f in failures}

    def has(self, key):
        return key in self.records

    def record(self, key):
        return self.records[key]

    def failed(self, key):
        return self.failures.get(key)


def accuracy(name, split, correct, total=IMAGES, k=1):
    return Number(name, 100 * correct / total, "%", split, correct, total, k, CHANCE * k)


def measured(step, correct, *, notes=(), loss=0.1):
    """A measure record with this many of 10 000 test images correct."""
    numbers = [
        n
        for split in ("train", "validation", "test")
        for n in (
            accuracy("top1", split, correct),
            accuracy("top5", split, IMAGES - 10, k=5),
            Number("loss", loss, "nats", split),
        )
    ]
    for what, unit in (("params", "weights"), ("macs", "MACs")):
        numbers += [Number(f"{what}_{kind}", 266200, unit) for kind in ("dense", "kept", "effective")]
    return Record(step.key, "measure", step.args, step.parents, tuple(numbers), notes=tuple(notes))


def worked(step, *, notes=()):
    """A record of any step but measure, with its planned cost."""
    numbers = ()
    if step.kind == "prune":
        kept = 266200 - round(step.args["sparsity"] * 266200)
        numbers = (
            Number("sparsity_requested", step.args["sparsity"], "fraction"),
            Number("sparsity_achieved", 1 - kept / 266200, "fraction"),
            Number("kept", kept, "weights"),
            Number("total", 266200, "weights"),
        )
    cost = {"epochs": step.epochs, "samples": 54_000 * step.epochs, "seconds": 0.5 + step.epochs}
    cost |= {"training_macs": 3 * 266200 * 54_000 * step.epochs, "scoring_macs": 0}
    return Record(step.key, step.kind, step.args, step.parents, numbers, notes=tuple(notes), cost=cost)


def store(plan, correct, *, without=(), failures=(), notes=None, losses=None):
    """Records of every step; `correct(cell)` right answers; keys in `without` have no record."""
    cells = {cell.key: cell for cell in plan.cells}
    records = []
    for key, step in plan.steps.items():
        if key in without:
            continue
        texts = (notes or {}).get(key, ())
        if key in cells:
            loss = (losses or {}).get(key, 0.1)
            records.append(measured(step, correct(cells[key]), notes=texts, loss=loss))
        else:
            records.append(worked(step, notes=texts))
    return Kept(records, failures)


def cell_of(plan, method, sparsity=0.0, seed=0):
    """The one cell of that method, sparsity and seed."""
    (cell,) = [c for c in plan.cells if (c.method, c.sparsity, c.seed) == (method, sparsity, seed)]
    return cell


def failure(plan, cell, kind, reason):
    """The failure of the cell's last step of that kind, and the keys that it takes with it."""
    index = max(i for i, key in enumerate(cell.path) if plan.steps[key].kind == kind)
    key = cell.path[index]
    return Failure(key, kind, reason), set(cell.path[index:])
