"""The commands that only look: `plan`, `status`, `why` and `report`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from prunery.cli.options import (
    STORE,
    ScaleOption,
    SetOption,
    SpecArgument,
    StoreOption,
    WorkersOption,
    console,
    cores,
)
from prunery.errors import StoreError

if TYPE_CHECKING:
    from rich.console import Console

    from prunery.lab.plan import Plan
    from prunery.lab.record import Record
    from prunery.lab.spec import Spec
    from prunery.report.loaded import Loaded, Source

KINDS = ("init", "train", "prune", "recover", "measure")


def plan(
    spec: SpecArgument,
    overrides: SetOption = None,
    scale: ScaleOption = None,
    store: StoreOption = STORE,
    workers: WorkersOption = None,
) -> None:
    """Show what a study will run, what is shared and what is done already. Computes nothing."""
    from prunery.lab import spec as specs
    from prunery.lab.plan import plan as planned

    for loaded in specs.load_all(spec, overrides or (), scale=scale):
        _show_plan(loaded, planned(loaded), _opened(store), workers or cores(), console())


def status(store: StoreOption = STORE) -> int:
    """Show what a store holds, what is running and what failed."""
    from prunery.lab import archive

    opened = archive.opened(store)
    out = console()
    failures = opened.failures()
    for name in opened.studies():
        _print(out, _study_line(name, opened))
    _print(out, f"{sum(1 for _ in opened.finished())} steps in {store}, {len(opened.running())} running now")
    for failure in failures:
        _print(out, f"failed: {failure.kind} {failure.key} (tries: {failure.tries}): {failure.reason}")
    return int(bool(failures))


def why(
    key: Annotated[str, typer.Argument(metavar="KEY", help="A step's key, or the beginning of one.")],
    store: StoreOption = STORE,
    as_json: Annotated[bool, typer.Option("--json", help="Print the record as it is kept.")] = False,
) -> int:
    """Show the record of a step: what it did, from what, what came out, what it cost."""
    from prunery.lab import archive
    from prunery.lab import record as records

    opened = archive.opened(store)
    found, out = _matched(opened, key), console()
    if opened.has(found):
        record = opened.record(found)
        if as_json:
            print(records.to_json(record), end="")
        else:
            _show_record(opened, record, out)
        return 0
    failure = opened.failed(found)
    if failure is None:
        raise StoreError(
            f"step {found}",
            "its record is there, and files that it names are not",
            "run the study again: the step is done anew",
        )
    _print(
        out, f"{failure.kind} {found} failed after {failure.tries} tries: {failure.reason}\n{failure.trace}"
    )
    return 1


def report(
    source: Annotated[
        str,
        typer.Argument(
            metavar="STORE|study:NAME|SPEC",
            help="A store, an archive of one, or a study that ran in --store.",
        ),
    ],
    out: Annotated[str, typer.Option("-o", "--out", metavar="DIR", help="Where the files go.")],
    store: StoreOption = STORE,
    scale: ScaleOption = None,
    study: Annotated[str | None, typer.Option("--study", help="One study; by default all.")] = None,
    texts: Annotated[
        list[str] | None,
        typer.Option(
            "--text", metavar="FILE", help="Markdown whose {{cell ...}} become numbers; repeatable."
        ),
    ] = None,
    figures: Annotated[
        bool, typer.Option("--figures", help="Write the page's other figures too, as PNG and SVG.")
    ] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Follow a run until it is complete.")] = False,
) -> int:
    """Show and write the tables and the plot of a store's studies, or of one study."""
    from prunery.lab import archive
    from prunery.report import follow, loaded, write

    root, wanted = _named(source, store, study, scale)
    opened, shown = archive.opened(root), console()
    if watch:
        studies = follow.follow(opened, out, wanted, shown, texts=texts or (), figures=figures)
        _print(shown, f"written: {out}")
    else:
        studies = [loaded.load(opened, name) for name in loaded.names(opened, wanted)]
        written = write.written(studies, out, texts=texts or (), figures=figures)
        write.print_shown(studies, shown)
        _print(shown, "written: " + ", ".join(map(str, written)))
    return _end_of_report(studies)


def _named(
    source: str, store: str, study: str | None, scale: str | None
) -> tuple[str, str | list[str] | None]:
    """The store and the studies that a report is asked of; a named study may have parts, and scales."""
    from prunery.lab import source as sources
    from prunery.lab.spec import load_all

    name = source.removeprefix("study:")
    if Path(source).suffix in (".yaml", ".yml"):
        return store, [spec.name for spec in load_all(source)]
    if name == source:
        return source, study
    if name.partition("/")[0] not in sources.names():
        return store, name  # somebody's own, that ran in the store
    return store, [spec.name for spec in load_all(source, scale=scale)]


def _end_of_report(studies: Sequence[Loaded]) -> int:
    """The exit status; each run that did not end well is named on standard error."""
    from prunery.report import sentences

    for study in studies:
        for line in sentences.bad_runs(study.groups):
            typer.echo(line, err=True)
    return int(not all(study.complete for study in studies))


def _print(out: Console, text: str) -> None:
    out.print(text, markup=False, highlight=False, soft_wrap=True)


def _opened(path: str) -> Source | None:
    from prunery.lab import archive
    from prunery.lab.store import Store

    return archive.opened(path) if Store.is_at(path) else None


def _show_plan(spec: Spec, plan: Plan, store: Source | None, workers: int, out: Console) -> None:
    from rich.table import Table

    from prunery.lab.estimate import estimate
    from prunery.lab.plan import ARMS
    from prunery.lab.progress import duration

    cached = {key for key in plan.steps if store is not None and store.has(key)}
    records = (store.record(key) for key in store.finished()) if store is not None else ()
    found = estimate(plan, cached, records)
    pruned = sum(cell.role == "pruned" for cell in plan.cells)
    _print(out, f"study {spec.name}: {spec.task.model} on {spec.task.data}, seeds {list(spec.seeds)}")
    trained = found.steps.get("train", 0)
    controls = len(plan.cells) - pruned
    _print(out, f"{pruned} pruned cells and {controls} controls, from {trained} dense trainings")
    if spec.arms:
        _print(out, f"each method but random pruning also {', '.join(ARMS[arm] for arm in spec.arms)}")
    _print(out, "")
    out.print(_methods_table(spec))
    table = Table("step", "all", "done", "to do", box=None, pad_edge=False)
    for kind in KINDS:
        all_, done = found.steps.get(kind, 0), found.cached.get(kind, 0)
        table.add_row(kind, str(all_), str(done), str(all_ - done))
    out.print(table)
    shared = found.unshared_epochs - found.epochs
    _print(out, f"\n{found.epochs} epochs of training ({shared} more if nothing were shared)")
    _print(out, f"{found.epochs_todo} epochs to do")
    if found.seconds is not None:
        _print(
            out, f"about {duration(found.seconds / workers)} with {workers} workers, by the store's records"
        )


def _methods_table(spec: Spec) -> Any:
    from rich.table import Table

    table = Table(
        "method", "prunes", "cuts", "epochs before", "epochs after", "sparsities", box=None, pad_edge=False
    )
    for method in spec.compared:
        sparsities = spec.sparsities_of(method)
        levels = [method.levels(s) for s in sparsities]
        between, recovery = method.bound_schedule().facts["between"], method.after_cut()
        after = spec.training_of(method).epochs if recovery.train else 0
        times = f" × up to {max(map(len, levels))}" if between else ""
        table.add_row(
            method.name,
            f"at {method.at}",
            str(max(map(len, levels))),
            "0" if method.at == "init" else str(spec.task.training.epochs),
            f"{after}{times}",
            " ".join(f"{100 * s:.4g}%" for s in sparsities),
        )
    return table


def _study_line(name: str, store: Source) -> str:
    from prunery.lab import spec as specs
    from prunery.lab.plan import plan as planned

    steps = planned(specs.of(store.study(name), source=f"study {name}")).steps
    done = sum(store.has(key) for key in steps)
    failed = sum(store.failed(key) is not None for key in steps)
    return f"study {name}: {done} of {len(steps)} steps done" + (f", {failed} failed" if failed else "")


def _matched(store: Source, prefix: str) -> str:
    """The one key that begins so."""
    return matched(prefix, {*store.finished(), *(failure.key for failure in store.failures())}, store.root)


def matched(prefix: str, keys: Iterable[str], where: object) -> str:
    """The one of these keys that begins so; StoreError if there is none, or more than one."""
    found = sorted(key for key in keys if key.startswith(prefix))
    if len(found) == 1:
        return found[0]
    what = f"{len(found)} begin so: {', '.join(found[:5])}" if found else "no step's key begins so"
    raise StoreError(f"step {prefix!r} in {where}", what, "give a key from cells.csv, or more of it")


def _show_record(store: Source, record: Record, out: Console) -> None:
    from rich.table import Table

    _print(out, f"{record.kind} {record.key}\n")
    _print(out, "made from")
    _show_chain(store, record, out)
    _print(out, f"\nargs: {json.dumps(dict(record.args), ensure_ascii=False)}\n")
    table = Table("number", "split", "value", "unit", "count", box=None, pad_edge=False)
    for n in record.numbers:
        count = f"{n.count} of {n.total}" if n.count is not None else ""
        table.add_row(n.name, n.split or "", f"{n.value:.10g}", n.unit, count)
    if record.numbers:
        out.print(table)
    for note in record.notes:
        _print(out, f"note: {note}")
    _print(out, "cost: " + ", ".join(f"{k} {v:.10g}" for k, v in record.cost.items()))
    _print(out, "where: " + ", ".join(f"{k} {v}" for k, v in record.environment.items() if k != "data"))
    _print(out, f"data: {json.dumps(record.environment.get('data', {}))}")
    _print(out, f"files: {', '.join(record.files) or 'none'} in {store.path(record.key)}")


def _show_chain(store: Source, record: Record, out: Console) -> None:
    """Every step on the way here, the first one first."""
    if record.parents:
        first = store.record(record.parents[0])
        _show_chain(store, first, out)
        _print(out, f"  {first.kind:8} {first.key}  {_brief(first)}")


def _brief(record: Record) -> str:
    args = record.args
    if record.kind == "prune":
        return f"{args['criterion']} to {100 * args['sparsity']:g}%"
    if "training" in args:
        return f"{args['training']['epochs']} epochs of {args['training']['optimizer']}"
    return f"{args['model']} on {args['data']}, seed {args['seed']}"
