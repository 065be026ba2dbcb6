"""The command `best`: a study's best pruned network."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from prunery.cli.network import context_of
from prunery.cli.options import (
    DataOption,
    console,
)
from prunery.errors import StoreError

if TYPE_CHECKING:
    from prunery.lab.record import Record
    from prunery.lab.store import Store


MethodOption = Annotated[str | None, typer.Option("--method", metavar="NAME", help="Only of this method.")]

WithinOption = Annotated[
    float, typer.Option("--within", metavar="POINTS", help="How far below dense it may be on validation.")
]


def best(
    store: Annotated[str, typer.Argument(metavar="STORE", help="The store of a run.")],
    out: Annotated[str, typer.Option("-o", "--out", metavar="DIR", help="A new folder for the network.")],
    study: Annotated[
        str | None, typer.Option("--study", metavar="NAME", help="Of a store with several studies.")
    ] = None,
    method: MethodOption = None,
    within: WithinOption = 1.0,
    data_dir: DataOption = None,
) -> None:
    """Save the sparsest network that loses hardly anything, chosen on validation: weights, masks, record."""
    from prunery.lab.store import Store
    from prunery.report.best_network import best as best_of
    from prunery.report.best_network import description
    from prunery.report.results.study import load

    _check_new(out)
    if Path(store).is_file():
        raise StoreError(f"the best network of {store}", "an archive holds no weights", "name the store")
    opened = Store(store, create=False)
    names = opened.studies()
    if study is None and len(names) != 1:
        problem = f"it has {len(names)} studies: {', '.join(names)}"
        raise StoreError(f"the best network of {store}", problem, "name one: --study NAME")
    loaded = load(opened, study or names[0])
    row = best_of(loaded, within=within, method=method)
    _save(opened, opened.record(row["key"]), Path(out), data_dir)
    console().print(f"{description(row, loaded)}\nwritten: {out}", markup=False, highlight=False)


def _check_new(out: str) -> None:
    if Path(out).exists() and (not Path(out).is_dir() or any(Path(out).iterdir())):
        raise StoreError(f"the folder {out}", "there is something there already", "name a new folder")


def _save(store: Store, measured: Record, folder: Path, data_dir: str | None) -> None:
    """Write the measured network's weights (removed ones are 0), masks and record, all of them or nothing."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        context = context_of(measured, store, beside, data_dir)
        context.save(*context.parent())
        shutil.copyfile(store.path(measured.key) / "record.json", beside / "record.json")
        beside.chmod(0o755)  # what a temporary folder and safetensors make is for its owner alone
        for file in beside.iterdir():
            file.chmod(0o644)
        os.replace(beside, folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
