"""The command `archive`: a store's records in one file."""

from __future__ import annotations

from typing import Annotated

import typer

from prunery.cli.options import console
from prunery.errors import ChoiceError

_ENDING = ".jsonl.gz"


def archive(
    store: Annotated[str, typer.Argument(metavar="STORE", help="The store whose records are kept.")],
    out: Annotated[str, typer.Option("-o", "--out", metavar="FILE", help="The file, NAME.jsonl.gz.")],
) -> None:
    """Write a store's records, without weights, to one small file that every report can be made from."""
    if not out.endswith(_ENDING):
        do = f"write -o NAME{_ENDING}; its lines are JSON, packed by gzip"
        raise ChoiceError(f"an archive in {out}", f"its name does not end in {_ENDING}", do)
    from prunery.lab import archive as archives
    from prunery.lab.store import Store

    number = archives.write(Store(store, create=False), out)
    console().print(
        f"{number} records in {out}: prunery report {out} -o report", markup=False, highlight=False
    )
