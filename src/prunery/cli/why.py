"""The command `why`: the record of one step."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer

from prunery.cli.options import (
    STORE,
    StoreOption,
    console,
    print_text,
    say_plain,
)
from prunery.errors import StoreError

if TYPE_CHECKING:
    from rich.console import Console

    from prunery.lab.record import Record
    from prunery.report.results.study import Source


def why(
    key: Annotated[str, typer.Argument(metavar="KEY", help="A step's key, or the beginning of one.")],
    store: StoreOption = STORE,
    as_json: Annotated[bool, typer.Option("--json", help="Print the record as it is kept.")] = False,
) -> int:
    """Show the record of a step: what it did, from what, what came out, what it cost."""
    from prunery.lab import archive
    from prunery.lab import record as records

    opened = archive.opened(store)
    full_key, out = _matched(opened, key), console()
    if opened.has(full_key):
        record = opened.record(full_key)
        if as_json:
            say_plain(records.to_json(record), end="")
        else:
            _show_record(opened, record, out)
        return 0
    failure = opened.failed(full_key)
    if failure is None:
        raise StoreError(
            f"step {full_key}",
            "its record is there, and files that it names are not",
            "run the study again: the step is done again",
        )
    print_text(
        out,
        f"{failure.kind} {full_key} failed after {failure.tries} tries: {failure.reason}\n{failure.trace}",
    )
    return 1


def _matched(store: Source, prefix: str) -> str:
    """Return the one key that begins so."""
    return matched(prefix, {*store.finished(), *(failure.key for failure in store.failures())}, store.root)


def matched(prefix: str, keys: Iterable[str], where: object) -> str:
    """Return the one of these keys that begins so; StoreError if there is none, or more than one."""
    matches = sorted(key for key in keys if key.startswith(prefix))
    if len(matches) == 1:
        return matches[0]
    what = f"{len(matches)} begin so: {', '.join(matches[:5])}" if matches else "no step's key begins so"
    raise StoreError(f"step {prefix!r} in {where}", what, "give a key from cells.csv, or more of it")


def _show_record(store: Source, record: Record, out: Console) -> None:
    from rich.table import Table

    print_text(out, f"{record.kind} {record.key}\n")
    print_text(out, "made from")
    _show_chain(store, record, out)
    print_text(out, f"\nargs: {json.dumps(dict(record.args), ensure_ascii=False)}\n")
    table = Table("number", "split", "value", "unit", "count", box=None, pad_edge=False)
    for n in record.numbers:
        count = f"{n.count} of {n.total}" if n.count is not None else ""
        table.add_row(n.name, n.split or "", f"{n.value:.10g}", n.unit, count)
    if record.numbers:
        out.print(table)
    for note in record.notes:
        print_text(out, f"note: {note}")
    print_text(out, "cost: " + ", ".join(f"{k} {v:.10g}" for k, v in record.cost.items()))
    print_text(out, "where: " + ", ".join(f"{k} {v}" for k, v in record.environment.items() if k != "data"))
    print_text(out, f"data: {json.dumps(record.environment.get('data', {}))}")
    print_text(out, f"files: {', '.join(record.files) or 'none'} in {store.path(record.key)}")


def _show_chain(store: Source, record: Record, out: Console) -> None:
    """Return every step on the way here, the first one first."""
    if record.parents:
        first = store.record(record.parents[0])
        _show_chain(store, first, out)
        print_text(out, f"  {first.kind:8} {first.key}  {_brief(first)}")


def _brief(record: Record) -> str:
    from prunery.lab.actions import choice_in

    args = record.args
    if record.kind == "prune":
        return f"{args['criterion']} to {100 * args['sparsity']:g}%"
    if record.kind == "recover" and "training" not in args:
        return choice_in(args).name
    if "training" in args:
        return f"{args['training']['epochs']} epochs of {args['training']['optimizer']}"
    return f"{args['model']} on {args['data']}, seed {args['seed']}"
